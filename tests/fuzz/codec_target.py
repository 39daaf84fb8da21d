"""The codec under fire: batches of damaged messages with valid ones between them.

Promises: nothing raises; every message gives readings, a reject or unknown values. A reject has a reason,
words, and the message's own bytes, and can be written as a dead letter. A reading has a possible time, a
usable name and no infinite value; valid messages come out bit-equal whatever surrounds them; how the input
is cut into batches changes nothing.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from connectors.formats.contract import FormCodec
from connectors.records import REASONS, Raw, RawColumns
from connectors.wide_json.decoder import Decoded, FieldNames, JsonWideCodec, Limits
from detector.delivery.messages import MessageEncoder, Topics
from tests.fuzz.finding import Finding, require
from tests.fuzz.mutation import ByteMutator, JsonMutator

CHANNELS = ("temperature", "pressure", "a b", "é")
NOW_MS = 1_767_225_600_000
BATCH = 64
MOST_SECONDS = 5.0
"""For one batch; a usual one takes a millisecond."""
_LATEST_NS = (NOW_MS + 86_400_000) * 1_000_000
_EARLIEST_NS = Limits().min_timestamp_ns
_DEAD_LETTERS = MessageEncoder(Topics.of("fuzz"), "pump", "0" * 12, CHANNELS)
AnyCodec = JsonWideCodec | FormCodec
_OTHER_NAMES = FieldNames("s", "t", "v")
CODECS = (
    JsonWideCodec(CHANNELS),
    JsonWideCodec(CHANNELS, limits=Limits(unknown_channels="reject", max_bytes=2_048, max_series_length=16)),
    JsonWideCodec(CHANNELS, _OTHER_NAMES),
)


def _body(fields: FieldNames, number: int, stamp: object, values: dict[str, object]) -> dict[str, object]:
    return {fields.series: f"pump-{number % 5}", fields.timestamp: stamp, fields.values: values}


def bodies(fields: FieldNames) -> list[dict[str, object]]:
    """Messages that every codec of these field names takes."""
    full: dict[str, object] = {"temperature": 21.3, "pressure": -4, "a b": 1e-9, "é": 0}
    stamps: list[object] = [NOW_MS, NOW_MS + 0.25, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.123456+02:00"]
    found = [_body(fields, number, stamp, full) for number, stamp in enumerate(stamps)]
    found.append(_body(fields, 1, NOW_MS, {"pressure": None, "temperature": 1}))
    return found


@dataclass
class Counts:
    """What became of the messages."""

    readings: int = 0
    rejects: int = 0
    valid_between: int = 0


class CodecTarget:
    """Draws batches and checks them; `counts` tells what became of the messages."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._json = JsonMutator(rng)
        self.counts = Counts()
        self._bodies = [bodies(codec.fields) for codec in CODECS]
        self._seeds = [[dumps(body) for body in found] for found in self._bodies]
        extra = [b"", b"{}", b"[]", b"null", b"1", b'"x"', dumps({"a": {"b": [1, {"c": None}]}})]
        self._mutators = [ByteMutator(rng, [*seeds, *seeds, *extra]) for seeds in self._seeds]

    def run(self) -> int:
        """One batch; returns how many messages it had. Raises Finding."""
        which = self._rng.choice((0, 0, 0, 1, 2))
        values: list[bytes | None] = []
        valid: dict[int, bytes] = {}
        for row in range(BATCH):
            draw = self._rng.random()
            if draw < 0.1:
                valid[row] = self._rng.choice(self._seeds[which])
                values.append(valid[row])
            elif draw < 0.35:
                values.append(dumps(self._json(self._rng.choice(self._bodies[which]))))
            else:
                values.append(self._mutators[which]() if draw < 0.995 else None)
        check_batch(CODECS[which], values, valid, self.counts)
        return BATCH


def check_batch(
    codec: AnyCodec, values: Sequence[bytes | None], valid: dict[int, bytes], counts: Counts | None = None
) -> Decoded:
    """Decode and hold the codec to its promises. Raises Finding with the one message to blame if one is.

    A message of wide JSON gives one reading or one reject. Of other formats it may have several readings, a
    reject beside them, or only values of channels that nobody knows.
    """
    started = time.perf_counter()
    raw = _raw(values)
    try:
        decoded = codec.decode_columns(raw)
    except Exception as error:
        raise Finding(f"decode_columns raised {error!r}", _to_blame(codec, values)) from error
    seconds = time.perf_counter() - started
    joined = b"\n".join(value or b"" for value in values)
    require(seconds <= MOST_SECONDS, f"a batch took {seconds:.1f} s", joined)
    if isinstance(codec, JsonWideCodec):
        require(len(decoded.readings) + len(decoded.rejects) == len(values), "a message was lost", joined)
    _check_rejects(decoded, values)
    _check_readings(codec, decoded, values)
    _check_valid(codec, decoded, valid)
    _check_cut(codec, decoded, values)
    if counts is not None:
        counts.readings += len(decoded.readings)
        counts.rejects += len(decoded.rejects)
        counts.valid_between += len(valid)
    return decoded


