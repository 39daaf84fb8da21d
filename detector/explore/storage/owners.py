"""Who owns an archive on object storage, decided without a lock: the newest claim counts, and all know it.

Of each owner there are two objects, which nobody else writes:

    archive/00000007-1f2e3d4c.sign  the claim: it says again and again that the owner works
    archive/00000007-1f2e3d4c.json  the manifest, once the owner has taken over what was there

Names are ordered, and so are claims: by number, then by the random text. Readers take the manifest of the
highest name that has one. An owner that was stopped for hours can still write its own, and nobody reads it.

A claim is written before the manifest of the owner before is read. An owner removes a segment from its own
manifest first, and then looks for a higher claim. If there is none, each later owner reads a manifest without
the segment. So the segment can be deleted, and no lock is needed.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

FOLDER = "archive"
_MANIFEST, _SIGN = ".json", ".sign"


def next_owner(owners: Iterable[str]) -> str:
    """Return the name of an owner that is higher than those that are known, and unlike any other.

    >>> next_owner(["00000007-1f2e3d4c"]).split("-")[0]
    '00000008'
    """
    last = max((int(one.partition("-")[0]) for one in owners), default=0)
    return f"{last + 1:08d}-{secrets.token_hex(4)}"


def manifest_of(owner: str) -> str:
    """Return the name of the object with the manifest of an owner."""
    return f"{FOLDER}/{owner}{_MANIFEST}"


def sign_of_owner(owner: str) -> str:
    """Return the name of the object with the signs of an owner."""
    return f"{FOLDER}/{owner}{_SIGN}"


def claimed(objects: Iterable[str]) -> list[str]:
    """Return the owners that have a claim or a manifest, the highest first.

    >>> claimed(["archive/00000001-aa.json", "archive/00000001-aa.sign", "archive/00000002-bb.sign"])
    ['00000002-bb', '00000001-aa']
    """
    return _owners(objects, (_MANIFEST, _SIGN))


def with_manifest(objects: Iterable[str]) -> list[str]:
    """Return the owners that have a manifest, the highest first.

    >>> with_manifest(["archive/00000001-aa.json", "archive/00000001-aa.sign", "archive/00000002-bb.sign"])
    ['00000001-aa']
    """
    return _owners(objects, (_MANIFEST,))


def _owners(objects: Iterable[str], endings: tuple[str, ...]) -> list[str]:
    names = (one.removeprefix(f"{FOLDER}/") for one in objects)
    found = {name.rpartition(".")[0] for name in names if name.endswith(endings)}
    return sorted((one for one in found if one.partition("-")[0].isdecimal()), reverse=True)
