"""Cases with machines of many channels: evidence of one channel is not lost among the others."""

from __future__ import annotations

from functools import cache

import numpy as np

from tests.trust.cases import Check, case, most_allowed
from tests.trust.world import Replay, World, model_of, replayed

_START, _ROWS, _AFTER = 400, 1_500, 500


@cache
def _replays(seed: int) -> tuple[World, dict[str, tuple[int, ...]], dict[str, Replay]]:
    """Return the guilty channels and the replay of each series of a machine with 12 or 30 channels."""
    world = World(seed, ("wide-12", "wide-30")[seed % 2])
    num = len(world.channels)
    guilty: dict[str, tuple[int, ...]] = {
        "one": (seed % num,),
        "some": tuple((seed + at * num // 4) % num for at in range(4)),
        "healthy-0": (),
        "healthy-1": (),
    }
    live = {}
    for name, channels in guilty.items():
        values = world.normal(name, _START + _ROWS + _AFTER)
        for at, channel in enumerate(channels):
            values[_START : _START + _ROWS, channel] += (2.0 + seed % 3) * (-1) ** at
        live[name] = values
    return world, guilty, replayed(world, model_of(world), live)


def _held(seed: int, name: str) -> list[Check]:
    world, guilty, replays = _replays(seed)
    replay = replays[name]
    start, end = _START, _START + _ROWS
    during = replay.during(start, end)
    blamed = [one.channels[0].name for one in during if one.channels]
    names = {world.channels[channel] for channel in guilty[name]}
    share = replay.open_rows(start, end) / _ROWS
    seen = f"{len(world.channels)} channels, incidents {replay.life()}, blamed {blamed[:3]}, open {share:.2f}"
    settled = end + 2 * world.window + 104
    return [
        Check("one incident", len(during) == 1, seen),
        Check("open nine tenths of the time", share >= 0.9, seen),
        Check("a guilty channel first", bool(blamed) and blamed[0] in names, seen),
        Check("resolved soon after", all(replay.end(one) <= settled for one in during), seen),
    ]


@case("among many channels the evidence of one is lost, or it is taken for a change of the whole machine")
def one_channel_of_many(seed: int) -> list[Check]:
    """One of 12 or 30 channels is 2 to 4 spreads of its noise off for 1,500 rows: one incident."""
    return _held(seed, "one")


@case("channels that depart together are taken for a change of the machine, and the incident ends")
def some_channels_of_many(seed: int) -> list[Check]:
    """Four of 12 or 30 channels are off to both sides for 1,500 rows: one incident."""
    return _held(seed, "some")


@case("with many channels one of them always departs a little: healthy machines alarm")
def healthy_machines_of_many_channels(seed: int) -> list[Check]:
    """Healthy machines of 12 or 30 channels keep to the budget."""
    world, _, replays = _replays(seed)
    healthy = [replays[name] for name in ("healthy-0", "healthy-1")]
    num = sum(len(one.incidents) for one in healthy)
    weeks = float(np.sum([len(one.score) for one in healthy])) / world.rows_in(168.0)
    return [Check("within the budget", num <= most_allowed(weeks), f"{num} incidents in {weeks:.1f} weeks")]
