"""What a fuzz target reports: an input that broke a promise."""

from __future__ import annotations

import base64


class Finding(Exception):  # noqa: N818  # it is raised to report, and says what it is
    """A promise was broken. `data` is the smallest input known to break it."""

    def __init__(self, what: str, data: bytes) -> None:
        super().__init__(what)
        self.what = what
        self.data = data

    def report(self, target: str, seed: str) -> str:
        """For people, with what it takes to see it again."""
        shown = base64.b64encode(self.data).decode()
        return f"FINDING in {target} (seed {seed}): {self.what}\ninput (base64): {shown}"


def require(holds: bool, what: str, data: bytes) -> None:
    """Raises Finding unless `holds`."""
    if not holds:
        raise Finding(what, data)
