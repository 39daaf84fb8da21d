"""What a codec remembers of messages: its size is bounded, and what it reads does not depend on it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pyarrow as pa
import pytest

from connectors.formats.codec import codec_of
from connectors.formats.form import Form
from connectors.records import Raw, RawColumns
from tests.connectors.formats.kits import ARROW, FLAT, NOW_MS, NOW_NS, dumps, stream

MIB = 1 << 20


def flat(names: list[str]) -> bytes:
    return dumps({"id": "a", "ts": NOW_NS, "flow": 1.5, **dict.fromkeys(names, 2)})


def many_names() -> Iterator[bytes]:
    """Each message has 8,000 names of its own."""
    yield from (flat([f"{at}-{name}" for name in range(8_000)]) for at in range(10))


def long_names() -> Iterator[bytes]:
    """Each message has one name of its own with 400,000 letters."""
    yield from (flat([f"{at}".ljust(400_000, "x")]) for at in range(40))


def many_layouts() -> Iterator[bytes]:
    """Each message has 800 names of its own with 260 letters: a layout that is remembered for a while."""
    yield from (flat([f"{at}-{name}".ljust(260, "x") for name in range(800)]) for at in range(120))


def wide_schemas() -> Iterator[bytes]:
    """Each message has a schema of its own with a name of 400,000 letters."""
    for at in range(40):
        columns = {"machine": ["a"], "at": pa.array([NOW_MS], pa.timestamp("ms")), "flow": [1.5]}
        yield stream({**columns, f"{at}".ljust(400_000, "x"): [2]})


@pytest.mark.parametrize(
    ("form", "messages", "num", "most"),
    [
        (FLAT, many_names(), 10, 3),
        (FLAT, long_names(), 40, 8),
        (FLAT, many_layouts(), 120, 18),
        (ARROW, wide_schemas(), 40, 8),
    ],
    ids=["many names", "long names", "many layouts", "wide schemas"],
)
def test_what_is_remembered_of_strange_messages_is_bounded(
    form: Form, messages: Iterator[bytes], num: int, most: int
) -> None:
    codec = codec_of(("flow",), form)
    tracemalloc.start()
    try:
        for at, value in enumerate(messages):
            found = codec.decode_columns(RawColumns.of([Raw("t", 0, at, NOW_MS, None, value)]))
            assert (found.readings.values.tolist(), found.rejects) == ([[1.5]], ())
            assert found.unknown_values > 0
        del found, value
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert at == num - 1
    assert held < most * MIB
