"""`streamgauge config check` and `config test-notify`: what an operator sees."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

import streamgauge
from detector.artifact.registry import publish
from tests.support.artifacts import make_artifact
from tests.support.receiver import Reply, receiving

CONFIG = (
    '[model]\npath = "x"\n[kafka]\ntopic = "x"\n[[notify]]\nname = "good"\nkind = "webhook"\nurl = "{}"\n'
)


def test_each_receiver_gets_a_test_and_its_end_and_failures_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "streamgauge.toml"
    with receiving() as good, receiving() as bad:
        bad.answer = lambda got: Reply(403, b"no " + got.path.encode())
        (tmp_path / "url").write_text(f"{bad.url}/hunter2")
        second = f'[[notify]]\nname = "bad"\nkind = "slack"\nurl_file = "{tmp_path / "url"}"\n'
        file.write_text(CONFIG.format(good.url) + second)
        assert streamgauge.main(["config", "test-notify", str(file)]) == 1
        said = capsys.readouterr().out
        assert streamgauge.main(["config", "test-notify", str(file), "--only", "good"]) == 0
    assert [got.json["event"] for got in good.got] == ["opened", "resolved"] * 2
    assert len(bad.got) == 2
    assert "good (webhook): resolved: delivered" in said
    assert "bad (slack): opened: again: http://127.0.0.1" in said
    assert "hunter2" not in said


def test_without_receivers_there_is_nothing_to_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "streamgauge.toml"
    file.write_text(CONFIG.partition("[[")[0])
    assert streamgauge.main(["config", "test-notify", str(file)]) == 2
    assert "no [[notify]] to test" in capsys.readouterr().err


def checked(tmp_path: Path, bootstrap: str, topic: str = "readings", model: str = "models/pump") -> Path:
    file = tmp_path / "streamgauge.toml"
    kafka = f'bootstrap_servers = ["{bootstrap}"]\ntopic = "{topic}"\nstartup_timeout = "1s"\n'
    file.write_text(f'[model]\npath = "{tmp_path / model}"\n[kafka]\n{kafka}')
    return file


def test_check_names_what_it_did_not_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = checked(tmp_path, "localhost:9", model="models/nope")
    assert streamgauge.main(["config", "check", str(file)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{file}: syntax correct. Reads topic readings at localhost:9 as group ")
    assert second == "Model and Kafka not checked; --connect checks them."


def test_check_connect_loads_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = checked(tmp_path, "localhost:9", model="models/nope")
    assert streamgauge.main(["config", "check", str(file), "--connect"]) == 2
    assert f"{file}: [model] path: {tmp_path / 'models/nope'}" in capsys.readouterr().err


def test_check_connect_asks_the_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(make_artifact(), tmp_path / "models" / "pump")
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    file = checked(tmp_path, f"127.0.0.1:{port}")
    assert streamgauge.main(["config", "check", str(file), "--connect"]) == 1
    captured = capsys.readouterr()
    assert f"127.0.0.1:{port}" in captured.err
    assert f"Model: {tmp_path / 'models/pump'}, version " in captured.out
    assert "channels flow, pressure" in captured.out


def test_check_connect_asks_for_the_topic(
    tmp_path: Path,
    kafka_bootstrap: str,
    kafka_topic: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    publish(make_artifact(), tmp_path / "models" / "pump")
    topic = kafka_topic()
    command = ["config", "check", str(checked(tmp_path, kafka_bootstrap, topic)), "--connect"]
    assert streamgauge.main(command) == 0
    assert f"Kafka: topic {topic} at {kafka_bootstrap}, partitions: " in capsys.readouterr().out
    checked(tmp_path, kafka_bootstrap, "nowhere")
    assert streamgauge.main(command) == 1
    assert f"{kafka_bootstrap} has no topic 'nowhere': create it" in capsys.readouterr().err


def test_check_of_a_fallback_alone_needs_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "streamgauge.toml"
    fallback = "[fallback]\nenabled = true\n"
    file.write_text(fallback + '[kafka]\ntopic = "readings"\n')
    assert streamgauge.main(["config", "check", str(file)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert ", uses the statistics of [fallback], writes streamgauge.*" in first
    assert second == "Kafka not checked; --connect checks it."
    file.write_text(fallback + '[source]\nkind = "stdin"\n')
    assert streamgauge.main(["config", "check", str(file), "--connect"]) == 0
    assert "Fallback: judges series that no model matches" in capsys.readouterr().out


def test_check_connect_loads_the_models_beside_a_fallback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(make_artifact(), tmp_path / "models" / "pump")
    file = tmp_path / "streamgauge.toml"
    entry = f'[[models]]\npath = "{tmp_path / "models/pump"}"\nseries = ["pump-*"]\n'
    file.write_text(entry + '[fallback]\nenabled = true\n[source]\nkind = "stdin"\n')
    assert streamgauge.main(["config", "check", str(file), "--connect"]) == 0
    said = capsys.readouterr().out
    assert f"uses the model {tmp_path / 'models/pump'} and the statistics of [fallback]" in said
    assert "channels flow, pressure" in said
