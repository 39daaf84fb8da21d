"""The status page, and the same figures as JSON."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from detector.artifact.spec import Spec
from detector.delivery.series_partitions import Split
from detector.engine.values import Latest
from detector.http.budget_section import budget_html, budget_json
from detector.http.judged_section import judged_html, judged_json, some_of
from detector.incidents.incident import Incident
from detector.incidents.lasting import blamed
from detector.incidents.shapes.sentence import Wording, sentence
from detector.incidents.unjudged import unjudged_words
from detector.metrics.recorder import Metrics
from detector.metrics.series_gauges import firing
from detector.notify.trend_words import trend_words
from detector.scoring.verdicts import State
from detector.selfcheck.check import Sense

_WORST = 12
_MUCH_DRIFT = 0.25
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>Streamgauge: {model}</title>
<style>
:root {{ color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 56rem; padding: 0 1rem; }}
h1 {{ font-size: 1.4rem; margin: 0; }} h2 {{ font-size: 1rem; margin: 1.8rem 0 .4rem; }}
.sub {{ opacity: .7; }} .tiles {{ display: flex; flex-wrap: wrap; gap: .6rem; margin-top: 1.2rem; }}
.tile {{ border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; min-width: 6rem; }}
.tile b {{ display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }}
table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }}
.bad {{ color: #c62828; font-weight: 600; }} .warn {{ color: #b26a00; }}
@media (prefers-color-scheme: dark) {{ .bad {{ color: #ff7b72; }} .warn {{ color: #f0a63c; }} }}
@media (max-width: 40rem) {{ table {{ display: block; overflow-x: auto; }} td, th {{ white-space: nowrap; }} }}
.bar {{ background: #c62828; height: .5rem; border-radius: 3px; }}
.ok {{ background: #2e7d32; }}
</style></head><body>
<h1>{model} <span class="sub">{version}</span></h1>
<div class="sub">{family}, window {window} rows of {interval:g} s, {channels} channels; scores above 1 are unusual, and count from the page level of the series on</div>
<div class="tiles">{tiles}</div>
{incidents}<h2>Highest scores</h2><table><tr><th>series<th>score<th>state<th>newest row (UTC)<th style="width:30%"></tr>{worst}</table>
<p class="sub">refreshes every 3 s; <a href="/metrics">metrics</a>, <a href="/api/status">the same as JSON</a></p>
</body></html>"""


@dataclass(frozen=True, slots=True)
class Status:
    """Returns the page and the JSON, from the snapshot of the metrics; `units` of channels for sentences."""

    metrics: Metrics
    units: Mapping[str, str] = field(default_factory=dict)

    @property
    def spec(self) -> Spec:
        """The description of the model in use."""
        return self.metrics.engine.artifact.spec

    @property
    def version(self) -> str:
        """The version of the model in use."""
        return self.metrics.engine.artifact.version

    def json(self) -> dict[str, Any]:
        """Return the figures as plain values; an unknown score is None."""
        snapshot = self.metrics.snapshot
        latest = snapshot.latest
        counts = np.bincount(latest.state, minlength=len(State)).tolist()
        written_at = snapshot.artifact.written_at
        lag_seconds = self.metrics.sources.lag_seconds().values()
        order = np.argsort(-np.nan_to_num(latest.score, nan=-1.0), kind="stable")[:_WORST]
        return {
            "model": self.spec.name,
            "version": self.version,
            "ready": self.metrics.sources.ready(),
            "lag_messages": sum(self.metrics.sources.lag().values()),
            "lag_seconds": round(max(lag_seconds), 1) if lag_seconds else None,
            "replaying": self.metrics.sources.replaying(),
            "model_age_seconds": None if written_at is None else round(max(0.0, time.time() - written_at)),
            "sense": _sense(self.metrics.sources.sense()),
            "judged": judged_json(snapshot),
            "budget": budget_json(snapshot.budget),
            "cumulative_channels": list(snapshot.cumulative),
            "common_scale_rows": snapshot.totals["common_scale_rows"],
            "channels_missing": int(np.count_nonzero(latest.missing)),
            "missing_rights": [" on ".join(one) for one in self.metrics.sources.missing_rights()],
            "decisions_readable": self.metrics.sources.decisions_readable(),
            "split_series": _split(self.metrics.sources.split_series()),
            "error_psi": None if math.isnan(snapshot.psi) else round(snapshot.psi, 3),
            "readings": snapshot.totals["readings"],
            "open_incidents": dict(snapshot.open_by_severity),
            "lasting_incidents": snapshot.num_lasting,
            "muted_series": int(np.count_nonzero(latest.muted)),
            "firing": [
                _firing(incident, self._sentence(incident, latest))
                for incident in firing(snapshot.open_incidents, _WORST)
            ],
            "series": {state.label: num for state, num in zip(State, counts, strict=True)},
            "worst": [_series(self.spec, latest, at) for at in order.tolist()],
        }

    def _sentence(self, incident: Incident, latest: Latest) -> str:
        """Return what is wrong, until the newest row of the series."""
        known = incident.series in latest.names
        at_ns = int(latest.timestamp_ns[latest.names.index(incident.series)]) if known else incident.opened_ns
        return sentence(incident, at_ns, Wording.of(self.spec, self.units))

    def page(self) -> str:
        """Return the page as HTML. Names from outside are escaped."""
        status = self.json()
        spec = self.spec
        return _PAGE.format(
            model=html.escape(spec.name),
            version=html.escape(self.version),
            family=html.escape(spec.family),
            window=spec.window,
            interval=spec.interval_ns / 1e9,
            channels=len(spec.channels),
            tiles="".join(_tile(name, value) for name, value in _tiles(status).items()),
            incidents=_deaf(status["sense"])
            + _kafka(status)
            + _judged(status)
            + budget_html(status["budget"])
            + _incidents(status["firing"]),
            worst="".join(_row(entry) for entry in status["worst"]) or "<tr><td>no readings yet</tr>",
        )


