"""Cases of decisions and of lasting incidents: who decides what becomes normal, and when."""

from __future__ import annotations

from typing import Any

from detector.incidents.rules import IncidentRules
from tests.trust.cases import CASES, Case, Check, case
from tests.trust.laws import FLOW, POWER, Values
from tests.trust.world import Replay, World, model_of, replayed

__all__ = ["CASES", "Case", "Check"]
_START, _ACCEPTED, _END = 300, 700, 1_500
"""Rows at which a level rises, at which somebody accepts it, and at which it falls back."""


def _risen(world: World) -> Values:
    values = world.normal("decided", _END + 500)
    channel = (FLOW, POWER)[world.seed % 2]
    values[_START:_END, channel] += (6.0, 9.0)[world.seed // 2 % 2] * values[:, channel].std()
    return values


def _shown(replay: Replay) -> str:
    return f"risen {_START}-{_END}, incidents {replay.life()}"


@case("what was accepted alarms for ever, or the machine is deaf to its old level too")
def an_accepted_level(seed: int) -> list[Check]:
    """After an acceptance the new level is quiet, and the return to the old one is an incident."""
    from detector.incidents.decision import Decision

    world = World(seed)
    live = {"decided": _risen(world), "beside": world.normal("beside", _END + 500)}
    before = replayed(world, model_of(world), live)
    opened = before["decided"].during(_START, _ACCEPTED)
    if not opened:
        return [Check("found", False, _shown(before["decided"]))]
    at_ns = world.time_of(_ACCEPTED)
    accept = Decision("1", "accept", "decided", at_ns, opened[-1].id, who="an operator", why="a new pump")
    after = replayed(world, model_of(world), live, decisions=[accept])
    replay, settled = after["decided"], _ACCEPTED + 64
    returned = [one for one in replay.incidents if _END <= replay.opened(one) < _END + 32]
    return [
        Check(
            "the incident ends",
            all(replay.end(one) <= settled for one in replay.during(0, _ACCEPTED)),
            _shown(replay),
        ),
        Check("the new level is quiet", replay.open_rows(settled + 136, _END) == 0, _shown(replay)),
        Check("the old level is unusual", bool(returned), _shown(replay)),
        Check(
            "no other series changes",
            after["beside"].life() == before["beside"].life(),
            after["beside"].life(),
        ),
    ]


def _policy(seed: int, on_lasting: str) -> Replay:
    """Return the replay of a risen level under a policy that acts after 200 rows."""
    world = World(seed)
    given: dict[str, Any] = {"on_lasting": on_lasting}
    given["lasting_after_ns"] = 200 * world.interval_seconds * 10**9
    live = {"decided": _risen(world)}
    return replayed(world, model_of(world), live, IncidentRules(**given))["decided"]


@case("it ends by itself, or nobody learns that it lasts")
def a_lasting_incident_is_offered(seed: int) -> list[Check]:
    """By default an incident stays open until it is over, and one event `lasting` goes out."""
    replay = _policy(seed, "offer")
    lasting = [one for one in replay.events if one.kind == "lasting"]
    during = replay.during(_START, _END)
    return [
        Check("open until it is over", any(replay.end(one) >= _END - 1 for one in during), _shown(replay)),
        Check("one event", len(lasting) == 1, f"{len(lasting)} events; {_shown(replay)}"),
    ]


@case("it ends although nobody decided")
def a_lasting_incident_is_held(seed: int) -> list[Check]:
    """With `hold` an incident stays open until it is over."""
    replay = _policy(seed, "hold")
    during = replay.during(_START, _END)
    return [Check("open", any(replay.end(one) >= _END - 1 for one in during), _shown(replay))]


@case("what was learnt is silence: neither the end nor the return is an event")
def a_lasting_level_is_learnt(seed: int) -> list[Check]:
    """With `learn` a level is normal after a stated time, and the old level is then unusual."""
    replay = _policy(seed, "learn")
    first = replay.during(_START, _START + 100)
    returned = [one for one in replay.incidents if _END <= replay.opened(one) < _END + 32]
    return [
        Check(
            "it ends", bool(first) and all(replay.end(one) < _START + 400 for one in first), _shown(replay)
        ),
        Check("the old level is unusual", bool(returned), _shown(replay)),
    ]
