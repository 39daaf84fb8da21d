"""The data report: findings and figures of a history, as text, as JSON, and as what stops a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from connectors.names import NAMES, ColumnNames
from connectors.times import iso_time
from trainer.errors import TrainerError
from trainer.progress import ProgressReport, quiet
from trainer.report.channel_checks import channel_findings, series_findings
from trainer.report.clock import season_words
from trainer.report.findings import Finding, by_severity, check_accepted
from trainer.report.profile import Profile, profile_of
from trainer.report.row_checks import row_findings
from trainer.report.tables import Table, table_of

_MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class DataReport:
    """Hold the findings, most severe first, and the figures of a history."""

    findings: tuple[Finding, ...]
    profile: Profile

    def stopping(self, accepted: Sequence[str] = ()) -> tuple[Finding, ...]:
        """Return the findings that stop a training and are not accepted."""
        return tuple(one for one in self.findings if one.severity == "stops" and one.name not in accepted)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values, None where a figure is unknown."""
        profile = self.profile
        return {
            "rows": int(profile.tally.rows.sum()),
            "files": profile.table.num_files,
            "days": round(profile.days, 3),
            "findings": [
                {"name": one.name, "severity": one.severity, "what": one.what, "remedy": one.remedy}
                for one in self.findings
            ],
            "series": [_series(profile, at) for at in range(len(profile.series))],
            "channels": [_channel(profile, at) for at in range(len(profile.table.channels))],
            "left_out": sorted(set(profile.table.kinds) - set(profile.table.channels)),
        }

    def as_text(self) -> str:
        """Return the size, tables of series and channels, and a line for each finding."""
        found, profile = self.as_json(), self.profile
        size = (
            f"{found['rows']:,} rows, {len(found['series']):,} series, {len(found['channels'])} channels,"
            f" {found['files']} files"
        )
        parts = [
            f"{size}\nthe clock: {season_words(profile.days)}",
            _table(found["series"]),
            _table(found["channels"]),
            "\n".join(one.line() for one in self.findings) or "nothing found",
        ]
        return "\n\n".join(parts)


def report_of(
    data: str | Path | Sequence[str | Path] | pd.DataFrame,
    channels: tuple[str, ...] | None = None,
    report: ProgressReport = quiet,
    names: ColumnNames = NAMES,
) -> DataReport:
    """Read a history once and report what would make a bad model.

    Args:
        data: What `trainer.fit` takes.
        channels: Columns to use; None: all columns of numbers.
        report: Receives the progress.
        names: Columns of times and series, in files without `timestamp` or `series`.

    Raises:
        ParquetError, TrainerError: The data cannot be read at all; the message has the remedy.
    """
    return _report_of_table(table_of(data, channels, names), report)


def _report_of_table(table: Table, report: ProgressReport) -> DataReport:
    profile = profile_of(table, report)
    findings = [*row_findings(profile), *channel_findings(profile), *series_findings(profile)]
    return DataReport(by_severity(findings), profile)


def checked(
    data: str | Path | Sequence[str | Path] | pd.DataFrame,
    channels: tuple[str, ...] | None,
    accepted: Sequence[str],
    report: ProgressReport = quiet,
    names: ColumnNames = NAMES,
) -> DataReport:
    """Return the report of a history that may be trained on.

    Args:
        data, channels, report, names: As in `report_of`.
        accepted: Names of findings that do not stop the training.

    Raises:
        TrainerError: A finding stops the training; the message has its name, the remedy and how to accept it.
        ParquetError: The files cannot be read.
    """
    check_accepted(accepted)
    return checked_table(table_of(data, channels, names), accepted, report)


def checked_table(table: Table, accepted: Sequence[str], report: ProgressReport = quiet) -> DataReport:
    """Return the report of a table that may be trained on; arguments and errors as in `checked`."""
    found = _report_of_table(table, report)
    stopping = found.stopping(accepted)
    if stopping:
        lines = "; ".join(f"{one.name}: {one.what}; {one.remedy}" for one in stopping)
        flags = " ".join(f"--accept {one.name}" for one in stopping)
        raise TrainerError(
            f"the data would make a bad model: {lines}; or accept it with {flags} ([data] accept)"
        )
    return found


def _series(profile: Profile, at: int) -> dict[str, Any]:
    tally, number = profile.tally, profile.order[at]
    interval = profile.interval_ns[at]
    return {
        "series": profile.series[at],
        "rows": int(tally.rows[number]),
        "from": iso_time(int(tally.first[number]))[:19] + "Z",
        "to": iso_time(int(tally.last[number]))[:19] + "Z",
        "interval_s": _known(interval / 1e9),
        "phase_s": _known(profile.phase_ns[at] / 1e9),
        "longest_gap_s": float(tally.longest_step[number] / 1e9) if not math.isnan(interval) else None,
        "missing_rows": _known(round(float(profile.missing_share()[at]), 4)),
    }


def _channel(profile: Profile, at: int) -> dict[str, Any]:
    tally, order, name = profile.tally, profile.order, profile.table.channels[at]
    quantiles = profile.quantiles[:, at, :]
    middle = profile.rows.values[:, at]
    middle = middle[~np.isnan(middle)]
    lowest, highest = tally.lowest.values[order, at, 0], -tally.highest.values[order, at, 0]
    return {
        "channel": name,
        "type": profile.table.types.get(name, ""),
        "values": int(tally.known[order, at].sum()),
        "missing": int(tally.rows[order].sum() - tally.known[order, at].sum()),
        "infinite": int(tally.infinite[at]),
        "min": _known(np.fmin.reduce(lowest)),
        "median": _known(np.median(middle)) if len(middle) else None,
        "max": _known(np.fmax.reduce(highest)),
        "narrowest": _known(np.fmin.reduce(quantiles[:, -1] - quantiles[:, 0])),
        "widest": _known(np.fmax.reduce(quantiles[:, -1] - quantiles[:, 0])),
    }


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _table(rows: Sequence[dict[str, Any]]) -> str:
    """Return rows as a plain table, the first ones if there are many."""
    heads = list(rows[0])
    cells = [heads, *([_cell(row[head]) for head in heads] for row in rows[:_MOST_LINES])]
    widths = [max(len(line[at]) for line in cells) for at in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]
    if len(rows) > _MOST_LINES:
        lines.append(f"and {len(rows) - _MOST_LINES:,} more; --json has all of them")
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
