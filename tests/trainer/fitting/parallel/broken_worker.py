"""`streamgauge`, but the second process cannot build a module."""

from __future__ import annotations

import os
import sys

from detector.models import families
from streamgauge import main


def _fail(*arguments: object) -> None:
    raise RuntimeError("out of memory: tried to allocate 3 GiB")


if __name__ == "__main__":
    if os.environ["RANK"] == "1":
        families.build = _fail
    sys.exit(main())
