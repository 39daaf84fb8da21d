"""The pictures of the pages: one is drawn anew, and all of them are there and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.pictures import context
from benchmarks.pictures.__main__ import IMAGES, PICTURES, main
from benchmarks.pictures.terminal import drawn

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


def test_the_picture_of_a_terminal_has_its_words_and_colours_and_loads_nothing() -> None:
    found = drawn("$ streamgauge demo\n\x1b[32mpump-01 found\x1b[0m\nthe end")
    lines = re.findall(r"<text [^>]*>([^<]*)</text>", found)
    shown = [line.replace("&#160;", " ").strip() for line in lines]
    words = ["streamgauge demo", "$ streamgauge demo", "pump-01 found", "the end"]
    assert [line for line in shown if line] == words
    colours = dict(re.findall(r"\.(demo-r\d+) \{ fill: (#\w+)", found))
    (named,) = re.findall(r'class="(demo-r\d+)"[^>]*>pump-01', found)
    assert colours[named] != colours["demo-r1"]
    assert set(re.findall(r"url\((.)", found)) == {"#"}
