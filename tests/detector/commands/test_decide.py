"""What the commands of a person who decides refuse before they write anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from detector.artifact.registry import publish
from detector.commands import decide
from detector.delivery.messages import Topics
from detector.notify.notice import Notice, parse
from streamgauge import main
from tests.support.artifacts import make_artifact

WHEN = "2026-10-01T12:00:00.000Z"


def incident(*channels: str) -> Notice:
    body = {"event": "opened", "at": WHEN, "id": "5d41402abc4b2a76", "series": "pump-1", "state": "firing"}
    body |= {"severity": "warning", "reason": "score", "start": WHEN}
    shares = [{"name": one, "contribution": 0.5, "actual": 1.0, "expected": 0.0} for one in channels]
    return parse(json.dumps(body | {"channels": shares}).encode())


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with a model of the channels `flow` and `pressure`, and one incident of `flow`."""
    publish(make_artifact(), tmp_path / "models" / "pump")
    file = tmp_path / "streamgauge.toml"
    file.write_text(f'[model]\npath = "{tmp_path}/models/pump"\n[kafka]\ntopic = "t"\n')
    monkeypatch.setattr(decide, "_place", lambda args: (None, Topics.of("out")))
    monkeypatch.setattr(decide, "_incident", lambda *given, **more: incident("flow"))
    return file


def accept(config: Path, capsys: pytest.CaptureFixture[str], *channels: str) -> tuple[int, str]:
    flags = [word for one in channels for word in ("--channel", one)]
    code = main(["accept", "5d41", "--config", str(config), "--dry-run", *flags])
    out = capsys.readouterr()
    return code, out.out + out.err


@pytest.mark.parametrize("channels", [(), ("flow",), ("pressure",), ("pressure", "flow")])
def test_channels_of_the_incident_and_of_the_model_may_be_accepted(
    config: Path, capsys: pytest.CaptureFixture[str], channels: tuple[str, ...]
) -> None:
    code, told = accept(config, capsys, *channels)
    assert code == 0, told
    assert f"channels {', '.join(channels or ('flow',))}" in told


@pytest.mark.parametrize(
    ("channels", "hint"), [(("flwo",), "did you mean `flow`"), (("flow", "heat"), "no channel heat")]
)
def test_a_channel_that_does_not_exist_is_an_error_that_names_those_that_do(
    config: Path, capsys: pytest.CaptureFixture[str], channels: tuple[str, ...], hint: str
) -> None:
    code, told = accept(config, capsys, *channels)
    assert code == 2
    assert hint in told
    assert "flow, pressure" in told


def test_without_the_model_the_channels_of_the_incident_count(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text('[model]\npath = "/nowhere"\n[kafka]\ntopic = "t"\n')
    assert accept(config, capsys, "flow")[0] == 0
    code, told = accept(config, capsys, "heat")
    assert code == 2
    assert "the model cannot be read" in told


@pytest.mark.parametrize(
    "words",
    [
        ("--for", "9" * 400 + "d"),
        ("--for", "367d"),
        ("--for", "-1s"),
        ("--for", "1d", "--at", "2262-04-11T00:00:00Z"),
        ("--for", "366d", "--at", "2261-06-01T00:00:00Z"),
    ],
    ids=["endless", "too long", "negative", "too late", "ends too late"],
)
def test_a_mute_of_absurd_length_is_an_error_at_once(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    flags = ["--config", str(config), "--dry-run", "--unseen"]
    found = ["=".join(words[:2]), *words[2:]]
    assert main(["mute", "pump-1", *found, *flags]) == 2
    told = capsys.readouterr().err
    assert "--for" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("opinion", ["false-alarm", "real"])
def test_an_opinion_is_a_record_with_who_and_why(
    config: Path, capsys: pytest.CaptureFixture[str], opinion: str
) -> None:
    flags = ["--config", str(config), "--dry-run", "--json", "--who", "ada", "--why", "a test of the valve"]
    assert main(["feedback", "5d41", opinion, *flags]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["action"], record["incident"], record["series"]) == (opinion, "5d41402abc4b2a76", "pump-1")
    assert (record["who"], record["why"], record["at"]) == ("ada", "a test of the valve", WHEN)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--artifact", "models/pump"),
        ("--incidents", "alerts.jsonl"),
        ("--config", "CONFIG", "--artifact", "models/pump"),
        ("--artifact", "models/pump", "--incidents", "alerts.jsonl", "--config", "CONFIG"),
        ("--artifact", "models/pump", "--incidents", "alerts.jsonl", "--why", "worn"),
    ],
)
def test_feedback_needs_one_place_to_write_to(
    config: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    given = [str(config) if one == "CONFIG" else one for one in words]
    assert main(["feedback", "5d41", "real", *given]) == 2
    assert "--config" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["x" * 1001, "a\0b", "\ud800"])
def test_a_reason_that_no_record_can_hold_is_an_error(
    config: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert main(["reject", "5d41", "--config", str(config), "--dry-run", "--why", text]) == 2
    assert "--why" in capsys.readouterr().err
