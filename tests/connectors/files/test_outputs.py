"""Lines that are written: once on the disk, cut after a kill, readable by other programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.errors import FilesError, StateError
from connectors.files.feed import FileFeed
from connectors.files.outputs import OutputFiles, StandardOutput, value_of
from connectors.local.delivery import LocalDelivery
from connectors.local.source import LocalSource, SourceOptions
from connectors.local.store import LocalStore, Step
from connectors.records import Message
from connectors.wide_json.decoder import JsonWideCodec

SCORES, ALERTS = "out.scores", "out.alerts"
AT = ("files", 0)


def message(topic: str, number: int) -> Message:
    return Message(topic, b"pump", json.dumps({"n": number}).encode())


def numbers(directory: Path, topic: str) -> list[int]:
    return [json.loads(line)["n"] for line in (directory / f"{topic}.jsonl").read_text().splitlines()]


class Process:
    """What a daemon has open over the same directory; leaving it at any point is a kill."""

    def __init__(self, directory: Path) -> None:
        (directory / "in").mkdir(exist_ok=True)
        (directory / "in/a.jsonl").write_text("x\n" * 10)
        self.store = LocalStore(directory / "state", "files")
        self.source = LocalSource(
            FileFeed(str(directory / "in"), False, self.store.segments(), 10),
            self.store,
            JsonWideCodec(("x",)),
            SourceOptions("files", 1),
        )
        self.outputs = OutputFiles(
            directory / "out",
            self.store.lengths,
            lambda path, length: self.store.commit(Step(lengths={path: length})),
        )
        self.delivery = LocalDelivery(self.outputs, self.store, self.source, ALERTS)

    def close(self) -> None:
        self.outputs.close()
        self.source.close()
        self.store.close()


def test_results_state_position_and_alerts_are_out_after_a_delivery(tmp_path: Path) -> None:
    process = Process(tmp_path)
    state = Message("out.state", b"pump", b"snapshot", (), 0)
    process.delivery.deliver([message(SCORES, 1), message(ALERTS, 2)], {AT: 3}, [state])
    process.delivery.deliver([message(SCORES, 3)], {AT: 4})
    assert (numbers(tmp_path / "out", SCORES), numbers(tmp_path / "out", ALERTS)) == ([1, 3], [2])
    assert process.store.read_state([0]) == {0: {b"pump": b"snapshot"}}
    assert process.source.committed([0]) == {0: 4}
    assert [json.loads(one.value)["n"] for one in process.store.alerts(0, 9)] == [2]
    process.close()


@pytest.mark.parametrize("num_before", [0, 2])
def test_what_was_written_and_not_committed_is_cut_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_before: int
) -> None:
    process = Process(tmp_path)
    for number in range(num_before):
        process.delivery.deliver([message(SCORES, number)], {AT: number + 1})

    def killed(position: object) -> Step:
        raise StateError("killed")

    monkeypatch.setattr(process.source, "step", killed)
    with pytest.raises(StateError):
        process.delivery.deliver([message(SCORES, 99)], {AT: num_before + 1})
    assert numbers(tmp_path / "out", SCORES)[-1] == 99
    process.close()
    again = Process(tmp_path)
    assert numbers(tmp_path / "out", SCORES) == list(range(num_before))
    again.delivery.deliver([message(SCORES, num_before)], {AT: num_before + 1})
    assert numbers(tmp_path / "out", SCORES) == list(range(num_before + 1))
    again.close()


def test_a_renamed_file_stays_as_it_is_and_a_new_one_begins(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.delivery.deliver([message(SCORES, 1)], {AT: 1})
    out = tmp_path / "out"
    (out / f"{SCORES}.jsonl").rename(out / f"{SCORES}.jsonl.1")
    process.delivery.deliver([message(SCORES, 2)], {AT: 2})
    assert numbers(out, SCORES) == [2]
    assert (out / f"{SCORES}.jsonl.1").read_text().count("\n") == 1
    process.close()
    (out / f"{SCORES}.jsonl").unlink()
    (out / f"{SCORES}.jsonl").write_text('{"n": 7}\n' * 50)
    Process(tmp_path).close()
    assert numbers(out, SCORES) == [7] * 50, "another file of the same name is not ours to cut"


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FilesError, match=str(tmp_path / "out")):
        OutputFiles(tmp_path / "out", {}, lambda path, length: None)


def test_a_dead_letter_is_a_line_with_its_reason_and_its_bytes() -> None:
    headers = (("reason", b"not_json"), ("offset", b"7"))
    assert json.loads(value_of(Message("d", None, b'{"oops\n', headers))) == {
        "reason": "not_json",
        "offset": "7",
        "message": '{"oops\n',
    }
    assert json.loads(value_of(Message("d", b"k", b"\xff\x00", headers)))["base64"] == "/wA="


def test_standard_output_names_the_topic_of_each_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    StandardOutput().produce([message(SCORES, 1), message(ALERTS, 2)])
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert lines == [{"topic": SCORES, "value": {"n": 1}}, {"topic": ALERTS, "value": {"n": 2}}]
