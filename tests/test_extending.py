"""The code of docs/extending.md runs: each section's blocks, in order, in one namespace."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pytest

import streamgauge
from connectors.wide_json.decoder import JsonWideCodec, Raw, RawColumns
from detector import Detector, Engine
from detector.artifact.storage import save
from detector.config.notify_schema import NotifySection
from detector.metrics import catalogue, collector, sources
from detector.metrics.recorder import Metrics
from detector.models.families import FAMILIES, family_of
from detector.models.listing import FAMILY_CLASSES
from detector.notify.notice import Notice
from tests.support.artifacts import make_artifact
from trainer import fit
from trainer.config import FitOptions, TrainConfig

PAGE = Path(__file__).parent.parent / "docs/extending.md"
START_MS = 1_767_225_600_000
NO_SOURCES = sources.NoSources


def blocks(heading: str) -> list[str]:
    """The Python blocks of a section."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def names_of(heading: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the blocks of a section define. They run as a module, because dataclasses look theirs up."""
    module = ModuleType("extension")
    monkeypatch.setitem(sys.modules, "extension", module)
    for block in blocks(heading):
        exec(compile(block, f"{PAGE.name}: {heading}", "exec"), vars(module))
    return vars(module)


def test_a_source_feeds_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = names_of("A source", monkeypatch)
    save(make_artifact(threshold=0.01), tmp_path / "model")
    values = np.random.default_rng(0).normal(size=(40, 2)).tolist()
    lines = [
        orjson.dumps({"series": "a", "timestamp": START_MS + 1000 * at, "values": {"flow": x, "pressure": y}})
        for at, (x, y) in enumerate(values)
    ]
    file = tmp_path / "messages.jsonl"
    file.write_bytes(b"\n".join([*lines, b"no JSON"]))
    source = found["JsonLinesSource"](file, JsonWideCodec(("flow", "pressure")), batch_rows=30)
    first, second = source.poll(0.0), source.poll(0.0)
    assert (len(first.readings), len(second.readings), len(second.rejects)) == (30, 10, 1)
    assert second.readings.offset.tolist() == list(range(30, 40))
    assert source.poll(0.0) is None
    source.close()
    found["score"](str(tmp_path / "model"), file)
    assert "opened a " in capsys.readouterr().out


def test_a_family_trains_and_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILY_CLASSES, "tied", "")  # so that the entry is taken back
    names_of("A model family", monkeypatch)
    monkeypatch.setitem(sys.modules, "detector.models.tied", sys.modules["extension"])
    monkeypatch.setitem(FAMILIES, "tied", family_of(FAMILY_CLASSES["tied"]))
    index = pd.date_range("2026-01-01", periods=1000, freq="min", tz="UTC")
    noise = np.random.default_rng(0).normal(size=1000)
    frame = pd.DataFrame({"flow": np.sin(np.arange(1000) / 9) + 0.05 * noise}, index=index)
    quick = TrainConfig(fit=FitOptions(max_epochs=2, windows_per_epoch=500))
    artifact = fit(frame, model="tied", window=16, config=quick)
    assert artifact.spec.family == "tied"
    assert artifact.spec.members[0].hyperparameters["latent"] == 2
    assert set(Detector(artifact).score(frame)["state"]) >= {"ok", "warming"}


def test_a_codec_decodes_and_rejects(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = names_of("A message format", monkeypatch)["CsvCodec"](("flow", "pressure"))
    values = [b"b,1767225600000,21.3,4.9\n", b"b,now,1,2", b"a,1767225601000,,5", b"a,1,2", None]
    raw = RawColumns.of([Raw("t", 0, at, -1, None, value) for at, value in enumerate(values)])
    decoded = codec.decode_columns(raw)
    np.testing.assert_array_equal(decoded.readings.values, [[21.3, 4.9], [np.nan, 5.0]])
    assert [decoded.readings.names[code] for code in decoded.readings.series] == ["b", "a"]
    assert decoded.readings.offset.tolist() == [0, 2]
    assert [(one.reason, one.offset) for one in decoded.rejects] == [
        ("wrong_type", 1),
        ("wrong_type", 3),
        ("wrong_type", 4),
    ]
    assert len(codec.decode_columns(RawColumns.of([])).readings) == 0


def test_a_metric_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    entry, value = blocks("A metric")
    described: dict[str, Any] = dict(vars(catalogue))
    exec(entry, described)
    spec = described["KNOWN"]
    monkeypatch.setitem(catalogue.BY_NAME, spec.name, spec)
    collected: dict[str, Any] = dict(vars(collector))
    exec(value, collected)
    overview = collector._overview
    monkeypatch.setattr(collector, "_overview", lambda view: [*overview(view), *collected["_known"](view)])
    text = Metrics(Engine(make_artifact()), 10, "0", NO_SOURCES()).exposition("text/plain")[0].decode()
    assert f"# HELP streamgauge_series_known {spec.help}\n" in text
    assert "\nstreamgauge_series_known 0.0\n" in text


def test_a_receiver_makes_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    section = NotifySection(name="chat", kind="webhook", url="http://localhost/hook")  # type: ignore[arg-type]
    receiver = names_of("A notifier", monkeypatch)["mattermost"](section)
    when = pd.Timestamp("2026-01-01", tz="UTC").to_pydatetime()
    notice = Notice("opened", "4be1", "pump-17", "warning", "firing", when, when)
    body, headers = receiver.request(notice)
    text = orjson.loads(body)["text"]
    assert text.startswith("[")
    assert "pump-17: " in text
    assert "$" not in text
    assert headers["Idempotency-Key"] == notice.key
    assert list(receiver.repeats()) == []


@pytest.mark.skipif(not hasattr(streamgauge, "Verb"), reason="verbs stand in the front door")
def test_a_verb_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = names_of("A verb", monkeypatch)
    monkeypatch.setitem(sys.modules, found["CHANNELS"].module, sys.modules["extension"])
    monkeypatch.setattr(streamgauge, "VERBS", (*streamgauge.VERBS, found["CHANNELS"]))
    save(make_artifact(), tmp_path / "model")
    assert streamgauge.main(["channels", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out == "flow\npressure\n"
