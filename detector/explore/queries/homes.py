"""Which of several models judges a series, as the archive of a running group knows it."""

from __future__ import annotations

from typing import Any

from detector.explore.store.database import Database
from detector.explore.store.layout import Description


def judged_by(database: Database, description: Description, series: str) -> Description:
    """Return the description of the model of a series; that of all models where it is unknown.

    Args:
        database: the store.
        description: of the store; with one model it is the answer.
        series: its name.
    """
    return description.of_model(models_of(database, description, [series]).get(series))


def models_of(database: Database, description: Description, series: list[str]) -> dict[str, str]:
    """Return the model of each of these series, where it is known; nothing where there is one model."""
    if not description.models or not series:
        return {}
    marks = ", ".join("?" for _ in series)
    return dict(database.execute(f"SELECT series, model FROM homes WHERE series IN ({marks})", series))


def series_by_model(database: Database, description: Description) -> dict[str, int]:
    """Return how many series each of several models judges; nothing where there is one model."""
    if not description.models:
        return {}
    return dict(database.execute("SELECT model, count(*) FROM homes GROUP BY model"))


def among(model: str) -> tuple[str, list[object]]:
    """Return the condition for the series of a model as SQL that follows others, and its values; "": all."""
    return (" AND series IN (SELECT series FROM homes WHERE model = ?)", [model]) if model else ("", [])


def listed(database: Database, description: Description, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return things with a `series`, each with its `model`; None where it is unknown or there is one."""
    known = models_of(database, description, [one["series"] for one in found])
    return [one | {"model": known.get(one["series"])} for one in found]
