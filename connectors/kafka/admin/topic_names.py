"""Which topics a consumer reads: names, and shell patterns such as `plant-*`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase, translate

_SIGNS = re.compile(r"[*?\[]")
_INTERNAL = "__"


def is_pattern(name: str) -> bool:
    """Return whether a name stands for several topics; no topic of Kafka has such a sign in its name.

    >>> is_pattern("plant-*"), is_pattern("plant-1")
    (True, False)
    """
    return bool(_SIGNS.search(name))


def reads(wanted: Sequence[str], topic: str, excluded: Iterable[str] = ()) -> bool:
    """Return whether one of the names or patterns is of a topic.

    Topics of Kafka itself, which begin with __, match no pattern, and those in `excluded` match none either.
    """
    if topic in wanted:
        return topic not in excluded
    is_hidden = topic.startswith(_INTERNAL) or topic in excluded
    return not is_hidden and any(fnmatchcase(topic, one) for one in wanted)


def expression_of(wanted: Sequence[str], excluded: Iterable[str] = ()) -> str:
    """Return the regular expression of exactly the topics that `reads` is true of.

    >>> found = re.compile(expression_of(["a*"], ["ab"]))
    >>> bool(found.match("ac")), bool(found.match("ab"))
    (True, False)
    """
    names = [re.escape(one) for one in wanted if not is_pattern(one)]
    patterns = [translate(one) for one in wanted if is_pattern(one)]
    hidden = "".join(rf"(?!{re.escape(one)}\Z)" for one in sorted(excluded))
    either = [rf"(?:{'|'.join(names)})\Z"] if names else []
    either += [rf"(?!{_INTERNAL})(?:{'|'.join(patterns)})"] if patterns else []
    return f"{hidden}(?:{'|'.join(either)})"