def _check_rejects(decoded: Decoded, values: Sequence[bytes | None]) -> None:
    offsets = [reject.offset for reject in decoded.rejects]
    require(offsets == sorted(set(offsets)), "rejects are doubled or out of order", b"")
    for reject in decoded.rejects:
        data = values[reject.offset] or b""
        require(reject.reason in REASONS, f"unknown reason {reject.reason!r}", data)
        require(0 < len(reject.detail) <= 300, f"detail of {len(reject.detail)} characters", data)
        require(reject.value == data, "a reject has other bytes than its message", data)
    try:
        letters = list(_DEAD_LETTERS.dead_letters(decoded.rejects))
    except Exception as error:
        raise Finding(f"a reject cannot be written as a dead letter: {error!r}", b"") from error
    require(len(letters) == len(decoded.rejects), "a dead letter was lost", b"")


def _check_readings(codec: AnyCodec, decoded: Decoded, values: Sequence[bytes | None]) -> None:
    readings = decoded.readings
    offsets = readings.offset.tolist()
    in_order = set(offsets) if isinstance(codec, JsonWideCodec) else offsets
    require(offsets == sorted(in_order), "readings are doubled or out of order", b"")
    for row, offset in enumerate(offsets):
        data = values[offset] or b""
        name = readings.names[readings.series[row]]
        require(0 < len(name) <= codec.limits.max_series_length, "the length of a series' name", data)
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise Finding(f"a series' name cannot be written: {error}", data) from error
        stamp = int(readings.timestamp_ns[row])
        require(_EARLIEST_NS <= stamp <= _LATEST_NS, f"a time of {stamp} ns was let through", data)
        require(not np.isinf(readings.values[row]).any(), "an infinite value was let through", data)


def _check_valid(codec: AnyCodec, decoded: Decoded, valid: dict[int, bytes]) -> None:
    """What is valid is decoded as if it were alone."""
    for offset, value in valid.items():
        mine: NDArray[np.bool_] = decoded.readings.offset == offset
        require(bool(mine.any()), "a valid message was lost among damaged ones", value)
        found, alone = decoded.readings.take(mine), codec.decode_columns(_raw([value])).readings
        same = (
            [found.names[code] for code in found.series] == [alone.names[code] for code in alone.series]
            and np.array_equal(found.timestamp_ns, alone.timestamp_ns)
            and np.array_equal(found.values, alone.values, equal_nan=True)
        )
        require(same, "a valid message changed among damaged ones", value)


def _check_cut(codec: AnyCodec, decoded: Decoded, values: Sequence[bytes | None]) -> None:
    """Two halves say what the whole says."""
    half = len(values) // 2
    parts = [codec.decode_columns(_raw(part)) for part in (values[:half], values[half:])]
    rejects = [(one.reason, one.detail, one.value) for part in parts for one in part.rejects]
    joined = b"\n".join(value or b"" for value in values)
    whole = [(one.reason, one.detail, one.value) for one in decoded.rejects]
    require(rejects == whole, "a cut changes the rejects", joined)
    stamps = np.concatenate([part.readings.timestamp_ns for part in parts])
    cells = np.concatenate([part.readings.values for part in parts])
    require(np.array_equal(stamps, decoded.readings.timestamp_ns), "a cut changes times", joined)
    require(np.array_equal(cells, decoded.readings.values, equal_nan=True), "a cut changes values", joined)
    require(
        sum(part.unknown_values for part in parts) == decoded.unknown_values, "a cut changes counts", joined
    )


def _to_blame(codec: AnyCodec, values: Sequence[bytes | None]) -> bytes:
    """The first message that raises by itself, else all of them."""
    for value in values:
        try:
            codec.decode([Raw("t", 0, 0, NOW_MS, None, value)])
        except Exception:
            return value or b""
    return b"\n".join(value or b"" for value in values)


def _raw(values: Sequence[bytes | None]) -> RawColumns:
    return RawColumns.of([Raw("readings", 0, at, NOW_MS, b"k", value) for at, value in enumerate(values)])


def dumps(value: object) -> bytes:
    return json.dumps(value).encode()