def _series(spec: Spec, latest: Latest, at: int) -> dict[str, Any]:
    """Return the newest verdict of a series; its mode of operation only where the model has modes."""
    found = {
        "series": latest.names[at],
        "score": None if np.isnan(latest.score[at]) else round(float(latest.score[at]), 3),
        "state": State(int(latest.state[at])).label,
        "timestamp_ms": int(latest.timestamp_ns[at]) // 1_000_000,
    }
    if spec.modes is None:
        return found
    number = int(latest.mode[at])
    return found | {"mode": None if number < 0 else spec.modes.names[number]}


def _tiles(status: Mapping[str, Any]) -> dict[str, str]:
    series = {name: num for name, num in status["series"].items() if num}
    return {
        "ready": "yes" if status["ready"] else "not yet",
        "open incidents": str(_num_open(status)),
        **({"lasting, to decide": str(status["lasting_incidents"])} if status["lasting_incidents"] else {}),
        **({"series muted": str(status["muted_series"])} if status["muted_series"] else {}),
        "series judged now": some_of(status["judged"]["series_judged_now"], status["judged"]["series"]),
        "channels watched for small departures": some_of(*status["cumulative_channels"]),
        "messages behind": f"{status['lag_messages']:,}",
        **({} if status["lag_seconds"] is None else {"seconds behind": f"{status['lag_seconds']:,}"}),
        **({"partitions replaying": str(status["replaying"])} if status["replaying"] else {}),
        "readings": f"{status['readings']:,}",
        **({"channels missing": str(status["channels_missing"])} if status["channels_missing"] else {}),
        **(
            {"rows judged by the common scale": f"{status['common_scale_rows']:,}"}
            if status["common_scale_rows"]
            else {}
        ),
        **_about_model(status),
        **{
            f"series {name.replace('_', ' ')}": f"{num:,}"
            for name in ("never_judged", "no_longer_judged")
            if (num := status["judged"][f"series_{name}"])
        },
        **{f"series {name.replace('_', ' ')}": f"{num:,}" for name, num in series.items()},
    }


def _num_open(status: Mapping[str, Any]) -> int:
    return sum(status["open_incidents"].values())


def _judged(status: Mapping[str, Any]) -> str:
    return judged_html(status["judged"], _num_open(status))


def _about_model(status: Mapping[str, Any]) -> dict[str, str]:
    """Return the tiles of the age of the model and of the change of its errors, where known."""
    age, psi = status["model_age_seconds"], status["error_psi"]
    found = {"sense": status["sense"]["state"]}
    if age is not None:
        found["model age"] = f"{age / 86400:.1f} d" if age >= 86400 else f"{age / 3600:.1f} h"
    if psi is not None:
        found["change of errors (psi)"] = f"{psi:.2f}"
        if psi > _MUCH_DRIFT:
            found["change of errors (psi)"] += " high"
    return found


def _sense(sense: Sense) -> dict[str, Any]:
    """Return the outcome of the last self-check as plain values."""
    return {
        "state": sense.outcome,
        "ratios": {name: round(ratio, 3) for name, ratio in sense.ratios.items()},
        "deaf_channels": dict(sense.reasons),
        "num_deaf_series": sense.num_deaf,
        "deaf_series": list(sense.deaf_series),
    }


def _deaf(sense: Mapping[str, Any]) -> str:
    """Return a table of the promised faults that are not found; empty if the detector is not deaf."""
    if sense["state"] != "deaf":
        return ""
    rows = [
        f"<tr><td>{html.escape(name)}<td>{html.escape(why)}</tr>"
        for name, why in sense["deaf_channels"].items()
    ]
    if sense["num_deaf_series"]:
        names = html.escape(", ".join(sense["deaf_series"]))
        rows.append(
            f"<tr><td>{sense['num_deaf_series']:,} series<td>their thresholds are too high: {names}</tr>"
        )
    head = "<tr><th>deaf<th>why</tr>"
    return f'<h2 class="bad">Deaf: promised faults are not found</h2><table>{head}{"".join(rows)}</table>\n'


def _split(split: Split) -> dict[str, Any]:
    return {"num": split.num, "names": list(split.names)}


