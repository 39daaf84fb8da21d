"""A small part of the fuzzing, in every test run; `make fuzz` is the long one.

Hypothesis draws what is nearly valid, and makes what fails small; the runner's own mutators add volume.
"""

from __future__ import annotations

import base64
import gc
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.artifact import storage as artifacts
from detector.artifact.description import manifest as manifests
from detector.config.load import Config
from detector.config.tables import fields_of
from tests.fuzz import run
from tests.fuzz.codec_target import CODECS, NOW_MS, CodecTarget, bodies, check_batch, dumps
from tests.fuzz.file_targets import GOOD, check_artifact, check_config, check_feedback, sign
from tests.fuzz.finding import Finding
from tests.support.artifacts import make_artifact

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numbers at the edge overflow to infinity
some = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])

numbers = st.integers() | st.floats() | st.sampled_from([2**63, 10**400, -(10**30), 1e308, 5e-324])
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A valid message of the first codec with a value replaced or lost, its bytes cut, or changed by one."""
    body: dict[str, Any] = dict(draw(st.sampled_from(bodies(CODECS[0].fields))))
    field = draw(st.sampled_from(["series", "timestamp", "values", "temperature", "more", ""]))
    if field == "temperature":
        body["values"] = {**body["values"], draw(st.sampled_from([field, "é", "x"])): draw(json_values)}
    elif field:
        body[field] = draw(json_values)
    if draw(st.integers(0, 9)) == 0:
        del body[draw(st.sampled_from(sorted(body)))]
    data = dumps(body)
    change = draw(st.integers(0, 5))
    if change == 0:
        data = data[: draw(st.integers(0, len(data)))]
    elif change == 1:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=4)) + data[at + 1 :]
    return data


@some
@given(st.lists(messages() | st.binary(max_size=40) | st.none(), max_size=12), st.integers(0, 12))
def test_messages_become_readings_or_rejects_and_take_no_valid_one_along(
    values: list[bytes | None], at: int
) -> None:
    for codec in CODECS:
        valid = dumps(bodies(codec.fields)[0])
        place = min(at, len(values))
        check_batch(codec, [*values[:place], valid, *values[place:]], {place: valid})


def keys() -> list[tuple[str, str]]:
    """(a table's heading, key) of every table that there may be."""
    found = []
    for name, part in Config.model_fields.items():
        fields, is_array = fields_of(part.annotation)
        heading = f"[{name}.flow]" if name == "channels" else f"[[{name}]]" if is_array else f"[{name}]"
        found += [(heading, key) for key in fields]
    return found


def toml(value: Any) -> str:
    """A value as TOML, which writes numbers and escapes as JSON does, and knows no null."""
    return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "null": '""'}.get(
        text := json.dumps(value), text.replace("NaN", "nan").replace("Infinity", "inf")
    )


@some
@given(st.lists(st.tuples(st.sampled_from(keys()), scalars | st.lists(scalars, max_size=3)), max_size=5))
def test_a_configuration_is_usable_or_refused_with_its_place(
    tmp_path: Path, changes: list[tuple[tuple[str, str], Any]]
) -> None:
    text = GOOD + "".join(f"\n{heading}\n{key} = {toml(value)}\n" for (heading, key), value in changes)
    check_config(tmp_path / "streamgauge.toml", text.encode(), {})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("fuzz") / "model"
    artifacts.save(make_artifact(), directory)
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value within a JSON value, its own first."""
    if not isinstance(value, dict | list):
        return [path]
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, inner in entries for place in places(inner, (*path, key)))]


SPEC_PLACES = places(json.loads(json.dumps(artifacts.asdict(make_artifact().spec))))


@some
@given(st.sampled_from(SPEC_PLACES), json_values)
def test_a_description_is_usable_or_refused(
    tmp_path: Path, saved: dict[str, bytes], place: tuple[Any, ...], value: Any
) -> None:
    files = dict(saved)
    manifest = json.loads(files[manifests.MANIFEST])
    holder, path = manifest, ("spec", *place)
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    version = sign(files, manifest)
    check_artifact(tmp_path / "pump", files, version, version.encode())


@some
@given(st.lists(st.dictionaries(st.sampled_from(["incident", "id", "peak_error"]), json_values), max_size=3))
def test_feedback_is_usable_or_refused(tmp_path: Path, changes: list[dict[str, Any]]) -> None:
    line = {"incident": "i", "opinion": "real", "series": "a", "start": "", "version": "", "peak_error": 1.5}
    check_feedback(tmp_path, b"\n".join(dumps({**line, **change}) for change in changes), 2.0)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("codec", 20_000),
        ("formats", 3_000),
        ("config", 400),
        ("artifact", 150),
        ("feedback", 600),
        ("parquet", 300),
    ],
)
def test_the_mutators_find_nothing(name: str, inputs: int) -> None:
    outcome = run.run_target(name, seed=0, inputs=inputs)
    assert outcome.findings == []
    assert outcome.inputs >= inputs


def test_decoding_damaged_messages_keeps_no_memory() -> None:
    """At most 64 KiB more after 30,000 further messages, two bytes each."""
    rng = random.Random(1)
    target = CodecTarget(rng)

    def held_after(rounds: int) -> int:
        for number in range(rounds):
            rng.seed(number)
            target.run()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        warm = held_after(100)
        assert held_after(470) - warm < 65_536
    finally:
        tracemalloc.stop()
    assert min(target.counts.readings, target.counts.rejects, target.counts.valid_between) > 1_000


class Broken:
    """A target that breaks its promise in its third round."""

    def __init__(self, rng: random.Random, scratch: Path) -> None:
        self._rng = rng

    def run(self) -> int:
        data = self._rng.randbytes(4)
        if data in THIRD:
            raise Finding("it broke", data)
        return 1


THIRD = [random.Random("7/broken/2").randbytes(4)]


def test_a_finding_ends_the_run_with_1_and_can_be_seen_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "TARGETS", {"broken": Broken})
    shown = base64.b64encode(THIRD[0]).decode()
    again = ["--first", "2", "--inputs", "1"]
    for more in (["--inputs", "10"], again):
        assert run.main(["--seed", "7", "--target", "broken", *more]) == 1
        out = capsys.readouterr().out
        assert "FINDING in broken (seed 7, round 2): it broke" in out
        assert f"input (base64): {shown}" in out
    assert run.main(["--seed", "8", "--target", "broken", "--inputs", "10"]) == 0


def test_a_decoder_that_loses_a_valid_message_is_found() -> None:
    """The check itself: what is given as valid, and is not, counts as lost."""
    with pytest.raises(Finding, match="a valid message was lost") as caught:
        check_batch(CODECS[0], [b"{}"], {0: b"{}"})
    assert caught.value.data == b"{}"
    fine = dumps({"series": "a", "timestamp": NOW_MS, "values": {"pressure": 1}})
    assert len(check_batch(CODECS[0], [fine], {0: fine}).readings) == 1
