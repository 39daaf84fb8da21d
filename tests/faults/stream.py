"""A known stream: hundreds of series with everything that real ones do, the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from connectors.records import Message
from detector.incidents.decision import Decision
from tests.faults.plant import CHANNELS, START, STEP, machine

BAD = (
    b"{oops",
    b'{"series": "pump-1", "values": {"flow": 1}}',
    b'{"series": "pump-1", "timestamp": 1700000000000, "values": {"flow": "high"}}',
    b'{"series": "pump-1", "timestamp": 17, "values": {"flow": 1}}',
    b"",
)
_BURST, _SLOW_EVERY, _SLOW_SHARE = 4.0, 50, 0.1


@dataclass(frozen=True, slots=True)
class Stream:
    """`messages` in the order in which they are to be written, each with its partition."""

    messages: list[Message]
    num_series: int
    num_partitions: int

    def time_ns(self, share: float) -> int:
        """The time at which about this share of the readings has been sent."""
        rows = round(share * len(self.messages) / self.num_series)
        return (START + STEP * rows) * 10**9


def make_stream(
    seed: int, topic: str, num_readings: int, num_series: int = 200, num_partitions: int = 4
) -> Stream:
    """Readings of every machine at each row (of a tenth of the machines: at one row of 50).

    They have bursts, slow starts, wrong hours, gaps, late, repeated and swapped readings, missing values, and
    messages that are none.
    """
    rng = np.random.default_rng(seed)
    is_slow = rng.random(num_series) < _SLOW_SHARE
    healthy = [machine(rng, 2 * num_readings // num_series + 100, START, True) for _ in range(num_series)]
    loud_until = np.zeros(num_series)
    away_until = np.zeros(num_series)
    encode = msgspec.json.Encoder().encode
    messages: list[Message] = []
    row = 0
    while len(messages) < num_readings:
        for one in rng.permutation(num_series).tolist():
            if row < away_until[one] or (is_slow[one] and (row + one) % _SLOW_EVERY):
                continue
            draw = rng.random(6)
            if draw[0] < 0.002:
                loud_until[one] = row + 3 + 20 * draw[5]
            if draw[1] < 0.001:
                away_until[one] = row + 2 + 20 * draw[5]
            burst = _BURST * rng.standard_normal(2) if row < loud_until[one] else np.zeros(2)
            values = (healthy[one][row] + [0.0, *burst]).tolist()
            time_ms = (START + STEP * row) * 1_000
            if draw[2] < 0.01:
                time_ms -= 60 * STEP * 1_000  # late
            elif draw[2] < 0.05:
                time_ms -= STEP * 1_000  # out of order, or a repetition
            body = {
                "series": f"pump-{one}",
                "timestamp": time_ms,
                "values": {"flow": values[1]} if draw[3] < 0.02 else dict(zip(CHANNELS, values, strict=True)),
            }
            partition = one % num_partitions
            messages.append(Message(topic, f"pump-{one}".encode(), encode(body), (), partition))
            if draw[4] < 0.003:
                bad = BAD[int(draw[5] * len(BAD))]
                messages.append(Message(topic, b"pump-1", bad, (), partition))
        row += 1
    return Stream(messages[:num_readings], num_series, num_partitions)


def decisions_about(
    opened: Sequence[dict], stream: Stream, seed: int, delay: int = 0
) -> tuple[list[Decision], list[Decision]]:
    """What people decide about incidents that open undisturbed, and mutes in order of time.

    An incident is accepted or rejected one row after it is known, `delay` rows after it opened. No series is
    muted of whose incidents one was decided on.
    """
    rng = np.random.default_rng([seed, 2])
    found: dict[str, Decision] = {}
    for at in rng.permutation(len(opened)).tolist():
        body = opened[at]
        if body["reason"] == "score" and body["series"] not in found and len(found) < 8:
            action = ("accept", "reject")[len(found) % 2]
            time_ns = int(np.datetime64(body["at"].removesuffix("Z"), "ns").astype(np.int64))
            time_ns += (delay + 1) * STEP * 10**9
            found[body["series"]] = Decision(f"d{at}", action, body["series"], time_ns, body["id"])
    others = [f"pump-{one}" for one in range(stream.num_series) if f"pump-{one}" not in found]
    mutes = [
        Decision(
            f"m{number}",
            "mute",
            str(series),
            stream.time_ns(0.2 + 0.08 * number),
            until_ns=stream.time_ns(0.5 + 0.08 * number),
        )
        for number, series in enumerate(rng.choice(others, 6, replace=False))
    ]
    return list(found.values()), mutes
