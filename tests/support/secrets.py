"""Secrets that tests plant, and the search for them in whatever the suite's processes wrote.

A planted secret has a marker in it that occurs nowhere else, so that a leak is found whichever it is and
however it is wrapped.
"""

from __future__ import annotations

import atexit
import base64
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

MARKER = "dontleakme"
ENVIRONMENT = {
    # Read by every daemon and command of the suite, though most have no use for them.
    f"STREAMGAUGE_{name}": f"{MARKER}-{name.lower().replace('_', '-')}"
    for name in ("KAFKA__SASL_PASSWORD", "KAFKA__SSL_KEY_PASSWORD", "PLANTED__TOKEN")
}
_LOGS = "STREAMGAUGE_TEST_LOGS"
"""Names the directory of the session's lists of logs, for this process and those that it starts."""
_OWNER = "STREAMGAUGE_TEST_LOGS_OWNER"


def planted(name: str) -> str:
    """A secret that must be seen nowhere."""
    return f"{MARKER}-{name}"


def forms(secret: str) -> Iterator[bytes]:
    """How a secret might be written: as it is, and in base 64 at any offset."""
    raw = secret.encode()
    yield raw
    for lead in range(3):
        encoded = base64.b64encode(b"\0" * lead + raw)
        yield encoded[lead + 2 : -4]


def leaks(content: bytes, secrets: Iterable[str] = (MARKER,)) -> list[str]:
    """Those of the secrets that the bytes hold in some form."""
    return [secret for secret in secrets if any(form in content for form in forms(secret))]


def remember(log: Path) -> None:
    """Have a log searched at the end of the session."""
    directory = os.environ.get(_LOGS)
    if directory:
        with Path(directory, f"{os.getpid()}.list").open("a") as file:
            file.write(f"{log}\n")


def plant() -> None:
    """Put the secrets into this process's environment, from where every child has them, and own the list of
    logs unless a parent (of several workers) does."""
    os.environ.update(ENVIRONMENT)
    if _LOGS not in os.environ:
        os.environ[_LOGS] = tempfile.mkdtemp(prefix="streamgauge-logs-")
        os.environ[_OWNER] = str(os.getpid())
        atexit.register(shutil.rmtree, os.environ[_LOGS], ignore_errors=True)


def is_owner() -> bool:
    """Whether this process searches when the session ends."""
    return os.environ.get(_OWNER) == str(os.getpid())


def search() -> tuple[int, list[str]]:
    """How many logs were remembered, and what was found in which of them."""
    logs, found = 0, []
    for remembered in sorted(Path(os.environ[_LOGS]).glob("*.list")):
        for line in remembered.read_text().splitlines():
            if Path(line).exists():
                logs += 1
                found += [f"{line}: {secret}" for secret in leaks(Path(line).read_bytes())]
    return logs, found
