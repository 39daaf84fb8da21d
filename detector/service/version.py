"""The version of Streamgauge that runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def software_version() -> str:
    """Return the version of the installed distribution, "unknown" where there is none."""
    try:
        return version("streamgauge")
    except PackageNotFoundError:
        return "unknown"
