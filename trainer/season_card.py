"""The section of the model card about the clock."""

from __future__ import annotations

from detector.artifact.season import LEAST_DAYS, LEAST_WEEKS, MOST_FACTOR, UNSEEN, Profile, Season
from detector.artifact.spec import Spec

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MOST_TIMES = 12


def clock_section(spec: Spec) -> str:
    """Return what the training found about the clock, in Markdown."""
    season = spec.season
    lines = ["## The clock", ""]
    if season is None or not season.profiles:
        lines.append(_WITHOUT[spec.training.get("season", "none")])
    else:
        lines += [
            f"Times are those of {season.calendar.zone}. The profile explains so much of left-out days:",
            "",
        ]
        lines += ["| channel | repeats every | explained |", "|---|---|---|"]
        lines += [_line(*one) for one in zip(spec.channel_names, season.profiles, strict=True)]
        out = [
            name
            for name, profile, limit in zip(
                spec.channel_names, season.profiles, season.sums.threshold if season.sums else (), strict=True
            )
            if profile.level and not limit
        ]
        if out:
            lines += ["", f"Wander too much from their profile to be compared with it: {', '.join(out)}."]
        if spec.training.get("season") == "days":
            lines += ["", _WITHOUT_WEEKS]
        lines += _unseen(season)
    if season is not None and season.usual_error.slots:
        lines += ["", _usual(season)]
    if season is not None and season.jobs:
        lines += ["", _jobs(spec, season)]
    return "\n".join([*lines, "", ""])


_WITHOUT_WEEKS = (
    f"The history is too short for weekdays of their own: each must occur {LEAST_WEEKS} times. "
    "All days have one curve."
)
_WITHOUT = {
    "short": f"The history is too short for a season: it needs {LEAST_DAYS} whole days, and for weekdays"
    f" {LEAST_WEEKS} weeks.",
    "none": "No season: what other days show explains no day.",
    "no day": f"No season: what other days show explains no day. {_WITHOUT_WEEKS}",
}


def _unseen(season: Season) -> list[str]:
    """Return lines on weekdays that the history lacks."""
    curves = [one.curve_of for one in season.profiles if one.level]
    days = [day for at, day in enumerate(_DAYS) if all(curve[at] == UNSEEN for curve in curves)]
    if not days:
        return []
    return ["", f"The history has no {', '.join(days)}: nothing is compared with the profile on these days."]


def _line(name: str, profile: Profile) -> str:
    if not profile.level:
        return f"| {name} | no season | |"
    return f"| {name} | {profile.period} | {100 * profile.explains:.0f} % |"


def _usual(season: Season) -> str:
    """Return at which times errors are usually high."""
    length, times = season.slot_seconds, dict[str, list[str]]()
    for slot, factor in zip(season.usual_error.slots, season.usual_error.factors, strict=True):
        day, place = divmod(slot, season.slots)
        at = f"{place * length // 3600:02d}:{place * length % 3600 // 60:02d}"
        times.setdefault(f"{at} (x{factor:.2g})", []).append(_DAYS[day])
    shown = [f"{', '.join(days) if len(days) < 7 else 'daily'} {at}" for at, days in times.items()]
    more = f" and {len(shown) - _MOST_TIMES} more" if len(shown) > _MOST_TIMES else ""
    return (
        f"The threshold is higher where errors recur: {'; '.join(shown[:_MOST_TIMES])}{more}. "
        f"No factor is above {MOST_FACTOR:g}."
    )


def _jobs(spec: Spec, season: Season) -> str:
    """Return which short events must come, by time of day."""
    times = dict[str, list[str]]()
    for one in season.jobs:
        at = one.slot * season.slot_seconds
        name = spec.channel_names[one.channel]
        event = f"{name} of {one.series} about {at // 3600:02d}:{at % 3600 // 60:02d}"
        times.setdefault(event, []).append(_DAYS[one.weekday])
    shown = [f"{event} ({', '.join(days) if len(days) < 7 else 'daily'})" for event, days in times.items()]
    more = f" and {len(shown) - _MOST_TIMES} more" if len(shown) > _MOST_TIMES else ""
    return f"Short events that must come: {'; '.join(shown[:_MOST_TIMES])}{more}."
