"""Names of places: a path, or a URI of an object storage. Nothing heavy is imported here."""

from __future__ import annotations

import re

_FILE = "file://"


def is_remote(name: str) -> bool:
    """Return whether a name is the URI of something that is not a path of this machine.

    >>> [is_remote(one) for one in ("s3://bucket/prefix", "file:///data", "data")]
    [True, False, False]
    """
    return "://" in name and not name.startswith(_FILE)


def local_path(name: str) -> str:
    """Return the path that a name means; the URI of a file loses its scheme.

    >>> local_path("file:///data/archive"), local_path("archive")
    ('/data/archive', 'archive')
    """
    return name.removeprefix(_FILE)


def without_secrets(uri: str) -> str:
    """Return a URI without name and password.

    >>> without_secrets("s3://key:sec/ret@bucket/prefix?scheme=http"), without_secrets("s3://bucket/a@b")
    ('s3://bucket/prefix?scheme=http', 's3://bucket/a@b')
    """
    return re.sub(r"://[^/@:]*(?::[^@?#]*)?@", "://", uri)  # a secret may hold "/"
