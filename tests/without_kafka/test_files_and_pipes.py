"""`streamgauge run` as a process without Kafka: files and a pipe in, files and lines out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from connectors.wide_json.encoder import encode
from detector.artifact.registry import publish
from streamgauge import main
from tests.support.artifacts import make_artifact
from tests.support.daemon import ROOT, running, wait_for
from tests.support.receiver import receiving
from tests.support.strategies import readings_of

CHANNELS = ("flow", "pressure")
BAD = b"{oops\n"


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    publish(make_artifact(threshold=0.8), tmp_path / "models" / "pump")
    return tmp_path / "models" / "pump"


def lines(first: int, num_rows: int) -> list[bytes]:
    """Readings of three series, one a second; a line is the same whatever lines are asked for."""
    series = np.tile(np.arange(3), num_rows)
    times = 1_700_000_000_000_000_000 + (first + np.repeat(np.arange(num_rows), 3)) * 10**9
    every = np.random.default_rng(7).standard_normal((3 * 2000, 2))
    every[np.arange(len(every)) // 90 % 2 == 1] = 0.0  # half a minute of calm, in which incidents resolve
    values = every[3 * first : 3 * (first + num_rows)]
    return [(one.value or b"") + b"\n" for one in encode(readings_of(series, times, values), CHANNELS, "t")]


def configuration(entry: Path, directory: Path, *, follow: bool = True, more: str = "") -> str:
    """Small batches and small replays, so that a kill meets every step of a commit."""
    return f"""