def _kafka(status: Mapping[str, Any]) -> str:
    """Return lines about missing rights, about decisions, and about series from several partitions; empty without any."""
    split, found = status["split_series"], ""
    if status["missing_rights"]:
        missing = html.escape("; ".join(status["missing_rights"]))
        found = f'<h2 class="bad">Waiting for rights in Kafka: {missing}</h2>\n'
    if not status["decisions_readable"]:
        found += '<h2 class="bad">Decisions cannot be read: accept, reject and mute have no effect</h2>\n'
    if not split["num"]:
        return found
    return found + (
        f'<h2 class="bad">{split["num"]:,} series come from several partitions: their readings are out of'
        f" order, and many are late</h2><p>{html.escape(', '.join(split['names']))}. Let the producers use the"
        " series as the key of their messages.</p>\n"
    )


def _firing(incident: Incident, said: str = "") -> dict[str, Any]:
    unjudged = incident.unjudged
    return {
        "sentence": said,
        "id": incident.id,
        "series": incident.series,
        "severity": incident.severity,
        "reason": incident.reason,
        "channel": incident.channels[0].name if incident.channels else None,
        "trend": None if incident.trend is None else asdict(incident.trend),
        "trend_words": _trend_words(incident),
        "peak_score": None if incident.known_peak is None else round(incident.known_peak, 3),
        "start_ms": incident.start_ns // 1_000_000,
        "lasting_since_ms": None if incident.lasting_ns is None else incident.lasting_ns // 1_000_000,
        "unjudged": None
        if unjudged is None
        else {"since_ms": unjudged.since_ns // 1_000_000, "why": unjudged.why, "mode": unjudged.mode},
        "blamed": list(blamed(incident)),
    }


def _trend_words(incident: Incident) -> str | None:
    """Return which channel drifts, and how fast; None where none does."""
    one = incident.drifting
    return None if one is None else f"{one.name} {trend_words(one.trend)}"


def _unjudged(one: Mapping[str, Any]) -> str:
    """Return since when and why nobody can tell whether the incident goes on; empty where it is known."""
    unjudged = one["unjudged"]
    if unjudged is None:
        return ""
    since = str(np.datetime64(unjudged["since_ms"], "ms"))
    words = unjudged_words(unjudged["why"], since, unjudged["mode"], one["blamed"])
    return f" <span class=warn>{html.escape(words)}</span>"


def _incidents(firing: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of the worst open incidents; empty if none is open."""
    if not firing:
        return ""
    rows = "".join(
        f"<tr><td>{html.escape(one['series'])}<td{' class=bad' if one['severity'] == 'critical' else ''}>"
        f"{one['severity']}<td>{html.escape(one['reason'].replace('_', ' '))}"
        f"<td>{html.escape(one['channel'] or '-')}{_drifts(one)}<td>{'unknown' if one['peak_score'] is None else one['peak_score']}"
        f"<td>{_time(one['start_ms'])}<td>{one['id']}"
        f"{' <span class=warn>lasts</span>' if one['lasting_since_ms'] is not None else ''}"
        f"{_unjudged(one)}</tr>"
        f"<tr><td colspan=7 class=sub>{html.escape(one['sentence'])}</tr>"
        for one in firing
    )
    head = "<tr><th>series<th>severity<th>reason<th>channel<th>peak score<th>since (UTC)<th>id</tr>"
    return f"<h2>Open incidents</h2><table>{head}{rows}</table>\n"


def _drifts(firing: Mapping[str, Any]) -> str:
    """Return how fast the channel drifts, on a line of its own; empty where it does not."""
    words = firing["trend_words"]
    return f'<br><span class="sub">{html.escape(words)}</span>' if words else ""


def _time(milliseconds: int) -> str:
    """Return a time of UTC to the second.

    >>> _time(1_767_225_600_500)
    '2026-01-01 00:00:00'
    """
    return str(np.datetime64(milliseconds, "ms").astype("M8[s]")).replace("T", " ")


_BAD_TILES = frozenset(
    (
        *("series anomalous", "series flatline", "series missing", "channels missing"),
        *("series never judged", "series no longer judged"),
    )
)


def _tile(name: str, value: str) -> str:
    is_bad = name in _BAD_TILES
    bad = ' class="bad"' if is_bad or value.endswith(" high") or value == "deaf" else ""
    if name == "series judged now" and " of " in value:
        bad = ' class="warn"'
    return f'<div class="tile"><b{bad}>{html.escape(value)}</b>{html.escape(name)}</div>'


def _row(entry: Mapping[str, Any]) -> str:
    score = entry["score"]
    share = 0 if score is None else min(100, round(50 * score))
    bad = score is not None and score > 1
    mode = f", mode {html.escape(entry['mode'])}" if entry.get("mode") else ""
    when = _time(entry["timestamp_ms"]) if entry["timestamp_ms"] >= 0 else "-"
    return (
        f"<tr><td>{html.escape(entry['series'])}<td{' class=bad' if bad else ''}>"
        f"{'-' if score is None else f'{score:.3f}'}<td>{entry['state'].replace('_', ' ')}{mode}<td>{when}"
        f'<td><div class="bar{"" if bad else " ok"}" style="width:{share}%"></div></tr>'
    )
