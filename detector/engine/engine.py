"""The engine: readings in, verdicts and incidents out.

The daemon, the backtest, the calibration and the evaluation all drive this same object. It is a
deterministic function of its state and its input: no clock, no input or output, no thread. Time arrives as
a value (`tick`).

Promise: the same readings give the same verdicts and incidents, however they are cut into batches and in
whatever order they arrive within `lateness`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from connectors.records import Readings
from detector.artifact.spec import Artifact
from detector.engine.absence import forget, watch
from detector.engine.cleaning import clean_windows
from detector.engine.cold.cold_series import cold_series
from detector.engine.decided.acceptance import Learning
from detector.engine.decided.decisions import Decisions
from detector.engine.handover import move_series, restore_series, save_series
from detector.engine.parts import Parts, channels_at, take_counts
from detector.engine.rounds import Rounds
from detector.engine.snapshot import Origin, SeriesState
from detector.engine.values import (
    Changed,
    Counters,
    EngineOptions,
    Forgotten,
    Latest,
    StepResult,
)
from detector.incidents.decision import Decision
from detector.incidents.incident import Incident
from detector.incidents.rules import IncidentRules
from detector.incidents.stream.silence import Elsewhere
from detector.rows.clock_rules import News
from detector.scoring.verdicts import Verdicts

__all__ = ["Changed", "Counters", "Engine", "EngineOptions", "Latest", "StepResult", "knows"]


class Engine:
    """Scores readings of any number of series with one artifact. Not thread-safe.

    Args:
        artifact: the trained model.
        options: what the artifact leaves open.

    Raises:
        ValueError: a rule names a channel that the model does not know.
    """

    def __init__(self, artifact: Artifact, options: EngineOptions | None = None) -> None:
        self._parts = Parts.of(artifact, options or EngineOptions())
        _give_feedback(self._parts)
        self._decisions = Decisions()
        self.counters = Counters()
        self.forgotten: tuple[Forgotten, ...] = ()  # by the last step

    @property
    def artifact(self) -> Artifact:
        """The model in use."""
        return self._parts.artifact

    @property
    def options(self) -> EngineOptions:
        """The options in force."""
        return self._parts.options

    @property
    def origin(self) -> Origin:
        """The model, layout and rules under which this engine saves states."""
        return self._parts.origin

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that are firing."""
        return self._parts.incidents.open

    @property
    def latest(self) -> Latest:
        """The newest verdict of every known series."""
        return _latest_of(self._parts)

    @property
    def cumulative_channels(self) -> tuple[int, int]:
        """In how many channels of the known series small departures add up, and how many there are."""
        known = self._parts.series.known()
        return self._parts.row_scorer.evidences.num_counting(known), len(known) * len(
            self.artifact.spec.channels
        )

    def channels_at(self, slots: NDArray[np.int32]) -> NDArray[np.float64]:
        """Return each channel's actual and expected value, contribution and half its band, float64 [n, 4, C].

        They belong to the newest verdict of these series: values in physical units, NaN where unknown.
        """
        return channels_at(self._parts, slots)

    def slots_of(self, names: Sequence[str]) -> NDArray[np.int32]:
        """Return the numbers of known series, int32 [len(names)]."""
        return self._parts.series.of(names)

    def step(self, readings: Readings, now_ns: int | None = None) -> StepResult:
        """Take readings in order of arrival and return the verdicts that became final.

        1. judge   close rows, score their windows, update the incidents (`detector.engine.rounds`)
        2. watch   look for silent, stale and vanished series, if the time is given
        3. forget  forget the vanished series; their last rows are closed, and their incidents resolve

        Args:
            readings: the next readings, in order of arrival.
            now_ns: the service's time. Without it no series is stale, silent or forgotten.
        """
        parts = self._parts
        slots = parts.number(readings.names)
        self._decisions.take_in(parts, readings.names)
        rounds = Rounds(parts, parts.incidents.update)
        _judge_readings(parts, self._decisions, rounds, slots, readings)  # 1. judge
        absent = watch(parts, slots, readings, now_ns)  # 2. watch
        rounds.follow(absent.verdicts, [])
        _judge_last_rows(parts, self._decisions, rounds, absent.gone)
        result = self._result(rounds)
        self.forgotten = forget(parts, self._decisions, absent.gone, now_ns)  # 3. forget
        self._count(result.verdicts, len(readings))
        return result.with_absent(absent.events, self.forgotten)

    def tick(self, now_ns: int) -> StepResult:
        """Pass the service's time when nothing was read; see `step`."""
        return self.step(Readings.empty(len(self.artifact.spec.channels)), now_ns)

    def step_in_silence(self, readings: Readings) -> None:
        """Replay readings that were scored before: update the state, emit nothing, count nothing.

        Series whose state was saved by another model or other rules keep their incidents unchanged. The
        decisions of this model on those rows were never published.
        """
        parts = self._parts
        rounds = Rounds(parts, parts.incidents.replay)
        _judge_readings(parts, self._decisions, rounds, parts.number(readings.names), readings)
        self._result(rounds)
        take_counts(parts)
        parts.take_news()

    def decide(self, decisions: Sequence[tuple[int, Decision]], source: int = 0) -> None:
        """Take decisions of people; each takes effect in a later `step` (`detector.engine.decided`).

        Args:
            decisions: each with its number, above those of all before it.
            source: stands for the topic that they come from. Another one begins again with its numbers.
        """
        self._decisions.give(decisions, source)

    def use_rules(self, rules: IncidentRules) -> None:
        """Apply other rules from the next row on; open incidents stay open.

        Raises:
            ValueError: a rule names a channel that the model does not know. The old rules stay in force.
        """
        self._parts.use_rules(rules)

    def take_news(self) -> list[tuple[str, News]]:
        """Return what happened to the clocks of series since the last call; a bounded number of events."""
        return self._parts.take_news()

    def flush(self) -> StepResult:
        """Close every open row and finish every waiting one, because the input has ended."""
        rounds = Rounds(self._parts, self._parts.incidents.update)
        _judge_last_rows(self._parts, self._decisions, rounds, None)
        return self._emit(rounds)

    def finish_waiting(self) -> StepResult:
        """Finish every waiting row with the windows so far, because the next model cannot continue them."""
        rows = self._parts.window_scorer.flush()
        self._parts.saved.mark_urgent(rows.slot)
        rounds = Rounds(self._parts, self._parts.incidents.update)
        rounds.follow([self._parts.row_scorer.score(rows)], [])
        return self._emit(rounds)

    def drop(self, partitions: Collection[int]) -> None:
        """Forget the series of partitions that another process reads from now on."""
        gone = self._parts.saved.in_partitions(self._parts.series.known(), partitions)
        if len(gone):
            self._decisions.drop([self._parts.series.names[slot] for slot in gone.tolist()])
            self._parts.drop(gone)

    def note_replay(self, is_replaying: bool) -> None:
        """Take whether a partition is being replayed: meanwhile no series is forgotten."""
        self._parts.listening.is_replaying = is_replaying

    def changed(self) -> Changed:
        """Return the series that have changed since they were saved."""
        return self._parts.saved.changed(self._parts.series.known())

    def save_all_soon(self) -> None:
        """Make every series urgent to save, because what was saved is gone."""
        self._parts.saved.mark_urgent(self._parts.series.known())

    def save(self, slots: NDArray[np.int32]) -> list[SeriesState]:
        """Return the state of these series, by ascending slot; from now on they count as unchanged."""
        return save_series(self._parts, slots)

    def restore(self, states: Sequence[SeriesState], partition: int, now_ns: int | None) -> None:
        """Continue series of one partition from saved states; see `restore_series`.

        Raises:
            ValueError: the cells do not have the size that their layout requires.
        """
        restore_series(self._parts, states, partition, now_ns)
        self._decisions.meet(self._parts, [state.name for state in states])

    def take_over(self, other: Engine) -> None:
        """Continue every series with the artifact and options of the fresh engine `other`.

        The counters continue. Every series becomes urgent to save. `other` must not be used afterwards.
        """
        move_series(self._parts, other._parts)
        self._parts = other._parts
        self._decisions.meet(self._parts, self.latest.names)

    def _emit(self, rounds: Rounds) -> StepResult:
        """Return the result of rows for which no reading came."""
        result = self._result(rounds)
        self.forgotten = ()
        self._count(result.verdicts, 0)
        return result

    def _result(self, rounds: Rounds) -> StepResult:
        return replace(rounds.result(), decisions=self._decisions.take_applied())

    def _count(self, verdicts: Verdicts, num_readings: int) -> None:
        """Add what happened in this step to the totals."""
        counts = take_counts(self._parts)
        counts.readings, counts.forgotten = num_readings, len(self.forgotten)
        modes = self.artifact.spec.modes
        counts.count(verdicts, () if modes is None else modes.names)
        self.counters.add(counts)