[model]
path = "{entry}"
[source]
kind = "files"
path = "{directory}/in/*.jsonl"
follow = {str(follow).lower()}
state = "{directory}/state"
[output]
to = "files"
directory = "{directory}/out"
prefix = "out"
[recovery]
max_replay_rows = 40
[service]
max_poll_records = 15
{more}
"""


def scored(directory: Path) -> dict[tuple[str, int], float]:
    """(series, timestamp) -> score; each must be there once."""
    found: dict[tuple[str, int], float] = {}
    path = directory / "out/out.scores.jsonl"
    for line in path.read_bytes().splitlines() if path.exists() else ():
        body = json.loads(line)
        for time, score in zip(body["timestamp"], body["score"], strict=True):
            assert (body["series"], time) not in found, "a verdict is there twice"
            found[body["series"], time] = score
    return found


def events(directory: Path) -> list[tuple[str, str, str]]:
    path = directory / "out/out.alerts.jsonl"
    bodies = [json.loads(line) for line in path.read_bytes().splitlines()]
    found = [(one["event"], one["id"], one["at"]) for one in bodies]
    return sorted(found, key=lambda one: one[1:])  # between series, the order depends on the batches


def num_scored(directory: Path) -> int:
    """Verdicts in complete lines of the file, while it is being written."""
    path = directory / "out/out.scores.jsonl"
    if not path.exists():
        return 0
    complete = path.read_bytes().rpartition(b"\n")[0]
    return sum(len(json.loads(line)["timestamp"]) for line in complete.splitlines())


def undisturbed(entry: Path, directory: Path, content: bytes) -> Path:
    """The results of one process that nobody kills."""
    (directory / "in").mkdir(parents=True)
    (directory / "in/a.jsonl").write_bytes(content)
    with running(configuration(entry, directory, follow=False), directory) as daemon:
        assert daemon.process.wait(120) == 0, daemon.log.read_text()
    return directory


def test_kills_lose_and_double_nothing_between_files(entry: Path, tmp_path: Path) -> None:
    """kill -9 in the middle of anything; the file grows, and the results are those of an undisturbed run."""
    num_kills, rows = 6, 40
    content = [b"".join([*lines(at * rows, rows), BAD]) for at in range(num_kills + 1)]
    expected = undisturbed(entry, tmp_path / "undisturbed", b"".join(content))
    killed = tmp_path / "killed"
    (killed / "in").mkdir(parents=True)
    source = killed / "in/a.jsonl"
    for number, part in enumerate(content):
        with source.open("ab") as file:
            file.write(part)
        before = num_scored(killed)
        with running(configuration(entry, killed), killed) as daemon:
            if number < num_kills:
                wait_for(lambda at=before + 7 * number: num_scored(killed) > at, f"verdicts: {daemon.log}")
                daemon.process.kill()
            else:
                wait_for(lambda: num_scored(killed) >= 3 * rows * (num_kills + 1) - 3, "the end")
                wait_for(lambda: json.loads(daemon.get("/api/status")[1])["ready"], "readiness")
                assert daemon.terminate() == 0
    assert scored(killed) == scored(expected)
    assert events(killed) == events(expected)
    assert len(events(killed)) > 3
    letters = [(killed / "out/out.dead-letters.jsonl"), (expected / "out/out.dead-letters.jsonl")]
    assert letters[0].read_bytes() == letters[1].read_bytes()
    assert letters[0].read_bytes().count(b"not_json") == num_kills + 1


def test_a_run_over_files_goes_on_where_the_last_one_ended(entry: Path, tmp_path: Path) -> None:
    whole = undisturbed(entry, tmp_path / "whole", b"".join(lines(0, 60)))
    parts = tmp_path / "parts"
    (parts / "in").mkdir(parents=True)
    for name, first in (("monday", 0), ("tuesday", 30)):
        (parts / f"in/{first:02}-{name}.jsonl").write_bytes(b"".join(lines(first, 30)))
        with running(configuration(entry, parts, follow=False), parts) as daemon:
            assert daemon.process.wait(120) == 0, daemon.log.read_text()
    assert scored(parts) == scored(whole)
    assert len(scored(parts)) == 3 * 60 - 3, "the newest rows stay open, for the next run"


def test_incidents_reach_a_webhook_and_the_page_works_without_kafka(entry: Path, tmp_path: Path) -> None:
    with receiving() as receiver:
        more = f'[[notify]]\nname = "pager"\nkind = "webhook"\nurl = "{receiver.url}"\n'
        (tmp_path / "in").mkdir()
        (tmp_path / "in/a.jsonl").write_bytes(b"".join(lines(0, 60)))
        with running(configuration(entry, tmp_path, more=more), tmp_path) as daemon:
            wait_for(lambda: len(receiver.taken) >= 3, f"three alerts; see {daemon.log}")
            wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
            assert daemon.get("/healthz") == (200, "alive\n")
            assert "pump-2" in daemon.get("/api/status")[1]
            assert "<h1>" in daemon.get("/")[1]
            wait_for(lambda: daemon.readings() == 180, "all readings")
            wait_for(lambda: 'lag_seconds{partition="0"} 0.0' in daemon.get("/metrics")[1], "the end")
            daemon.process.kill()
            daemon.process.wait()
        num = len(receiver.taken)
        with running(configuration(entry, tmp_path, more=more), tmp_path) as daemon:
            wait_for(lambda: daemon.get("/readyz")[0] == 200, "readiness")
            with (tmp_path / "in/a.jsonl").open("ab") as file:
                file.write(b"".join(lines(60, 60)))
            wait_for(lambda: len(events(tmp_path)) > num, "more alerts")
            wait_for(lambda: len(receiver.taken) >= len(events(tmp_path)), "their delivery")
            assert daemon.terminate() == 0


@contextmanager
def piped(*flags: str, output: int | IO[bytes] = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    """`streamgauge run` as a command at the end of a pipe."""
    process = subprocess.Popen(
        [sys.executable, "-m", "streamgauge", "run", *flags],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.PIPE,
        env={**os.environ, "STREAMGAUGE_HTTP__PORT": "0", "OMP_NUM_THREADS": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def test_lines_of_a_pipe_become_lines_until_it_ends(entry: Path) -> None:
    with piped(str(entry), "--source", "-") as process:
        out, err = process.communicate(b"".join([*lines(0, 40), BAD]), timeout=120)
        assert process.returncode == 0, err.decode()
    found = [json.loads(line) for line in out.splitlines()]
    num = Counter(one["topic"] for one in found)
    assert num["streamgauge.dead-letters"] == 1
    assert num["streamgauge.alerts"] >= 1
    scores = [one["value"] for one in found if one["topic"] == "streamgauge.scores"]
    assert sum(len(one["timestamp"]) for one in scores) == 3 * 40, "the end of the pipe closes the last rows"


def test_the_end_of_a_pipe_waits_for_the_notifiers(entry: Path, tmp_path: Path) -> None:
    with receiving() as receiver:
        path = tmp_path / "streamgauge.toml"
        notify = f'[[notify]]\nname = "pager"\nkind = "webhook"\nurl = "{receiver.url}"\n'
        path.write_text(f'[model]\npath = "{entry}"\n{notify}')
        with piped(str(path), "--source", "-") as process:
            out, err = process.communicate(b"".join(lines(0, 40)), timeout=120)
            assert process.returncode == 0, err.decode()
    found = [json.loads(line) for line in out.splitlines()]
    opened = [one["value"]["id"] for one in found if one["value"].get("event") == "opened"]
    assert opened
    assert {got.json["id"] for got in receiver.taken} >= set(opened)


def test_a_killed_pipe_goes_on_from_its_state_and_doubles_nothing(entry: Path, tmp_path: Path) -> None:
    """What the killed process had read and not committed is lost with it, and nothing else."""
    flags = (
        str(entry),
        "--source",
        "-",
        "--state",
        str(tmp_path / "state"),
        "--output",
        str(tmp_path / "out"),
    )
    scores = tmp_path / "out/streamgauge.scores.jsonl"

    def rows() -> list[tuple[str, int]]:
        found = [json.loads(line) for line in scores.read_text().splitlines()] if scores.exists() else []
        return [(one["series"], time) for one in found for time in one["timestamp"]]

    with piped(*flags) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(lines(0, 30)))
        process.stdin.flush()
        wait_for(lambda: len(rows()) >= 3 * 29, "the first verdicts")
        process.stdin.write(b"".join(lines(30, 10)))
        process.stdin.flush()
        wait_for(lambda: len(rows()) >= 3 * 39, "further verdicts, so that the first are committed")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with piped(*flags) as process:
        _, err = process.communicate(b"".join(lines(40, 20)), timeout=120)
        assert process.returncode == 0, err.decode()
    found = rows()
    assert len(found) == len(set(found)), "no verdict is there twice"
    seconds = {(time - 1_700_000_000_000) // 1000 for _, time in found}
    assert seconds >= {*range(29), *range(40, 59)}, "what was committed, and what came later"
    assert "state restored" in err.decode()


def test_kills_lose_no_line_of_standard_output_and_repeat_at_most_a_batch_each(
    entry: Path, tmp_path: Path
) -> None:
    """kill -9 while lines go to standard output: all are there, and those that come twice are the same."""
    num_kills, rows = 4, 30
    content = [b"".join(lines(at * rows, rows)) for at in range(num_kills + 1)]
    expected = undisturbed(entry, tmp_path / "undisturbed", b"".join(content))
    killed = tmp_path / "killed"
    (killed / "in").mkdir(parents=True)
    path = killed / "streamgauge.toml"
    path.write_text(configuration(entry, killed).replace(f'to = "files"\ndirectory = "{killed}/out"\n', ""))
    outputs: list[Path] = []
    for number, part in enumerate(content):
        with (killed / "in/a.jsonl").open("ab") as file:
            file.write(part)
        outputs.append(killed / f"out-{number}")
        with outputs[-1].open("wb") as out, piped(str(path), output=out) as process:
            if number < num_kills:
                wait_for(lambda at=7 * number: sum(map(len, printed(outputs[-1:]).values())) > at, "verdicts")
                process.send_signal(signal.SIGKILL)
                process.wait()
            else:
                wait_for(lambda: printed(outputs).keys() >= scored(expected).keys(), "the end")
                process.terminate()
                assert process.wait(120) == 0
    found = printed(outputs)
    assert {row: set(scores) for row, scores in found.items()} == {
        row: {score} for row, score in scored(expected).items()
    }
    assert sum(len(scores) - 1 for scores in found.values()) <= num_kills * 2 * 15
    alerts = [body for one in outputs for body in bodies(one, "out.alerts")]
    assert {(one["event"], one["id"], one["at"]) for one in alerts} == set(events(expected))


def bodies(path: Path, topic: str) -> list[dict[str, Any]]:
    """The messages of a topic in complete lines: a kill may tear the last one."""
    complete = path.read_bytes().rpartition(b"\n")[0]
    found = [json.loads(line) for line in complete.splitlines()]
    return [one["value"] for one in found if one["topic"] == topic]


def printed(paths: list[Path]) -> dict[tuple[str, int], list[float]]:
    """(series, timestamp) -> each score that was printed of it."""
    found: dict[tuple[str, int], list[float]] = {}
    for body in (body for path in paths for body in bodies(path, "out.scores")):
        for time, score in zip(body["timestamp"], body["score"], strict=True):
            found.setdefault((body["series"], time), []).append(score)
    return found


def test_a_pipe_whose_reader_left_ends_quietly(entry: Path) -> None:
    with piped(str(entry), "--source", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(b"".join(lines(0, 30)))
        process.stdin.close()
        assert process.wait(120) == 141


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("x.toml", "--follow"), "--follow needs --source"),
        (("models/none", "--source", "none.jsonl"), "models/none"),
        (("models/none", "--source", "mqtt://host"), "expected mqtt://HOST:PORT/TOPIC"),
        (("models/none", "--source", "-", "--follow"), '`follow` is for kind = "files"'),
    ],
)
def test_wrong_flags_name_the_remedy(flags: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamgauge", "run", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_of_kafka_name_what_they_need(entry: Path, tmp_path: Path) -> None:
    path = tmp_path / "streamgauge.toml"
    path.write_text(configuration(entry, tmp_path))
    decide = ("reject", "0" * 16, "--config", str(path), "--why", "a test")
    done = subprocess.run(
        [sys.executable, "-m", "streamgauge", *decide], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "this needs Kafka" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('kind = "stdin"', "Reads standard input"),
        ('kind = "files"\npath = "in/*.jsonl"', "Reads files in/*.jsonl"),
        ('kind = "mqtt"\ntopics = ["a/#"]', "Reads topics a/# of MQTT at localhost:1883 as streamgauge"),
        ('kind = "stdin"\nstate = "x"\n[kafka]\ntopic = "t"', "[kafka] is not used with"),
        ('kind = "mqtt"', 'kind = "mqtt" needs `topics`'),
        ('kind = "files"\npath = "a"\n[output]\nto = "files"', "need each other"),
        ('kind = "kafka"\nstate = "x"\n[kafka]\ntopic = "t"', "`state` is for kinds other than kafka"),
        ('kind = "kafka"\n[kafka]\ntopic = "t"\n[output]\nto = "stdout"', "have their results in Kafka"),
        ('kind = "stdin"\n[mqtt]\nssl_cafile = "x"', "need tls = true"),
    ],
)
def test_the_check_of_a_configuration_names_the_source(
    entry: Path, tmp_path: Path, source: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "streamgauge.toml"
    path.write_text(f'[model]\npath = "{entry}"\n[source]\n{source}\n')
    code = main(["config", "check", str(path), "--connect"])
    found = capsys.readouterr()
    assert words in found.out + found.err
    assert code == (0 if words.startswith("Reads") else 2)
