"""Whether this explorer takes decisions, and whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_LONGEST_NAME = 200
_OPEN = "other machines reach this explorer without a password: start it with --username and --password-file"
_READ_ONLY = "this explorer was started with --read-only"


@dataclass(frozen=True, slots=True)
class Writing:
    """Who decides, or why nobody can.

    who          the name that is kept, unless `user_header` has one
    user_header  a header in which a proxy in front names the user; empty: none. Whoever reaches the port
                 beside the proxy can forge it
    refused      why nothing is written; empty: decisions are taken
    """

    who: str
    user_header: str = ""
    refused: str = ""

    def name_in(self, values: Sequence[str]) -> str:
        """Return who decides, given all values of the header in a request.

        Raises:
            ValueError: the proxy has named nobody, or more than one; the message is for the user.
        """
        if not self.user_header:
            return self.who
        name = values[0].strip() if len(values) == 1 else ""
        if not name or len(name) > _LONGEST_NAME or not name.isprintable():
            raise ValueError(f"the proxy in front has named nobody in the header {self.user_header}")
        return name


def writing_of(who: str, user_header: str, is_read_only: bool, is_open_to_all: bool) -> Writing:
    """Return who decides; nobody if this explorer only reads, or if everybody on the network could."""
    refused = _READ_ONLY if is_read_only else _OPEN if is_open_to_all else ""
    return Writing(who, user_header, refused)
