"""Entries of a registry: names that follow from the kind alone, and a record of whose an entry is."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trainer.errors import TrainerError

OWNER = "kind.json"
"""The file in an entry that says to which kind it belongs."""
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST_BYTES = 160
_HASH_DIGITS = 8


def entry_names(texts: Sequence[str], stated: Sequence[str]) -> list[str]:
    """Return names that are directories and differ from each other, even where letters have no case.

    A name has the beginning of a hash of what makes the kind where its text cannot be a directory. Names that
    differ in nothing but case have it too. So neither order nor number of the kinds changes whose a name is.

    Args:
        texts: A text for each kind, such as the value of a column.
        stated: What makes each kind; all differ.

    >>> entry_names(["pump", "a/b", "förderband"], ["x", "y", "z"])
    ['pump', 'a-b-a1fce436', 'förderband']
    """
    plain = [_plain(text) for text in texts]
    used = Counter(name.casefold() for name in plain)
    return [
        name if name == text and used[name.casefold()] == 1 else f"{name}-{_hash(kind)}"
        for name, text, kind in zip(plain, texts, stated, strict=True)
    ]


def claim(entry: Path, stated: str) -> None:
    """Note in an entry to which kind it belongs, unless that is noted already.

    Args:
        entry: The directory of the entry; created if it does not exist.
        stated: What makes the kind.

    Raises:
        TrainerError: The entry belongs to another kind, or its record cannot be read.
    """
    path = entry / OWNER
    if path.exists():
        owner = _owner(path)
        if owner != stated:
            remedy = f"choose another --out, or delete {path} to give the entry to this kind"
            raise TrainerError(f"{entry} belongs to another kind: {owner} - and not {stated}; {remedy}")
        return
    entry.mkdir(parents=True, exist_ok=True)
    scratch = entry / f".{OWNER}"
    scratch.write_text(json.dumps({"kind": stated}, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)


def _owner(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["kind"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainerError(f"{path}: cannot be read, delete it: {str(error)[:200]}") from error


def _plain(text: str) -> str:
    name = _UNSAFE.sub("-", unicodedata.normalize("NFC", text)).strip("-._")
    return name.encode(errors="ignore")[:_LONGEST_BYTES].decode(errors="ignore") or "kind"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:_HASH_DIGITS]
