"""Model: which model is in use, and have errors changed since its calibration?"""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.generate import panels
from deploy.grafana.generate.layout import MODEL, Section, json_of, loads, new
from deploy.grafana.generate.panels import NEUTRAL, Face
from deploy.grafana.generate.queries import Query, increase, increase_shown, of, quantile, rate

_DRIFT = {0.1: panels.WARN, 0.25: panels.BAD}


def board() -> str:
    """Return the dashboard as JSON."""
    words = "Which model is in use, and have errors changed since its calibration?"
    model = new(MODEL, "Streamgauge / Model", words).annotation(loads())
    return json_of(
        model, [_now(), _several(), _drift(), _sense(), _context(), _alarms(), _shadow(), _reloads()]
    )


def _now() -> Section:
    models = panels.table(
        Face(
            "Models in use",
            "One row per process. If several versions stay: a reload was refused.",
            height=6,
        ),
        {"instance": "instance", "name": "name", "version": "version", "family": "family"},
        Query(f"max by (instance, name, version, family) ({of('model_info')})", now=True),
    )

    def face(title: str, description: str, unit: str = "short") -> Face:
        return Face(title, description, unit, width=4, height=6)

    shown = (
        models,
        panels.stat(
            face("Trained", "When the artifact was written; the oldest of all processes.", "dateTimeFromNow"),
            NEUTRAL,
            Query(f"min({of('model_trained_timestamp_seconds')}) * 1000", "trained", now=True),
        ),
        panels.stat(
            face("Loaded", "When a process last loaded a model.", "dateTimeFromNow"),
            NEUTRAL,
            Query(f"max({of('model_loaded_timestamp_seconds')}) * 1000", "loaded", now=True),
        ),
        panels.stat(
            face(
                "Drift",
                "Population stability index: errors of about the last day against calibration. Below 0.1 "
                "nothing has changed. Above 0.25: check the data, then train again. None: too few rows were "
                "scored.",
            ),
            _DRIFT,
            Query(f"max({of('error_psi')})", "PSI", now=True),
        ).decimals(3),
    )
    return Section("", shown)


def _several() -> Section:
    """Return figures by model of one group. One model alone is a line without a name."""

    def lines(title: str, description: str, query: str) -> timeseries.Panel:
        return panels.lines(Face(title, description, width=6), Query(query, "{{model}}"))

    return Section(
        "Models of a group",
        (
            lines(
                "Series by model", "Known series that each model judges.", f"sum by (model) ({of('series')})"
            ),
            panels.bars(
                Face("Alarms by model", "Incidents that count for the budget, per interval.", width=6),
                Query(f"sum by (model) ({increase('alarms_total')})", "{{model}}"),
            ),
            lines(
                "Drift by model",
                "Population stability index of the errors against calibration, the highest of all processes.",
                f"max by (model) ({of('error_psi')})",
            ),
            panels.lines(
                Face(
                    "Cold and unassigned series",
                    "Cold: new to their model, they learn their own scales. Unassigned: no model judges "
                    "them, because of their name or of too few channels.",
                    width=6,
                ),
                Query(f"sum({of('cold_series')})", "cold"),
                Query(f"sum by (reason) ({of('unassigned_series')})", "unassigned: {{reason}}"),
            ),
        ),
    )


def _drift() -> Section:
    scores = panels.lines(
        Face("Scores", "Quantiles of all final scores. The median rises long before alarms do."),
        Query(quantile(0.5, "score_distribution"), "median"),
        Query(quantile(0.9, "score_distribution"), "90th percentile"),
        Query(quantile(0.99, "score_distribution"), "99th percentile"),
    )
    drift = panels.with_limits(
        panels.lines(
            Face("Drift", "Population stability index of the errors against calibration, by process."),
            Query(f"max by (instance) ({of('error_psi')})", "{{instance}}"),
        ),
        _DRIFT,
    )
    distribution = panels.heat_map(
        Face(
            "Distribution of scores",
            "Rows per bucket and interval. Above 1 is unusual; a row counts from the page level on.",
        ),
        PromQueryFormat.HEATMAP,
        Query(f"sum by (le) ({increase('score_distribution_bucket')})", "{{le}}"),
    )
    states = panels.stacked(
        Face(
            "Verdicts by state",
            "Share of each state in the final verdicts. Rows of unknown state are not scored.",
            "percentunit",
        ),
        Query(
            f"sum by (state) ({rate('verdicts_total')}) / ignoring (state) group_left () "
            f"(sum({rate('verdicts_total')}) > 0)",
            "{{state}}",
        ),
    ).max(1)
    return Section("Drift", (drift, scores, distribution, states))


def _sense() -> Section:
    ratios = panels.lines(
        Face(
            "Promised faults that are found",
            "Share by channel in the last self-check, the lowest of all processes. Below 0.9: deaf.",
            "percentunit",
        ),
        Query(f"min by (channel) ({of('detectable_ratio')})", "{{channel}}"),
    )
    deaf = panels.lines(
        Face("Deaf series", "Series whose page level hid most promised faults in the last self-check."),
        Query(f"max by (instance) ({of('series_deaf')})", "{{instance}}"),
    )
    checks = panels.bars(
        Face("Self-checks", "By outcome, per interval. Unknown: the model has no table of what it finds."),
        Query(f"sum by (outcome) ({increase('self_checks_total')})", "{{outcome}}"),
    )
    missing = panels.lines(
        Face("Missing channels", "Channels that send nothing while others of their series do."),
        Query(f"sum by (instance) ({of('channels_missing')})", "{{instance}}"),
        Query(f"sum by (channel) ({of('channel_missing')})", "{{channel}}"),
    )
    watched = panels.lines(
        Face(
            "Channels watched for small departures",
            "Share of the channels of known series in which small departures add up to evidence.",
            "percentunit",
        ),
        Query(f"min by (instance) ({of('cumulative_channels_ratio')})", "{{instance}}"),
    )
    return Section("Sense", (ratios, deaf, checks, missing, watched))


