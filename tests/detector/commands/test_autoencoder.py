"""`streamgauge encode`, `reconstruct` and `sample` from the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detector.artifact.registry import publish
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.sines import CHANNELS, WINDOW, frame_of, linear_artifact, write


@pytest.fixture
def pump(tmp_path: Path) -> str:
    """A registry entry of the linear model."""
    publish(linear_artifact(), tmp_path / "models" / "pump")
    return str(tmp_path / "models" / "pump")


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Ten windows, seven rows left over, and some missing values."""
    frame = frame_of(10 * WINDOW + 7)
    frame.iloc[50:54, 1] = np.nan
    return str(write(tmp_path / "data.parquet", frame))


def failure(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line on standard error of a command that fails with 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("streamgauge: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_encode_says_what_the_codes_cost(
    pump: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "codes.parquet")
    assert main(["encode", pump, data, "--out", out]) == 0
    captured = capsys.readouterr()
    assert "10 windows of 72 cells to codes of 4 numbers: 18 times smaller" in captured.out
    assert "what the codes lose: R^2 0.9" in captured.out
    assert all(f"  {name}: " in captured.out for name in CHANNELS)
    assert "left over: 7 rows of 1 series are in no window" in captured.out
    assert captured.out.endswith(f"written: {out}\n")
    assert captured.err == ""
    assert len(pd.read_parquet(out)) == 10


def test_encode_says_the_same_as_json(
    pump: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "codes.parquet"
    assert main(["encode", pump, data, "--out", str(out), "--stride", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["windows"] == 9 * WINDOW + 8
    assert (found["latent"], found["cells_a_window"], found["compression_ratio"]) == (4, 72, 18.0)
    assert found["file_compression_ratio"] == found["input_bytes"] / out.stat().st_size
    assert found["error"]["r2"] > 0.9
    assert set(found["error"]["channels"]) == set(CHANNELS)
    assert set(found["error"]["channels"]["flow"]) == {"rmse", "share"}


def test_reconstruct_fills_and_says_so(
    pump: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "filled.parquet")
    assert main(["reconstruct", pump, data, "--out", out, "--only-gaps"]) == 0
    said = capsys.readouterr().out
    assert "filled: 4 missing cells" in said
    assert "still missing" not in said
    written, original = pd.read_parquet(out), pd.read_parquet(data)
    assert (written["timestamp"] == original["timestamp"]).all()
    observed = original[CHANNELS].notna()
    assert written[CHANNELS].where(observed).equals(original[CHANNELS])
    assert written[CHANNELS].notna().all(axis=None)


def test_reconstruct_says_what_stays_missing(
    pump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = frame_of(60).drop(frame_of(60).index[40:50])
    data, out = write(tmp_path / "gap.parquet", frame), str(tmp_path / "clean.parquet")
    assert main(["reconstruct", pump, str(data), "--out", out]) == 0
    said = capsys.readouterr().out
    assert "not filled: 1 gaps of more than 5 rows; they have no rows" in said
    assert "not reconstructed: 10 rows are in no window" in said
    assert "still missing: 30 cells" in said
    assert main(["reconstruct", pump, str(data), "--out", out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["gaps_too_long"], found["rows_in_no_window"]) == (50, 1, 10)


def test_sample_writes_windows_of_a_generative_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(make_artifact(family="vae"), tmp_path / "models" / "vae")
    out = str(tmp_path / "samples.parquet")
    arguments = ["sample", str(tmp_path / "models" / "vae"), "--out", out, "--num", "3"]
    assert main([*arguments, "--start", "2026-03-01T12:00:00+01:00"]) == 0
    assert capsys.readouterr().out == f"3 windows of 8 rows\nwritten: {out}\n"
    written = pd.read_parquet(out)
    assert written["timestamp"].min() == pd.Timestamp("2026-03-01T11:00:00Z")
    assert set(written["series"]) == {"sample-0", "sample-1", "sample-2"}


def test_sample_refuses_a_model_that_cannot(
    pump: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["sample", pump, "--out", str(tmp_path / "out.parquet"), "--num", "3"]
    assert "family linear cannot generate: train one with --model vae" in failure(capsys, *arguments)
    assert "--start noon: not a time" in failure(capsys, *arguments, "--start", "noon")
    assert "--start 0900-01-01: outside the years" in failure(capsys, *arguments, "--start", "0900-01-01")


@pytest.mark.parametrize("verb", ["encode", "reconstruct"])
def test_wrong_inputs_are_one_line_and_exit_2(
    verb: str, pump: str, data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out.parquet")]
    assert "nowhere.parquet: no such file" in failure(
        capsys, verb, pump, str(tmp_path / "nowhere.parquet"), *out
    )
    assert "not an artifact" in failure(capsys, verb, str(tmp_path / "models"), data, *out)
    lacking = str(write(tmp_path / "lacking.parquet", frame_of(100)[["flow", "speed"]]))
    assert "no file has the channel 'pressure'" in failure(capsys, verb, pump, lacking, *out)
    assert "is the data that is read" in failure(capsys, verb, pump, data, "--out", data)
    short = str(write(tmp_path / "short.parquet", frame_of(5)))
    assert "none of the 1 series has 24 rows" in failure(capsys, verb, pump, short, *out)
    assert not (tmp_path / "out.parquet").exists()


def test_a_terminal_is_shown_a_bar(
    pump: str, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["encode", pump, data, "--out", str(tmp_path / "codes.parquet")]) == 0
    assert "247/247" in terminal.getvalue()
