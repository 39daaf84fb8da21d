"""The growing list of corruptions: each changes a clean case in place.

A new one is a function of a case, with a name that says what is wrong with the data. It is listed by
`@corruption`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from tests.silence.plant import FAULT_AT, HISTORY_ROWS, Case

CORRUPTIONS: dict[str, Callable[[Case], None]] = {}


def corruption(apply: Callable[[Case], None]) -> Callable[[Case], None]:
    """List a corruption under the name of its function."""
    CORRUPTIONS[apply.__name__] = apply
    return apply


def _shifted(frame: pd.DataFrame, rows: np.ndarray, by: pd.Timedelta) -> pd.DataFrame:
    """Return the frame with the times of some rows shifted."""
    times = frame.index.to_series().reset_index(drop=True)
    times[rows] += by
    return frame.set_axis(pd.DatetimeIndex(times, name="timestamp"))


def _place(case: Case) -> int:
    return int(case.rng.integers(HISTORY_ROWS))


@corruption
def nothing(case: Case) -> None:
    """Leave the case clean: the fault must be found."""


@corruption
def one_sentinel_in_the_history(case: Case) -> None:
    name, channel = case.fault
    case.history[name].loc[case.history[name].index[_place(case)], channel] = case.rng.choice([-9999.0, 1e9])


@corruption
def some_sentinels_in_the_newest_fifth(case: Case) -> None:
    name, channel = case.fault
    rows = case.rng.integers(int(0.8 * HISTORY_ROWS), HISTORY_ROWS, 5)
    case.history[name].loc[case.history[name].index[rows], channel] = -9999.0


@corruption
def the_history_ends_in_a_fault(case: Case) -> None:
    name, channel = case.fault
    frame = case.history[name]
    frame.loc[frame.index[-HISTORY_ROWS // 6 :], channel] += 20 * case.spread[channel]


@corruption
def an_infinite_cell_in_the_history(case: Case) -> None:
    name, channel = case.fault
    case.history[name].loc[case.history[name].index[_place(case)], channel] = np.inf


@corruption
def holes_in_the_history(case: Case) -> None:
    for frame in case.history.values():
        frame.mask(case.rng.random(frame.shape) < 0.1, inplace=True)


@corruption
def a_unit_changes_in_the_history(case: Case) -> None:
    name, channel = case.fault
    frame = case.history[name]
    frame.loc[frame.index[HISTORY_ROWS // 2 :], channel] *= 1000.0


@corruption
def constant_channels_beside_it(case: Case) -> None:
    for at in range(4):
        for frames in (case.history, case.stream):
            for frame in frames.values():
                frame[f"constant-{at}"] = 7.0 * at


@corruption
def a_channel_of_text(case: Case) -> None:
    _, channel = case.fault
    for frame in case.history.values():
        frame[channel] = frame[channel].map("{:.6f}".format)


@corruption
def a_machine_of_a_far_scale(case: Case) -> None:
    name, _ = case.fault
    for frames in (case.history, case.stream):
        frames["far"] = frames[name] * 1000.0


@corruption
def a_clock_ahead_in_the_history(case: Case) -> None:
    name, _ = case.fault
    case.history[name] = _shifted(case.history[name], np.array([_place(case)]), pd.Timedelta(days=400))


@corruption
def one_series_of_another_rate(case: Case) -> None:
    name, _ = case.fault
    for frames in (case.history, case.stream):
        slow = frames[name].copy()
        slow.index = slow.index[0] + (slow.index - slow.index[0]) * 60
        frames["fast"], frames[name] = frames[name], slow


@corruption
def files_of_the_same_name(case: Case) -> None:
    name, _ = case.fault
    one, other = case.history[name], case.history[name] * 1.01
    case.as_files = {"machine=A/part-0.parquet": one, "machine=B/part-0.parquet": other}


@corruption
def the_first_file_lacks_the_channel(case: Case) -> None:
    name, channel = case.fault
    frame = case.history[name].assign(more=1.0)
    half = len(frame) // 2
    case.as_files = {"a.parquet": frame.iloc[:half].drop(columns=channel), "b.parquet": frame.iloc[half:]}


@corruption
def series_named_by_another_column(case: Case) -> None:
    name, _ = case.fault
    both = [
        frame.assign(machine_id=machine)
        for machine, frame in (("A", case.history[name]), ("B", case.history[name] * 3.0))
    ]
    case.as_files = {"all.parquet": pd.concat(both)}


@corruption
def jitter_at_the_lines_of_the_grid(case: Case) -> None:
    for frames in (case.history, case.stream):
        for name, frame in frames.items():
            jitter = case.rng.normal(0, 0.01 * case.interval_ns, len(frame)).astype(np.int64)
            frames[name] = frame.set_axis(frame.index + pd.to_timedelta(jitter, unit="ns"))


@corruption
def a_clock_ahead_in_the_stream(case: Case) -> None:
    name, _ = case.fault
    at = np.array([int(case.rng.integers(100, FAULT_AT - 20))])
    ahead = pd.Timedelta(case.interval_ns * 5000, unit="ns")
    case.stream[name] = _shifted(case.stream[name], at, ahead)


@corruption
def the_clock_goes_back(case: Case) -> None:
    name, _ = case.fault
    rows = np.arange(FAULT_AT - 50, len(case.stream[name]))
    back = pd.Timedelta(-case.interval_ns * 300, unit="ns")
    case.stream[name] = _shifted(case.stream[name], rows, back)


@corruption
def another_rate_in_the_stream(case: Case) -> None:
    for name, frame in case.stream.items():
        times = frame.index[0] + (frame.index - frame.index[0]) * 60
        case.stream[name] = frame.set_axis(times)


@corruption
def a_channel_dies_in_the_stream(case: Case) -> None:
    name, channel = case.fault
    frame = case.stream[name]
    dead = str(case.rng.choice([*case.others, channel]))
    frame.loc[frame.index[80:], dead] = np.nan


@corruption
def sentinels_in_the_stream(case: Case) -> None:
    name, channel = case.fault
    frame = case.stream[name]
    frame.loc[frame.index[120:125], channel] = -9999.0


@corruption
def infinities_in_the_stream(case: Case) -> None:
    name, channel = case.fault
    frame = case.stream[name]
    frame.loc[frame.index[case.rng.integers(60, FAULT_AT - 40, 3)], channel] = np.inf


@corruption
def a_unit_changes_in_the_stream(case: Case) -> None:
    name, channel = case.fault
    frame = case.stream[name]
    frame.loc[frame.index[80:], channel] /= 1000.0
    case.fault_factor = 1e-3


@corruption
def half_of_the_readings_come_late(case: Case) -> None:
    name, _ = case.fault
    frame = case.stream[name]
    half = len(frame) // 2
    order = np.stack([np.arange(half, 2 * half), np.arange(half)], axis=1).ravel()
    case.stream[name] = frame.iloc[order]
