"""A plant in any format gives the verdicts that it gives in wide JSON, however the messages are cut."""

from __future__ import annotations

import math

import numpy as np
import pytest

from connectors.records import RawColumns
from connectors.wide_json.decoder import JsonWideCodec
from detector.engine.engine import Engine
from tests.connectors.formats.kits import CHANNELS, KITS, NOW_NS, Kit, Row, dumps, given_values
from tests.connectors.formats.test_contract import raws
from tests.support.artifacts import make_artifact

Key = tuple[str, int]
NAMES = CHANNELS[:2]


def plant() -> list[Row]:
    """Two series, a row a second; the second channel is missing now and then."""
    rng = np.random.default_rng(3)
    return [
        Row(
            f"pump-{at % 2}",
            NOW_NS + at // 2 * 10**9,
            (float(rng.normal()), math.nan if at % 7 == 3 else float(rng.normal()), math.nan),
        )
        for at in range(120)
    ]


def verdicts(codec: object, values: list[bytes], size: int) -> dict[Key, tuple[float, int]]:
    """(series, time) -> score and state, of messages that come `size` at a time."""
    engine = Engine(make_artifact(channels=NAMES))
    found: dict[Key, tuple[float, int]] = {}
    for at in range(0, len(values), size):
        decoded = codec.decode_columns(RawColumns.of(raws(values)[at : at + size]))  # type: ignore[attr-defined]
        assert decoded.rejects == ()
        given = engine.step(decoded.readings).verdicts
        for row, code in enumerate(given.series.tolist()):
            key = given.names[code], int(given.timestamp_ns[row])
            found[key] = float(given.score[row]), int(given.state[row])
    return found


@pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
@pytest.mark.parametrize("size", [1, 17])
def test_the_format_and_the_cut_change_no_verdict(kit: Kit, size: int) -> None:
    rows = plant()
    wide = [
        dumps({"series": row.series, "timestamp": row.timestamp_ns // 10**6, "values": given_values(row)})
        for row in rows
    ]
    expected = verdicts(JsonWideCodec(NAMES), wide, 40)
    sent = [value for at in range(0, len(rows), 6) for value in kit.encode(rows[at : at + 6])]
    found = verdicts(kit.codec(NAMES), sent, size)
    assert len(found) == len(expected) >= 100
    assert found.keys() == expected.keys()
    in_order = sorted(expected)
    np.testing.assert_array_equal([found[key] for key in in_order], [expected[key] for key in in_order])
