"""What the shown source was made of, and which settings there are to ask about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from detector.config.engine_options import engine_options
from detector.config.incident_schema import IncidentsSection
from detector.config.models.entries import config_of, load_for
from detector.config.models.section import ModelSection, ModelsSection
from detector.errors import DetectorError
from detector.explore.archive.opening import entry_of
from detector.explore.source import Group, Source, missing
from detector.explore.store.layout import Description, ExploreError
from detector.explore.whatif.question import RULES, budgets_around, plain_rule
from detector.offline.backtest_record import RECORD, Inputs, inputs_from


def made_of(source: Source, description: Description) -> tuple[dict[str, Any], Inputs]:
    """Return the record of a source and its inputs.

    Of a running group the record has the version of the model, and no decisions.

    Args:
        source: what is shown.
        description: of its model, or of the one of several that is asked about.

    Raises:
        ExploreError: an older release wrote the backtest, or the group does not publish what it read.
        DetectorError: a file cannot be read.
    """
    if source.group is not None:
        config = source.group.config
        if lacking := missing(source.group):
            needed = " and ".join(one["setting"] for one in lacking)
            raise ExploreError(
                f"the group does not publish {lacking[0]['what']}, so nothing can be computed again; set"
                f" {needed} in {source.name}, and wait for new rows"
            )
        entry = _entry(source.group, description)
        options = engine_options(config_of(config, entry) if isinstance(entry, ModelsSection) else config)
        inputs = Inputs.of(entry.path, source.name, options)
        return {"version": description.version, "decisions": []}, inputs
    if source.kind == "live":
        raise ExploreError(
            "an archive alone does not tell which model and rules judged: start with CONFIG.toml, --store and"
            " --no-archive"
        )
    path = Path(source.name) / RECORD
    try:
        record: dict[str, Any] = json.loads(path.read_bytes())
        found = inputs_from(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExploreError(f"{path}: cannot be read: {error}; run the backtest again") from error
    if found is None:
        raise ExploreError(
            f"{path}: does not say where the model is, as an older release wrote it; run the backtest again"
        )
    return record, found


def _entry(group: Group, description: Description) -> ModelSection:
    """Return the section of the model of a description. Raises ExploreError where that is of several."""
    if description.models:
        raise ExploreError("each of the models has settings of its own: ask on the page of a series")
    return entry_of(group, description.model)


def present_rules(inputs: Inputs) -> IncidentsSection:
    """Return the section [incidents] of the configuration, or the defaults. Raises ConfigError."""
    if inputs.config is None:
        return IncidentsSection()
    return load_for(Path(inputs.config), inputs.artifact).incidents


def settings_json(source: Source, description: Description) -> dict[str, Any]:
    """Return the present settings and the budgets to choose from, as JSON values.

    `why_not` says why nothing can be asked; it is None if something can.
    """
    found: dict[str, Any] = {
        "alarm_budget": description.alarm_budget,
        "budgets": budgets_around(description.alarm_budget) if description.alarm_budget else [],
        "rules": {},
        "has_events": False,
        "why_not": None,
    }
    try:
        _, inputs = made_of(source, description)
        section = present_rules(inputs)
        if "://" not in inputs.artifact and not Path(inputs.artifact).exists():
            raise ExploreError(
                f"the model {inputs.artifact} is no longer there; put it back, or run the backtest again"
            )
    except DetectorError as error:
        return found | {"why_not": str(error)}
    rules = {name: plain_rule(section, name) for name in RULES}
    return found | {"rules": rules, "has_events": inputs.events is not None}
