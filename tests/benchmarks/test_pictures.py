"""The pictures of the pages: one is drawn anew, and all of them are there and small."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.pictures import context
from benchmarks.pictures.__main__ import IMAGES, PICTURES, main

MOST_BYTES = 60_000


def test_a_picture_is_drawn_with_its_incident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setitem(PICTURES, "modes", lambda: drawn.append(context.modes()) or drawn[-1])
    assert main(["modes", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        with Image.open(IMAGES / "modes.png") as kept:
            assert picture.size == kept.size
    assert path.stat().st_size <= MOST_BYTES
    speeds, rows = drawn[0].axes
    names = [text.get_text() for text in speeds.get_legend().get_texts()]
    assert names == ["speed", "limits of the modes", "incident"], "the late start, and no other"
    assert len(speeds.patches) == len(rows.patches) == 1


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_kept_and_small(name: str) -> None:
    path = IMAGES / f"{name}.png"
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as picture:
        assert picture.width <= 900


def test_an_unknown_picture_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["seasn"])
    assert "no such picture: seasn; known: season" in capsys.readouterr().err
