"""The laws that the values of a channel may follow, and their part of the model card."""

from __future__ import annotations

from collections.abc import Sequence

LAWS = {"plain", "count", "steps", "constant"}
"""What the values of a channel follow."""
_NAMED = 10
_WORDS = {
    "count": "counts from 0 on; their spread is that of all values, since most rows have the same few",
    "steps": "steps of a coarse resolution, or mostly one value; their spread is that of all values",
    "constant": "never moved in the history; a movement is a warning and never critical",
}


def laws_section(names: Sequence[str], laws: Sequence[str]) -> str:
    """Return the lines of the model card about channels that are not plain; empty where all are.

    >>> laws_section(["a", "b"], ["plain", "plain"])
    ''
    """
    lines = []
    for law, words in _WORDS.items():
        found = [name for name, one in zip(names, laws, strict=True) if one == law]
        if found:
            lines.append(f"- {', '.join(found[:_NAMED])}{_more(len(found) - _NAMED)}: {words}.\n")
    return f"## Counts and steps\n\n{''.join(lines)}\n" if lines else ""


def meaning_of(law: str) -> str:
    """Return what a law says about the values of a channel; empty for a plain one.

    >>> meaning_of("constant")
    'never moved in the history; a movement is a warning and never critical'
    """
    return _WORDS.get(law, "")


def _more(num: int) -> str:
    return f" and {num} more" if num > 0 else ""
