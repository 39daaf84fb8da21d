"""Cases of the clock: the hour, the day of the week, jobs and shift changes, zones, short histories.

Letters: n rows.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from detector.artifact.spec import Artifact
from detector.incidents.incident import Incident
from detector.incidents.shapes.sentence import sentence
from tests.trust.cases import Check, case, most_allowed
from tests.trust.seasonal import Plant, fitted_plant, incidents_of, model_of_plant

_DAY = 86_400


def _plant(seed: int) -> Plant:
    """Return a plant whose zone, sampling and history follow from the seed; weekends need three weeks."""
    zone = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Sydney")[seed % 4]
    sampling = (600, 3600, 1800, 60)[seed % 4]
    days = (28, 60, 21, 10)[seed % 4]
    return Plant(seed, zone=zone, sampling=sampling, days=days, weekend=days >= 21)


@cache
def _wrong_hour(seed: int) -> tuple[Plant, list[Incident], list[Incident], tuple[int, int]]:
    """Return the incidents of a healthy stretch, and of one in which an afternoon comes at night."""
    plant = _plant(seed)
    live = plant.live(12)
    rows = _DAY // plant.sampling
    start, hours = 7 * rows + rows // 8, rows // 4
    moved = live.copy()
    moved[start : start + hours] = live[start + rows // 2 : start + rows // 2 + hours]
    healthy, faulty = incidents_of(plant, model_of_plant(plant), {"a": live, "b": moved})
    return plant, healthy, faulty, (start, start + hours)


def _open_share(plant: Plant, incidents: list[Incident], first: int, last: int) -> float:
    """Return in which share of these live rows an incident was open."""
    is_open = np.zeros(last - first, np.bool_)
    for one in incidents:
        begin, end = plant.row_of(one.opened_ns), last if one.end_ns is None else plant.row_of(one.end_ns) + 1
        is_open[max(begin - first, 0) : max(end - first, 0)] = True
    return float(is_open.mean())


@case("each window of an afternoon is right, so that an afternoon at night is green")
def an_afternoon_at_night(seed: int) -> list[Check]:
    """The right shape comes at the wrong hour for 6 hours: an incident is open at least half of the time."""
    plant, _, faulty, span = _wrong_hour(seed)
    share = _open_share(plant, faulty, *span)
    return [Check("open at least half of the time", share >= 0.5, f"open {share:.2f} of the time")]


@case("the season is learnt so narrowly that healthy days alarm")
def healthy_days(seed: int) -> list[Check]:
    """A healthy plant with days and weekends keeps to the budget, over both changes of the clocks."""
    plant, healthy, _, _ = _wrong_hour(seed)
    artifact = model_of_plant(plant)
    found = artifact.spec.season is not None and bool(artifact.spec.season.profiles)
    weeks = 12 / 7
    return [
        Check("a season was found", found, str(artifact.spec.season)),
        Check(
            "within the budget", len(healthy) <= most_allowed(weeks), f"{len(healthy)} in {weeks:.1f} weeks"
        ),
    ]


@case("a job of ten minutes that comes every week is an alarm every week")
def a_weekly_job(seed: int) -> list[Check]:
    """After six weeks with a job, it is no incident in three further weeks."""
    plant = Plant(seed, zone="Europe/Berlin", sampling=300, days=42, job=True, noise=0.25)
    [found] = incidents_of(plant, model_of_plant(plant), {"a": plant.live(21)})
    at_job = [one for one in found if plant.is_job(one.opened_ns)]
    return [
        Check("no incident at the job", not at_job, f"{len(at_job)} of 3 jobs"),
        Check("within the budget", len(found) <= most_allowed(3.0), f"{len(found)} in 3 weeks"),
    ]


@case("a backup that did not run is a calm night, and nobody knows")
def a_job_that_does_not_come(seed: int) -> list[Check]:
    """A daily job of ten minutes does not come: an incident states it. An early or late one is none."""
    zone = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")[seed % 4]
    plant = Plant(seed, zone=zone, sampling=(60, 120, 180, 300)[seed % 4], days=28, jobs=True)
    live, artifact = plant.live(14), model_of_plant(plant)
    missed = plant.without_job(live, 9)
    healthy, faulty = incidents_of(plant, artifact, {"a": live, "b": missed})
    told = [[one for one in found if _is_absent(one)] for found in (healthy, faulty)]
    jobs = [] if artifact.spec.season is None else artifact.spec.season.jobs
    at = [(plant.row_of(one.opened_ns) * plant.sampling / 3600, _words(one)) for one in told[1]]
    seen = f"{len(told[0])} healthy, {at}; {len(healthy)} and {len(faulty)} in all; jobs {jobs[:1]}"
    return [
        Check("no job is missed where all come", not told[0], seen),
        Check("the absence is told once", len(told[1]) == 1 and "did not come" in _words(told[1][0]), seen),
        Check("within the budget", len(healthy) <= most_allowed(2.0), seen),
    ]


def _is_absent(incident: Incident) -> bool:
    return incident.explanation is not None and incident.explanation.shape == "absent job"


def _words(incident: Incident) -> str:
    return sentence(incident, incident.opened_ns)


@cache
def _shifts(seed: int) -> tuple[Plant, list[Incident], list[Incident], tuple[int, int]]:
    """Return the incidents of healthy shifts, and those with a belt that slips for 3 hours at noon."""
    plant = Plant(seed, zone="Europe/Berlin", sampling=300, days=28, weekend=False, noise=0.08, shifts=True)
    live = plant.live(14)
    start, rows = 9 * 288 + 130, 36
    slipping = live.copy()
    slipping[start : start + rows, 0] -= 3.0
    healthy, faulty = incidents_of(plant, model_of_plant(plant), {"a": live, "b": slipping})
    return plant, healthy, faulty, (start, start + rows)


@case("nearly all false alarms come at shift changes, and a higher threshold for all hours misses faults")
def shift_changes(seed: int) -> list[Check]:
    """Disorder at 06:00 and 22:00 keeps to the budget, and a slip of three hours at noon is found."""
    plant, healthy, faulty, span = _shifts(seed)
    at_change = [one for one in healthy if plant.is_change(one.start_ns)]
    during = _open_share(plant, faulty, *span)
    seen = f"{len(healthy)} in 2 weeks, {len(at_change)} of them at 28 changes"
    return [
        Check("within the budget", len(healthy) <= most_allowed(2.0), seen),
        Check("the slip is found", during > 0.3, f"open {during:.2f} of its time"),
    ]


@case("a few days are taken for a season, and the next ones alarm")
def short_histories(seed: int) -> list[Check]:
    """Three days have no season, as the card states; ten days have one. Both keep to the budget."""
    checks = []
    for days in (3, 10):
        sampling = (300, 3600, 900, 60)[seed % 4]
        plant = Plant(seed, zone="America/New_York", sampling=sampling, days=days, weekend=False)
        artifact = model_of_plant(plant)
        [found] = incidents_of(plant, artifact, {"a": plant.live(7)})
        checks.append(_states_its_season(artifact, days))
        checks.append(
            Check(f"{days} days: within the budget", len(found) <= most_allowed(1.0), f"{len(found)}")
        )
    return checks


@case("in rows of a second the season knows two days of a channel that wanders for an hour, and alarms")
def rows_of_seconds(seed: int) -> list[Check]:
    """A week of healthy rows of a second keeps to the budget, after ten days of history."""
    zone = ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")[seed % 4]
    plant = Plant(seed, zone=zone, sampling=1 if seed else 10, days=10, weekend=False)
    artifact = fitted_plant(plant, stride=16)
    [found] = incidents_of(plant, artifact, {"a": plant.live(7)})
    reasons = [one.reason for one in found]
    season = artifact.spec.season
    is_judged = season is not None and season.sums is not None and min(season.sums.threshold) > 0
    return [
        Check("both channels are compared with their profile", is_judged, f"{season and season.sums}"),
        Check("no incident of the season", "season" not in reasons, f"reasons {reasons}"),
        Check("within the budget", len(found) <= most_allowed(1.0), f"reasons {reasons}"),
    ]


def _states_its_season(artifact: Artifact, days: int) -> Check:
    season = artifact.spec.season
    has = season is not None and bool(season.profiles)
    words = "too short for a season" in artifact.card
    return Check(f"{days} days: season as the card states", has == (days > 3) and words != has, f"{season}")
