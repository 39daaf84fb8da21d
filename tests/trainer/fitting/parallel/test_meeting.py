"""How processes find each other, and what their environment may state."""

from __future__ import annotations

from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch.distributed as dist

from streamgauge import VERBS, main
from trainer.errors import ProcessError, TrainerError
from trainer.fitting.parallel.launch import Launch, launched, timeout_seconds
from trainer.fitting.parallel.meeting import met

SIZE = 3
LONG = timedelta(seconds=60)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> dist.HashStore:
    """The store of a launcher, which all threads of this process reach."""
    store = dist.HashStore()
    monkeypatch.setattr(
        "trainer.fitting.parallel.meeting.rendezvous", lambda *_, **__: iter([(store, 0, SIZE)])
    )
    return store


def all_met(words: str) -> list[tuple[object, str]]:
    """What each of the processes gets, in order of their ranks."""
    with ThreadPoolExecutor(SIZE) as pool:
        stated = [words, None, None]
        futures = [pool.submit(met, Launch(rank, SIZE), stated[rank], LONG) for rank in range(SIZE)]
        return [future.result(60) for future in futures]


def test_all_get_the_words_of_the_first_and_a_store_of_their_own_start(store: dist.HashStore) -> None:
    """What a former start wrote, also in the middle of its meeting, reaches nobody of the next one."""
    store.set("streamgauge/asking/1", "a process that was killed")
    stores = []
    for words in ("cpu", "cuda"):
        found = all_met(words)
        assert [stated for _, stated in found] == [words] * SIZE
        first, *others = (own for own, _ in found)
        assert not first.check(["key"])
        first.set("key", words)
        assert [own.get("key") for own in others] == [words.encode()] * 2
        stores.append(first)
    assert stores[0].get("key") == b"cpu"


def test_a_process_that_does_not_come_is_named(store: dist.HashStore) -> None:
    with pytest.raises(
        ProcessError, match=r"^process 0 of 3 on .* waited 0\.1 s for process 1; start as many"
    ):
        met(Launch(0, SIZE), "cpu", timedelta(seconds=0.1))


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Launch()),
        ({"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}, Launch(1, 4, 1, 0)),
        ({"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "2"}, Launch(0, 1, 0, 2)),
        ({"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "job"}, Launch(0, 2, run="job")),
        ({"RANK": "0", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}, Launch(0, 2)),
        ({"RANK": "3", "LOCAL_RANK": "1", "TORCHELASTIC_RESTART_COUNT": "2"}, Launch()),
        ({"RANK": "node-3", "LOCAL_RANK": "first"}, Launch()),
        ({"RANK": "3", "WORLD_SIZE": "1", "LOCAL_RANK": "3"}, Launch()),
    ],
)
def test_the_environment_states_the_place(
    environment: dict[str, str], expected: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _launched(environment, monkeypatch) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, r"^the environment has WORLD_SIZE=2 and no RANK; start the processes with"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"^RANK=2 is no process of WORLD_SIZE=2$"),
        (
            {"RANK": "one", "WORLD_SIZE": "2"},
            r"^RANK='one' in the environment is no number; .*unset WORLD_SIZE$",
        ),
        ({"RANK": "0", "WORLD_SIZE": "0"}, r"^RANK=0 is no process of WORLD_SIZE=0$"),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainerError, match=message):
        _launched(environment, monkeypatch)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_timeout_is_a_positive_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMGAUGE_PROCESS_TIMEOUT", "2.5")
    assert timeout_seconds() == 2.5
    monkeypatch.setenv("STREAMGAUGE_PROCESS_TIMEOUT", text)
    with pytest.raises(TrainerError, match=rf"^STREAMGAUGE_PROCESS_TIMEOUT={text} is no positive number"):
        timeout_seconds()


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS if verb.name != "train"])
def test_every_other_verb_is_refused_once_by_several_processes(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parsed = Namespace(verb=verb, handler=lambda arguments: pytest.fail("it did its work"))
    monkeypatch.setattr("streamgauge._parse", lambda argv: parsed)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main([verb]) == 2
    expected = (
        f"`{verb}` runs in one process: start it without torchrun; only `streamgauge train` uses several"
    )
    assert capsys.readouterr().err == f"streamgauge: error: {expected}\n"
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match=r"^2$"):
        main([verb])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "environment",
    [{"WORLD_SIZE": "4"}, {"RANK": "3"}, {"RANK": "0", "WORLD_SIZE": "1"}, {"WORLD_SIZE": "all"}],
)
def test_variables_of_another_scheduler_do_not_stop_the_other_verbs(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _set(environment, monkeypatch)
    assert main(["check", "none.parquet"]) == 2
    assert capsys.readouterr().err == "streamgauge: error: none.parquet: no such file or directory\n"


def _launched(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Launch:
    _set(environment, monkeypatch)
    return launched()


def _set(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    elastic = ("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_RUN_ID")
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", *elastic):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
