"""The files of a store, and the description of what is in them.

    store.json                         what the store holds, and the files that it was made of; a backtest's
    archive.json                       what the store holds, and how far topics were read; a running group's
    verdicts/day=2026-01-31/*.parquet  one row for each final verdict, sorted by series and time
    hours/day=2026-01-31/*.parquet     the same in brief, by series and hour
    days/day=2026-01-31/*.parquet      the same in brief, by series and day
    incidents/day=2026-01-31/*.parquet each incident, by the day of its start
    decisions/day=2026-01-31/*.parquet what people decided, by the day from which it applies
    homes/day=1970-01-01/*.parquet     which of several models judges each series; a running group's

The columns are in docs/explorer.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from detector.errors import DetectorError

FORMAT = 3
MANIFEST = "store.json"
ARCHIVE = "archive.json"
TABLES = ("verdicts", "hours", "days", "incidents", "decisions")
ARCHIVED = (*TABLES, "homes")
HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS
SEVERITIES = ("warning", "critical")
STATES = (
    *("ok", "idle", "warming", "transition", "gap", "late", "stale"),
    *("missing", "out_of_range", "flatline", "anomalous"),
)
"""The states of rows, from the most harmless to the worst."""


class ExploreError(DetectorError):
    """The explorer cannot open or show something; the message names it and what to do."""


@dataclass(frozen=True, slots=True)
class Description:
    """Hold what a store is about.

    model, version  of the artifact that judged the rows
    family, window  of its models; the window in rows
    alarm_budget    to which its threshold was calibrated
    interval_ns     length of a row
    sharpness       score = error ** sharpness
    channels        names, in the order of the model
    bands           half the width of the expected band of each channel, in its unit
    own_bands       the same for series that have their own scales
    command         how the rows were made
    card            the model card, Markdown
    first_ns        the first row
    last_ns         the end of the last row
    rows, series    how many there are
    models          of each of several models its own description, without rows; empty: there is one model
    """

    model: str
    version: str
    family: str
    window: int
    alarm_budget: str
    interval_ns: int
    sharpness: float
    channels: tuple[str, ...]
    bands: tuple[float, ...]
    own_bands: dict[str, list[float]]
    command: str
    card: str
    first_ns: int = 0
    last_ns: int = 0
    rows: int = 0
    series: int = 0
    models: tuple[Description, ...] = ()

    def of_model(self, model: str | None) -> Description:
        """Return the description of one of several models, with the common range; else this one."""
        found = next((one for one in self.models if one.model == model), None)
        if found is None:
            return self
        return replace(
            found, first_ns=self.first_ns, last_ns=self.last_ns, rows=self.rows, series=self.series
        )

    def bands_of(self, series: str) -> tuple[float, ...]:
        """Return half the width of the expected band of each channel in a series."""
        return tuple(self.own_bands.get(series, self.bands))


def description_of(record: dict[str, Any]) -> Description:
    """Return the description in the record of a backtest, still without its rows.

    Raises:
        ExploreError: a key is missing.
    """
    names = ("model", "version", "family", "window", "alarm_budget", "interval_ns", "sharpness")
    try:
        channels, bands = zip(*((one["name"], one["band"]) for one in record["channels"]), strict=True)
        plain = {name: record[name] for name in (*names, "own_bands", "command", "card")}
    except KeyError as error:
        raise ExploreError(f"the record of the backtest lacks {error}: run the backtest again") from error
    return Description(channels=channels, bands=bands, **plain)


def together(models: Sequence[Description]) -> Description:
    """Return the description of several models: the channels of all, and the shortest interval.

    A series of an unknown model has the channels of all, with the band of the first model that has them.
    """
    bands: dict[str, float] = {}
    for one in models:
        bands = dict(zip(one.channels, one.bands, strict=True)) | bands
    channels = tuple(dict.fromkeys(name for one in models for name in one.channels))
    first = models[0]
    return Description(
        model=f"{len(models)} models",
        version="",
        family="",
        window=max(one.window for one in models),
        alarm_budget="",
        interval_ns=min(one.interval_ns for one in models),
        sharpness=first.sharpness,
        channels=channels,
        bands=tuple(bands[name] for name in channels),
        own_bands={},
        command=first.command,
        card="\n\n".join(one.card for one in models),
        models=tuple(models),
    )


def as_values(description: Description) -> dict[str, Any]:
    """Return a description as plain values. One of a single model has those of earlier releases."""
    found = asdict(description)
    if not found["models"]:
        del found["models"]
    return found


def of_values(values: Mapping[str, Any]) -> Description:
    """Return the description of plain values. Raises TypeError where they are of something else."""
    found = Description(**values)
    models = tuple(of_values(one) for one in values.get("models", ()))
    return replace(found, channels=tuple(found.channels), bands=tuple(found.bands), models=models)


def write_manifest(store: Path, description: Description, sources: dict[str, list[int]]) -> None:
    """Write `store.json`, the last file of a store."""
    manifest = {"format": FORMAT, "sources": sources, **as_values(description)}
    (store / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def is_archive(store: Path) -> bool:
    """Return whether a directory is the store of a running group, which cannot be made again."""
    return (store / ARCHIVE).exists()


def read_manifest(store: Path) -> tuple[Description, dict[str, list[int]]] | None:
    """Return the description of a store and the files that it was made of; None if there is no whole store.

    A store of another format counts as none: it is made again.
    """
    try:
        manifest = json.loads((store / MANIFEST).read_bytes())
        if manifest.pop("format") != FORMAT:
            return None
        sources = manifest.pop("sources")
        return of_values(manifest), sources
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
