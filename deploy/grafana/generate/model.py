"""Model: which model judges, and does the world still look as it did when it was calibrated?"""

from __future__ import annotations

from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.generate import panels
from deploy.grafana.generate.layout import MODEL, Section, json_of, loads, new
from deploy.grafana.generate.panels import NEUTRAL, Face
from deploy.grafana.generate.queries import Query, increase, increase_shown, of, quantile, rate

_DRIFT = {0.1: panels.WARN, 0.25: panels.BAD}


def board() -> str:
    """The dashboard as JSON."""
    words = "Which model judges, and does the world still look as it did when it was calibrated?"
    model = new(MODEL, "Streamgauge / Model", words).annotation(loads())
    return json_of(model, [_now(), _drift(), _alarms(), _reloads()])


def _now() -> Section:
    models = panels.table(
        Face("Models in use", "One row a member. Several versions for long: a reload was refused.", height=6),
        {"instance": "instance", "name": "name", "version": "version", "family": "family"},
        Query(f"max by (instance, name, version, family) ({of('model_info')})", now=True),
    )

    def face(title: str, description: str, unit: str = "short") -> Face:
        return Face(title, description, unit, width=4, height=6)

    shown = (
        models,
        panels.stat(
            face("Trained", "When the artifact was written; the oldest of all members.", "dateTimeFromNow"),
            NEUTRAL,
            Query(f"min({of('model_trained_timestamp_seconds')}) * 1000", "trained", now=True),
        ),
        panels.stat(
            face("Taken up", "When a member last took a model up.", "dateTimeFromNow"),
            NEUTRAL,
            Query(f"max({of('model_loaded_timestamp_seconds')}) * 1000", "taken up", now=True),
        ),
        panels.stat(
            face(
                "Drift",
                "Population stability index of the errors of about a day against calibration. Below 0.1 "
                "nothing has changed; above 0.25 look at the data, then train again. None: too few rows were "
                "judged.",
            ),
            _DRIFT,
            Query(f"max({of('error_psi')})", "PSI", now=True),
        ).decimals(3),
    )
    return Section("", shown)


def _drift() -> Section:
    scores = panels.lines(
        Face("Scores", "Quantiles of all final scores. The median creeps up long before alarms do."),
        Query(quantile(0.5, "score_distribution"), "median"),
        Query(quantile(0.9, "score_distribution"), "90th percentile"),
        Query(quantile(0.99, "score_distribution"), "99th percentile"),
    )
    drift = panels.with_limits(
        panels.lines(
            Face("Drift", "Population stability index of the errors against calibration, by member."),
            Query(f"max by (instance) ({of('error_psi')})", "{{instance}}"),
        ),
        _DRIFT,
    )
    distribution = panels.heat_map(
        Face(
            "Distribution of scores",
            "How many rows had a score in each bucket, between two points; 1 is the threshold.",
        ),
        PromQueryFormat.HEATMAP,
        Query(f"sum by (le) ({increase('score_distribution_bucket')})", "{{le}}"),
    )
    states = panels.stacked(
        Face(
            "Verdicts by state",
            "Share of the final verdicts. Much that is unknown is judged by nobody.",
            "percentunit",
        ),
        Query(
            f"sum by (state) ({rate('verdicts_total')}) / ignoring (state) group_left () "
            f"(sum({rate('verdicts_total')}) > 0)",
            "{{state}}",
        ),
    ).max(1)
    return Section("Drift", (drift, scores, distribution, states))


def _alarms() -> Section:
    opened, allowed = increase_shown("alarms_total"), increase_shown("budgeted_alarms_total")
    realised = panels.lines(
        Face(
            "Realised alarms and their budget",
            "Each point sums a span as long as what is shown. Choose four weeks: incidents opened should "
            "stay near what the budget allows, true alarms included.",
        ),
        Query(f"sum({opened})", "opened"),
        Query(f"sum({allowed})", "allowed"),
    )
    by_member = panels.lines(
        Face(
            "Alarms against the budget, by member",
            "1: as many as allowed, over a span as long as what is shown.",
            "percentunit",
        ),
        Query(f"sum by (instance) ({opened}) / (sum by (instance) ({allowed}) > 0)", "{{instance}}"),
    )
    threshold = panels.lines(
        Face(
            "Calibrated threshold",
            "The error that is score 1 by calibration; it changes with the model alone.",
        ),
        Query(f"max by (instance) ({of('threshold')})", "{{instance}}"),
    )
    in_force = panels.lines(
        Face(
            "Thresholds in force",
            "In units of the calibrated one, over the series that have gauges. All of them up: calibrate "
            "again.",
        ),
        Query(f"quantile(0.1, {of('series_threshold')})", "10th percentile"),
        Query(f"quantile(0.5, {of('series_threshold')})", "median"),
        Query(f"quantile(0.9, {of('series_threshold')})", "90th percentile"),
    )
    return Section("Alarms and thresholds", (realised, by_member, threshold, in_force))


def _reloads() -> Section:
    return Section(
        "Reloads",
        (
            panels.bars(
                Face(
                    "Reloads of the model",
                    "By outcome, between two points. Refused: the log says why; the old one stays.",
                ),
                Query(f"sum by (outcome) ({increase('reloads_total')})", "{{outcome}}"),
            ),
            panels.bars(
                Face(
                    "Reloads of the configuration",
                    "By outcome, between two points. Refused: nothing of it is in force.",
                ),
                Query(f"sum by (outcome) ({increase('config_reloads_total')})", "{{outcome}}"),
            ),
        ),
    )
