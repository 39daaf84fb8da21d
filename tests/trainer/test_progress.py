"""Progress: plain lines where there is no terminal, a bar where there is one, nothing when quiet."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from trainer import progress
from trainer.progress import is_wanted, reporting


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def test_lines_come_every_few_seconds_with_the_time_left(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with reporting("training pump") as report:
        for seconds, done, words in ((0, 0.0, "reading"), (2, 0.1, "epoch 1"), (10, 0.25, "epoch 2")):
            clock.now = 100.0 + seconds
            report(done, words)
    assert capsys.readouterr().err == (
        "training pump:   0% reading\ntraining pump:  25% epoch 2, about 30 s left\n"
    )


def test_notable_words_and_the_end_are_printed_at_once(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with reporting("training") as report:
        report(0.0, "reading")
        report(0.5, "resumed", notable=True)
        report(1.0, "done")
    assert (
        capsys.readouterr().err
        == "training:   0% reading\ntraining:  50% resumed, about 0 s left\ntraining: 100% done\n"
    )


def test_nothing_is_printed_when_progress_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    with reporting("training", show=False) as report:
        report(1.0, "done", notable=True)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with reporting("training pump") as report:
        report(0.5, "stopped [early]", notable=True)
        report(1.0, "epoch 2, loss 0.5")
    shown = terminal.getvalue()
    assert "training pump: stopped [early]" in shown
    assert "100%" in shown
    assert "epoch 2, loss 0.5" in shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_library_calls_show_progress_on_a_terminal_and_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STREAMGAUGE_PROGRESS", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert not is_wanted()
    shell = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert not is_wanted()  # IPython in a pipe
    shell.kernel = object()
    assert is_wanted()
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert is_wanted()


@pytest.mark.parametrize(("setting", "wanted"), [("0", False), ("off", False), ("1", True), ("", True)])
def test_an_environment_variable_shows_and_hides_the_progress_of_library_calls(
    setting: str, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMGAUGE_PROGRESS", setting)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert is_wanted() is wanted
