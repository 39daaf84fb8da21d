"""What every format promises, for all of them: round trip, bad input, any cut, nothing valid lost."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import CodecError
from connectors.formats.channels import Scale
from connectors.formats.codec import channels_in, codec_of
from connectors.formats.form import Form
from connectors.records import Raw, RawColumns, Readings
from connectors.wide_json.limits import Limits
from tests.connectors.formats.kits import CHANNELS, FLAT, KITS, NOW_MS, NOW_NS, TWINS, Kit, Row, dumps
from tests.fuzz.codec_target import check_batch
from tests.fuzz.mutation import ByteMutator

some = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
kits = pytest.mark.parametrize("kit", KITS, ids=lambda kit: kit.name)
finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
row_lists = st.lists(
    st.builds(
        Row,
        st.text(st.characters(codec="utf-8", exclude_characters="\n\r\\"), min_size=1, max_size=20),
        st.integers(631_152_000_000_000, 1_767_225_600_000_000).map(lambda us: us * 1_000),
        st.tuples(finite, finite | st.just(math.nan), st.just(0.0) | st.just(math.nan)),
    ),
    min_size=1,
    max_size=6,
)
ROWS = [Row(f"pump-{at % 2}", NOW_NS + at * 10**9, (at / 4, -1.5 * at, math.nan)) for at in range(6)]


def raws(values: Sequence[bytes | None]) -> list[Raw]:
    return [Raw("plant", 0, at, NOW_MS, b"key", value) for at, value in enumerate(values)]


def joined(readings: Readings) -> dict[tuple[str, int], list[float]]:
    """Series and time -> values, as the grid joins readings of one time: the last value that is there."""
    found: dict[tuple[str, int], list[float]] = defaultdict(lambda: [math.nan] * len(CHANNELS))
    for row, code in enumerate(readings.series.tolist()):
        key = readings.names[code], int(readings.timestamp_ns[row])
        for column, value in enumerate(readings.values[row].tolist()):
            if not math.isnan(value):
                found[key][column] = value
    return dict(found)


@kits
@some
@given(rows=row_lists)
def test_what_is_encoded_is_decoded_again(kit: Kit, rows: list[Row]) -> None:
    rows = list({(row.series, row.timestamp_ns): row for row in rows}.values())
    decoded = kit.codec().decode(raws(kit.encode(rows)))
    assert decoded.rejects == ()
    expected = {(row.series, row.timestamp_ns): list(row.values) for row in rows}
    found = joined(decoded.readings)
    assert list(found) == list(expected)
    np.testing.assert_array_equal(list(found.values()), list(expected.values()))
    assert kit.joins or len(decoded.readings) == len(rows)


@kits
def test_the_readings_of_a_message_have_its_offset_and_stand_together(kit: Kit) -> None:
    values = [*kit.encode(ROWS[:3]), *kit.encode(ROWS[3:])]
    readings = kit.codec().decode(raws(values)).readings
    assert set(readings.offset.tolist()) == set(range(len(values)))
    assert readings.offset.tolist() == sorted(readings.offset.tolist())
    assert not kit.several or len(values) == 2


@kits
@some
@given(seed=st.integers(0, 2**32))
def test_damaged_messages_take_no_valid_one_along_and_any_cut_is_equal(kit: Kit, seed: int) -> None:
    rng = random.Random(seed)
    good = kit.encode(ROWS[:2])
    mutate = ByteMutator(rng, [*good, *kit.encode(ROWS[2:]), kit.other, TWINS, b"", b"{}", b"[]", b"null"])
    values: list[bytes | None] = []
    valid: dict[int, bytes] = {}
    for at in range(24):
        draw = rng.random()
        if draw < 0.2:
            valid[at] = rng.choice(good)
        values.append(valid[at] if at in valid else mutate() if draw < 0.97 else None)
    check_batch(kit.codec(), values, valid)
    check_batch(kit.codec(limits=Limits("reject", max_bytes=2_048, max_series_length=16)), values, valid)


@kits
@some
@given(value=st.none() | st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_message_raises(kit: Kit, value: bytes | None) -> None:
    check_batch(kit.codec(), [value, *kit.encode(ROWS[:1])], {})
    channels_in(RawColumns.of(raws([value])), kit.form)


@kits
def test_a_channel_that_nobody_knows_is_counted_or_refused(kit: Kit) -> None:
    good = kit.encode(ROWS[:1])
    decoded = kit.codec().decode(raws([*good, kit.other]))
    assert len(decoded.readings) >= 1
    kept = [one.reason for one in decoded.rejects]
    assert (kept, decoded.unknown_values) in (([], 1), (["no_known_channel"], 0))
    strict = kit.codec(limits=Limits("reject")).decode(raws([*good, kit.other]))
    assert [one.reason for one in strict.rejects] == ["unknown_channel"]
    assert "x'" in strict.rejects[0].detail
    assert len(strict.readings) == len(decoded.readings)


@pytest.mark.parametrize("kit", [kit for kit in KITS if kit.garbled is not None], ids=lambda kit: kit.name)
def test_one_faulty_reading_of_a_message_leaves_the_others(kit: Kit) -> None:
    assert kit.garbled is not None
    decoded = kit.codec().decode(raws([kit.garbled]))
    assert decoded.readings.values[:, 0].tolist() == [1.5, 1.5]
    (reject,) = decoded.rejects
    assert (reject.reason, reject.value) == ("wrong_type", kit.garbled)
    assert "2" in reject.detail


@kits
def test_names_times_and_sizes_are_checked(kit: Kit) -> None:
    far = NOW_NS + 2 * 86_400 * 10**9
    rows = [Row("a", 10**15, (1, 2, 3)), Row("a", far, (1, 2, 3)), Row("n" * 300, NOW_NS, (1, 2, 3))]
    sent = [value for row in rows for value in kit.encode([row])]
    decoded = kit.codec().decode(raws(sent))
    assert len(decoded.readings) == 0
    reasons = dict.fromkeys(one.reason for one in decoded.rejects)
    assert list(reasons) == ["bad_timestamp", "too_large"]
    assert any("too far ahead of the broker's time" in one.detail for one in decoded.rejects)
    small = kit.codec(limits=Limits(max_bytes=10)).decode(raws(kit.encode(ROWS[:1])))
    assert {one.reason for one in small.rejects} == {"too_large"}


@pytest.mark.parametrize(
    ("series", "reason"),
    [("s" * 500_000, "too_large"), ("s" * 257, "too_large"), ("s" * 256, "wrong_type")],
)
def test_a_refusal_names_no_series_that_cannot_be_one(series: str, reason: str) -> None:
    body = {"id": series, "ts": NOW_NS, "temperature": "high"}
    raw = RawColumns.of(raws([dumps(body)]))
    (reject,) = codec_of(("temperature",), FLAT).decode_columns(raw).rejects
    assert reject.reason == reason
    assert reject.series == (series if len(series) == 256 else "")
    assert len(reject.detail) < 200


@kits
@pytest.mark.filterwarnings("error")
def test_a_value_that_its_scale_makes_infinite_is_missing(kit: Kit) -> None:
    rows = [Row("a", NOW_NS, (sign * 1e308, 2.0, 3.0)) for sign in (1, -1)]
    scaled = replace(kit.form.selection, scales={"temperature": Scale(10.0), "pressure": Scale(10.0)})
    codec = replace(kit, form=replace(kit.form, selection=scaled)).codec()
    found = codec.decode(raws([value for row in rows for value in kit.encode([row])]))
    assert found.rejects == ()
    assert joined(found.readings) == {("a", NOW_NS): [pytest.approx(math.nan, nan_ok=True), 20.0, 3.0]}
    assert not np.isinf(found.readings.values).any()


@kits
def test_channels_are_learnt(kit: Kit) -> None:
    raw = RawColumns.of(raws([b"nonsense", *kit.encode(ROWS)]))
    assert channels_in(raw, kit.form)[-2:] == ("pressure", "temperature")


@kits
def test_no_messages_give_no_readings(kit: Kit) -> None:
    decoded = kit.codec().decode([])
    assert decoded.readings.values.shape == (0, 3)
    assert (decoded.rejects, decoded.unknown_values) == ((), 0)


def test_channels_that_cannot_be_are_refused() -> None:
    with pytest.raises(CodecError, match="listed twice"):
        codec_of(("a", "a"), Form(kind="long_json"))