def _context() -> Section:
    unjudged = 'state=~"transition|idle"'
    modes = panels.stacked(
        Face("Series by mode", "Known series by the mode of operation of their newest row."),
        Query(f"sum by (mode) ({of('series_in_mode')})", "{{mode}}"),
    )
    in_modes = panels.bars(
        Face("Rows by mode", "Rows by their mode of operation, per interval."),
        Query(f"sum by (mode) ({increase('mode_rows_total')})", "{{mode}}"),
    )
    states = panels.bars(
        Face(
            "Transitions and idle rows",
            "Rows between two modes, and rows in whose mode nothing is judged, per interval.",
        ),
        Query(f"sum by (state) ({increase('verdicts_total', unjudged)})", "{{state}}"),
    )
    rows = panels.bars(
        Face("Anomalous rows by evidence", "By the kind of evidence that spoke loudest, per interval."),
        Query(f"sum by (evidence) ({increase('evidence_rows_total')})", "{{evidence}}"),
    )
    opened = panels.bars(
        Face("Alarms by evidence", "Incidents that count for the budget, per interval."),
        Query(f"sum by (evidence) ({increase('evidence_alarms_total')})", "{{evidence}}"),
    )
    by_reason = panels.lines(
        Face(
            "Open incidents by reason",
            "Also how many of them cannot be judged now: no data, or not judged in their mode.",
        ),
        Query(f"sum by (reason) ({of('incident_firing')})", "{{reason}}"),
        Query(f"sum({of('unjudged_incidents')})", "cannot be judged"),
    )
    return Section("Context: modes, season and drift", (modes, in_modes, states, rows, opened, by_reason))


def _alarms() -> Section:
    opened, allowed = increase_shown("alarms_total"), increase_shown("budgeted_alarms_total")
    realised = panels.lines(
        Face(
            "Alarms and their budget",
            "Each point is the sum over a span as long as the time range. Choose four weeks. False alarms "
            "stay at or below the budget; the opened incidents include true alarms.",
        ),
        Query(f"sum({opened})", "opened"),
        Query(f"sum({allowed})", "allowed"),
    )
    by_process = panels.lines(
        Face(
            "Alarms against the budget, by process",
            "100 %: as many as allowed, over a span as long as the time range. If less than one is allowed, "
            "one is.",
            "percentunit",
        ),
        Query(f"sum by (instance) ({opened}) / clamp_min(sum by (instance) ({allowed}), 1)", "{{instance}}"),
    )
    threshold = panels.lines(
        Face(
            "Calibrated threshold",
            "Error at which the score is 1, from calibration. It changes only with the model.",
        ),
        Query(f"max by (instance) ({of('threshold')})", "{{instance}}"),
    )
    in_force = panels.lines(
        Face(
            "Page levels",
            "The score from which a row counts for incidents, for the series with gauges. If all rise, train "
            "again.",
        ),
        Query(f"quantile(0.1, {of('series_threshold')})", "10th percentile"),
        Query(f"quantile(0.5, {of('series_threshold')})", "median"),
        Query(f"quantile(0.9, {of('series_threshold')})", "90th percentile"),
    )
    return Section("Alarms, threshold and page levels", (realised, by_process, threshold, in_force))


def _shadow() -> Section:
    return Section(
        "Candidate beside the model in use",
        (
            panels.lines(
                Face(
                    "Agreement",
                    "Share of the rows judged by both that are anomalous for both or for none. Empty without "
                    "[model] shadow or without a candidate.",
                    "percentunit",
                    width=6,
                ),
                Query(f"min({of('shadow_agreement_ratio')})", "agreement"),
            ),
            panels.bars(
                Face(
                    "Rows",
                    "Rows that both judged, and anomalous ones by judge, per interval.",
                    width=6,
                ),
                Query(f"sum({increase('shadow_rows_total')})", "judged by both"),
                Query(f"sum by (judge) ({increase('shadow_anomalous_rows_total')})", "{{judge}}"),
            ),
            panels.bars(
                Face("Incidents", "Opened per interval, by judge. A candidate sends none.", width=6),
                Query(f"sum by (judge) ({increase('shadow_incidents_total')})", "{{judge}}"),
            ),
            panels.lines(
                Face(
                    "Candidates judged",
                    "Processes that judge a candidate, by version. Dropped: it cannot be judged; the log has "
                    "the reason. Began again: it was behind, and lost its windows.",
                    width=6,
                ),
                Query(f"count by (version) ({of('shadow_info')})", "{{version}}"),
                Query(f"sum({of('shadow_dropped')})", "dropped"),
                Query(f"sum({increase('shadow_restarts_total')})", "began again"),
            ),
        ),
    )


def _reloads() -> Section:
    return Section(
        "Reloads",
        (
            panels.bars(
                Face(
                    "Reloads of the model",
                    "By outcome, per interval. Refused: the log has the reason; the old model stays in use.",
                ),
                Query(f"sum by (outcome) ({increase('reloads_total')})", "{{outcome}}"),
            ),
            panels.bars(
                Face(
                    "Reloads of the configuration",
                    "By outcome, per interval. Refused: the change has no effect.",
                ),
                Query(f"sum by (outcome) ({increase('config_reloads_total')})", "{{outcome}}"),
            ),
        ),
    )
