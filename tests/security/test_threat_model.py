"""docs/security.md names tests; they exist, and every test of this directory is named."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_threat_model_names_exists_and_none_of_ours_is_left_out() -> None:
    named = set(re.findall(r"`(tests/[\w/.]+)`", (ROOT / "docs/security.md").read_text(encoding="utf-8")))
    assert {name for name in named if not (ROOT / name).exists()} == set()
    ours = {path.relative_to(ROOT).as_posix() for path in Path(__file__).parent.glob("test_*.py")}
    assert ours - named == {"tests/security/test_threat_model.py"}
