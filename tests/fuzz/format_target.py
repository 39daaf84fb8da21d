"""Every format of messages under fire, with the promises of `codec_target`."""

from __future__ import annotations

import random

from connectors.wide_json.limits import Limits
from tests.connectors.formats.kits import KITS, NOW_NS, TWINS, Row
from tests.fuzz.codec_target import BATCH, Counts, check_batch
from tests.fuzz.mutation import ByteMutator

ROWS = [Row(f"pump-{at % 2}", NOW_NS + at * 10**9, (at / 4, -1.5 * at, 7.0)) for at in range(6)]
_EXTRA = (b"", b"{}", b"[]", b"null", b"1", b'"x"', b"\xff\xff\xff\xff\x00\x00\x00\x00", TWINS)
_STRICT = Limits("reject", max_bytes=2_048, max_series_length=16)


class FormatTarget:
    """Draws batches of damaged messages with valid ones between them, a format at a time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.counts = Counts()
        self._good = [kit.encode(ROWS[:2]) for kit in KITS]
        self._mutators = [
            ByteMutator(rng, [*good, *kit.encode(ROWS[2:]), kit.other, *_EXTRA])
            for kit, good in zip(KITS, self._good, strict=True)
        ]
        self._codecs = [(kit.codec(), kit.codec(limits=_STRICT)) for kit in KITS]

    def run(self) -> int:
        """One batch; returns how many messages it had. Raises Finding."""
        which = self._rng.randrange(len(KITS))
        values: list[bytes | None] = []
        valid: dict[int, bytes] = {}
        for row in range(BATCH):
            if self._rng.random() < 0.1:
                valid[row] = self._rng.choice(self._good[which])
            values.append(valid.get(row) or (self._mutators[which]() if self._rng.random() < 0.99 else None))
        plain, strict = self._codecs[which]
        is_strict = self._rng.random() < 0.3
        check_batch(strict if is_strict else plain, values, {} if is_strict else valid, self.counts)
        return BATCH