def watches_silence(engine: Engine) -> bool:
    """Return whether the rules of an engine have a limit of silence."""
    return engine._parts.silence.is_on


def note_elsewhere(engine: Engine, elsewhere: Elsewhere) -> None:
    """Tell an engine what is known of the other processes of its group; it counts from the next step on."""
    engine._parts.silence.note_elsewhere(elsewhere)


def knows(engine: Engine, name: str) -> bool:
    """Return whether an engine has a state of the series with this name."""
    return name in engine._parts.series


def partitions_of(engine: Engine) -> frozenset[int] | None:
    """Return the input partitions of the series that an engine knows; None while that is not sure.

    It is not sure while a partition is replayed, and where a series has no partition.
    """
    parts = engine._parts
    found = frozenset(np.unique(parts.saved.partitions(parts.series.known())).tolist())
    return None if parts.listening.is_replaying or -1 in found else found


def names_of(engine: Engine) -> tuple[str, ...]:
    """Return the series that an engine knows."""
    parts = engine._parts
    return tuple(parts.series.names[slot] for slot in parts.series.known().tolist())


def num_learnt_rows(engine: Engine) -> int:
    """Return from how many rows the series that an engine knows have learnt, in all."""
    parts = engine._parts
    known = parts.series.known()
    return sum(int(one.learnt_rows(known).sum()) for one in parts.cold)


