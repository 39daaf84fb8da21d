"""Reports of a small real backtest with labels, and what a report holds."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from detector.artifact.registry import publish
from streamgauge import main
from tests.support.sines import frame_of, linear_artifact, write

JUMP, DIP = "pump-2", "north/pump 3"


def answers_of(page: Path) -> dict[str, Any]:
    """What a report answers instead of a server."""
    found = re.search(r'<script type="text/plain" id="data">\s*(\S+)\s*</script>', page.read_text())
    assert found is not None
    answers: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(found[1])))
    return answers


def labelled_data(directory: Path) -> Path:
    """Three pumps of noisy sines: two faults with labels, and a labelled event that nothing shows."""
    frames = [
        frame_of(900, seed + 5, 1200).assign(series=name, label=0)
        for seed, name in enumerate(("pump-1", JUMP, DIP))
    ]
    frames[1].iloc[400:460, 0] += 9.0
    frames[1].iloc[400:460, -1] = 1
    frames[2].iloc[420:450, 2] -= 150.0
    frames[2].iloc[420:450, -1] = 1
    frames[0].iloc[500:510, -1] = 1
    return write(directory / "data.parquet", pd.concat(frames))


def models(directory: Path) -> tuple[Path, Path]:
    """A model, and the same with a threshold so high that only the greatest faults pass it."""
    artifact = linear_artifact()
    spec = artifact.spec
    high = replace(spec, threshold=replace(spec.threshold, value=2.3 * spec.threshold.value))
    one, other = directory / "models" / "pump", directory / "models" / "calm"
    publish(artifact, one)
    publish(replace(artifact, spec=high, card="# calm\n\nanother card\n"), other)
    return one, other


def report_of_backtest(directory: Path, *flags: str) -> tuple[Path, dict[str, Any]]:
    """Run `backtest --report`; return the report and what `incidents.json` says."""
    page, out = directory / "report.html", directory / "out"
    one, _ = models(directory)
    data = labelled_data(directory)
    assert main(["backtest", str(one), str(data), "--out", str(out), "--report", str(page), *flags]) == 0
    return page, json.loads((out / "incidents.json").read_text())
