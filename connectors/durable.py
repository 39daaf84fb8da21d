"""Wait until what was written is on the disk."""

from __future__ import annotations

import os
from pathlib import Path


def make_durable(path: Path) -> None:
    """Return when a file, or the names in a directory, would survive a loss of power. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