def _give_feedback(parts: Parts) -> None:
    """Let incidents act on later rows, and new series learn."""
    parts.cold = cold_series(parts)
    parts.feedback = (*parts.feedback, Learning(parts), *clean_windows(parts), *parts.cold)


def _latest_of(parts: Parts) -> Latest:
    """Return the newest verdict of every known series."""
    known = parts.series.known()
    ages, window = parts.window_scorer.ages(known), parts.artifact.spec.window
    unjudged = parts.judged.of(known, ages, window)
    latest = parts.latest.of(known, ages >= window, unjudged, parts.grid.late_slots())
    muted = parts.incidents.mutes.at(known, latest.timestamp_ns)
    return replace(latest, muted=muted, cold=parts.window_scorer.scales.learnt.are_cold(known))


def _judge_readings(
    parts: Parts, decisions: Decisions, rounds: Rounds, slots: NDArray[np.int32], readings: Readings
) -> None:
    """Note the readings, close the rows that they complete, and judge these."""
    slot = slots[readings.series]
    parts.saved.note_readings(slot, readings.partition, readings.offset)
    parts.listening.note(slots)
    for turned, rows in parts.grid.rounds(slot, readings.timestamp_ns, readings.values):
        if turned:
            rounds.follow([parts.restart(turned)], [])
        decisions.judge(parts, rounds, rows)


def _judge_last_rows(
    parts: Parts, decisions: Decisions, rounds: Rounds, slots: NDArray[np.int32] | None
) -> None:
    """Judge the open and the waiting rows of series that have ended; None: of all series."""
    if slots is not None and len(slots) == 0:
        return
    decisions.judge(parts, rounds, parts.grid.flush(slots))
    rounds.follow([parts.row_scorer.score(parts.window_scorer.flush(slots))], [])
