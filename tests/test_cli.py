"""The command line and `import streamgauge as sg`: help without heavy imports, exact errors, exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import streamgauge
from connectors.errors import CodecError, ConnectorError, KafkaError, ParquetError
from detector.errors import ArtifactError, ConfigError
from detector.models.families import FAMILIES
from trainer.commands import MODELS
from trainer.errors import TrainerError
from trainer.fitting.members import ENSEMBLE

ROOT = Path(__file__).parent.parent
VERBS = [verb.name for verb in streamgauge.VERBS]
HEAVY = {"torch", "pandas", "numpy", "pyarrow", "pydantic", "msgspec", "kafka", "urllib3", "rich"}
OURS = {"connectors", "detector", "trainer"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streamgauge", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line on standard error that refuses a command line."""
    with pytest.raises(SystemExit) as stopped:
        streamgauge.main(arguments)
    assert stopped.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err.strip()


def help_of(verb: str) -> str:
    parser = streamgauge._build_parser(verb)
    actions = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    return str(actions.choices[verb].format_help())


def examples() -> list[str]:
    texts = [streamgauge.FOOTER, *(help_of(verb).partition("examples:")[2] for verb in VERBS)]
    lines = [line.strip() for text in texts for line in text.splitlines()]
    return [line.partition("   ")[0] for line in lines if line.startswith("streamgauge ")]


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh Python has loaded after `code`."""
    ending = "\nprint('loaded:', *{name.partition('.')[0] for name in __import__('sys').modules})"
    outcome = subprocess.run(
        [sys.executable, "-c", code + ending], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(outcome.stdout.rpartition("loaded:")[2].split())


HELP_OF_EVERY_VERB = """
import streamgauge
for arguments in [["--help"], ["--version"], *([verb.name, "--help"] for verb in streamgauge.VERBS)]:
    try:
        streamgauge.main(arguments)
    except SystemExit as stopped:
        assert stopped.code == 0, arguments
"""


def test_help_of_every_verb_imports_nothing_heavy() -> None:
    loaded = loaded_by(HELP_OF_EVERY_VERB)
    assert loaded >= {"streamgauge", "detector", "trainer"}
    assert loaded & HEAVY == set()


def test_the_door_alone_loads_no_other_module_of_ours() -> None:
    assert loaded_by("import streamgauge; dir(streamgauge)") & (HEAVY | OURS) == set()


@pytest.mark.parametrize("module", ["streamgauge", "detector", "connectors", "trainer"])
def test_public_names_are_listed_before_their_first_use(module: str) -> None:
    code = f"import {module} as m; assert set(m.__all__) <= set(dir(m)), set(m.__all__) - set(dir(m))"
    assert loaded_by(code) & HEAVY == set()


def test_every_name_of_the_library_is_imported_on_first_use() -> None:
    assert {name for name in streamgauge.__all__ if not hasattr(streamgauge, name)} == set()
    with pytest.raises(AttributeError, match="module 'streamgauge' has no attribute 'nothing'"):
        streamgauge.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_the_help_names_every_verb_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        streamgauge.main(["--help"])
    text = capsys.readouterr().out
    assert [verb for verb in VERBS if f"    {verb} " not in text] == []
    assert "0 done, 1 failed, 2 wrong usage or input, 3 anomalies found" in text


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_ends_with_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        streamgauge.main([verb, "--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: streamgauge {verb} ")
    assert f"examples:\n  streamgauge {verb}" in text


@pytest.mark.parametrize("line", examples())
def test_every_example_is_a_valid_command_line(line: str) -> None:
    arguments = streamgauge._parse(shlex.split(line)[1:])
    assert arguments.verb == line.split()[1]


@pytest.mark.parametrize("verb", streamgauge.VERBS, ids=lambda verb: verb.name)
def test_every_verb_stands_in_its_module(verb: streamgauge.Verb) -> None:
    module = importlib.import_module(verb.module)
    assert callable(getattr(module, verb.name))
    assert callable(getattr(module, f"{verb.name}_arguments"))


def test_the_models_offered_are_the_families_there_are() -> None:
    assert set(MODELS) == {ENSEMBLE, *FAMILIES}


def test_the_version_is_printed() -> None:
    assert run("--version").stdout == f"streamgauge {streamgauge.__version__}\n"


def test_an_unknown_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "trian") == (
        "streamgauge: error: unknown verb `trian`; did you mean `train`? (see `streamgauge --help`)"
    )


def test_an_unknown_verb_that_resembles_none_is_answered_with_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert f"unknown verb `xyzzy`; there are {', '.join(VERBS)}" in refusal(capsys, "xyzzy")


def test_an_unknown_flag_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "backtest", "models/pump", "history/", "--fail-on-incidnet") == (
        "streamgauge: error: unknown argument `--fail-on-incidnet`; did you mean `--fail-on-incident`? "
        "(see `streamgauge backtest --help`)"
    )


def test_flags_are_not_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "unknown argument `--alarm`" in refusal(
        capsys, "train", "history/", "--out", "m", "--alarm", "1/day"
    )


def test_a_missing_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "train", "history/") == (
        "streamgauge: error: the following arguments are required: --out (see `streamgauge train --help`)"
    )


def test_no_verb_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert "required: VERB" in refusal(capsys)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KafkaError("no broker"), 1),
        (OSError(28, "No space left on device"), 1),
        (ConnectorError("x"), 2),
        (ParquetError("x"), 2),
        (CodecError("x"), 2),
        (ArtifactError("x"), 2),
        (ConfigError("x"), 2),
        (TrainerError("x"), 2),
        (ZeroDivisionError("a bug"), None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_errors_map_to_exit_codes(error: Exception, code: int | None) -> None:
    assert streamgauge._exit_code(error) == code


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    outcome = run("inspect", str(tmp_path / "nowhere"))
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("streamgauge: error: ")
    assert outcome.stderr.count("\n") == 1
    assert str(tmp_path / "nowhere") in outcome.stderr


def test_the_debug_variable_adds_the_traceback(tmp_path: Path) -> None:
    outcome = run("inspect", str(tmp_path / "nowhere"), STREAMGAUGE_DEBUG="1")
    assert outcome.returncode == 2
    assert outcome.stderr.startswith("Traceback (most recent call last):")
    assert "streamgauge: error: " in outcome.stderr.splitlines()[-1]


def test_a_reader_that_goes_away_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with subprocess.Popen(
        [sys.executable, "-m", "streamgauge", "config", "init"],
        cwd=ROOT,
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        os.close(write_end)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (streamgauge.BROKEN_PIPE, "")


def test_an_interruption_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    command = ["record", "--bootstrap-servers", f"127.0.0.1:{port}", "--topic", "t", "--out", str(tmp_path)]
    with subprocess.Popen(
        [sys.executable, "-m", "streamgauge", *command], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "trying again" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read().splitlines()
    assert said[-1] == "streamgauge: interrupted"
    assert process.returncode == streamgauge.INTERRUPTED
