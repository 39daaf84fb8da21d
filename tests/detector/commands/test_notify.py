"""`streamgauge config test-notify`: what an operator sees."""

from __future__ import annotations

from pathlib import Path

import pytest

import streamgauge
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
