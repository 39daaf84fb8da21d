"""The page about a plant works as it stands, and its figures are those that the command prints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.test_tutorial import run, steps

pytestmark = pytest.mark.docs
PAGE = (Path(__file__).parents[2] / "docs" / "plant.md").read_text(encoding="utf-8")


def test_every_step_of_the_page_works(tmp_path: Path) -> None:
    make, train, backtest, with_peers, fallback = steps(PAGE)
    run(make, tmp_path)
    printed = run(train, tmp_path)
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["conveyor", "pump"]
    shown = re.search(r"    (pump: pump-3 stands out: .*)\n    (it would be better alone)\n", PAGE)
    assert shown is not None
    assert f"{shown[1]} {shown[2]}" in printed
    assert "unassigned, and not judged: 6,000 rows of other series" in run(backtest, tmp_path)
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (daemon,) = [one for one in blocks if "[[models]]" in one and "[kafka]" in one]
    for model in tomllib.loads(daemon)["models"]:
        assert f'[[models]]\npath = "{model["path"]}"\nseries = ["{model["series"][0]}"]' in printed
    (tmp_path / "plant.toml").write_text(daemon)
    own = run(f"{backtest.partition(' --series')[0]} --config plant.toml", tmp_path)
    assert "unassigned, and not judged: 6,000 rows of other series" in own
    assert run(with_peers, tmp_path) == run(backtest, tmp_path)
    assert "rows judged in 5 of 5 series" in run(fallback, tmp_path)
