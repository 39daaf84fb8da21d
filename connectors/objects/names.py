"""Names of places: a path, or a URI of an object storage. Nothing heavy is imported here."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote

_FILE = "file://"
_SECRET = re.compile(
    r"secret|token|passw(or)?d|signature|^sig$|(access|account|api|private|shared)[-_]?key", re.IGNORECASE
)
"""Names of options whose values are credentials; `sig` is the signature of a shared access to Azure."""


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
    """Return a URI without name, password, and the options that are secrets, such as those of Azure.

    >>> without_secrets("s3://key:sec/ret@bucket/prefix?scheme=http"), without_secrets("s3://bucket/a@b")
    ('s3://bucket/prefix?scheme=http', 's3://bucket/a@b')
    >>> without_secrets("abfs://account/models?tenant_id=t&client_secret=secret")
    'abfs://account/models?tenant_id=t'
    >>> without_secrets("abfs://container@account.dfs.core.windows.net/models")
    'abfs://container@account.dfs.core.windows.net/models'
    """
    # A secret may hold "/". In a URI of Azure, what stands alone before the "@" names a container.
    password = ":[^@?#]*" if uri.startswith("abfs") else "(?::[^@?#]*)?"
    shown = re.sub(f"://[^/@:]*{password}@", "://", uri)
    path, _, options = shown.partition("?")
    given = options.split("&")
    kept = [one for one in given if not _SECRET.search(unquote(one.partition("=")[0]))]
    if "://" not in shown or kept == given:
        return shown
    return f"{path}?{'&'.join(kept)}" if kept else path


def name_of(uri: str) -> str:
    """Return the last part of the path of a place.

    >>> name_of("s3://bucket/models/pump/?region=us-east-1"), name_of("models/pump")
    ('pump', 'pump')
    """
    return uri.partition("?")[0].rstrip("/").rpartition("/")[2]


def below(uri: str, name: str) -> str:
    """Return the place of a name below a place.

    >>> below("s3://bucket/models?region=us-east-1", "pump"), below("models", "pump")
    ('s3://bucket/models/pump?region=us-east-1', 'models/pump')
    """
    path, mark, options = uri.partition("?") if "://" in uri else (uri, "", "")
    return f"{path.rstrip('/')}/{name}{mark}{options}"


def above(uri: str) -> str:
    """Return the place that a place is directly below.

    >>> above("s3://bucket/models/pump/?region=us-east-1"), above("models/pump")
    ('s3://bucket/models?region=us-east-1', 'models')
    """
    path, mark, options = uri.partition("?") if "://" in uri else (uri, "", "")
    return f"{path.rstrip('/').rpartition('/')[0]}{mark}{options}"


def cache_of(uri: str) -> Path:
    """Return a directory of this user for what belongs to a URI, the same for one URI."""
    try:
        above = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    except RuntimeError:  # a user without a home, as in a container
        above = tempfile.gettempdir()
    return Path(above, "streamgauge", hashlib.sha256(uri.encode()).hexdigest()[:16])
