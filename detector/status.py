"""What the status page and its API say, and the page itself."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detector.artifact import Spec
from detector.metrics import Metrics
from detector.verdicts import State

_WORST = 12
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
.bad {{ color: #c62828; font-weight: 600; }} .bar {{ background: #c62828; height: .5rem; border-radius: 3px; }}
.ok {{ background: #2e7d32; }}
</style></head><body>
<h1>{model} <span class="sub">{version}</span></h1>
<div class="sub">{family}, window {window} rows of {interval:g} s, {channels} channels; score 1 is the threshold</div>
<div class="tiles">{tiles}</div>
<h2>Highest scores</h2><table><tr><th>series<th>score<th>state<th>row<th style="width:30%"></tr>{worst}</table>
<p class="sub">refreshes every 3 s; <a href="/metrics">metrics</a>, <a href="/api/status">the same as JSON</a></p>
</body></html>"""


@dataclass(frozen=True, slots=True)
class Status:
    """Answers for the HTTP server, from the metrics' snapshot."""

    metrics: Metrics

    @property
    def spec(self) -> Spec:
        """That of the model in use."""
        return self.metrics.engine.artifact.spec

    @property
    def version(self) -> str:
        """That of the model in use."""
        return self.metrics.engine.artifact.version

    def json(self) -> dict[str, Any]:
        """Plain values; an unknown score is null."""
        snapshot = self.metrics.snapshot
        latest = snapshot.latest
        counts = np.bincount(latest.state, minlength=len(State)).tolist()
        order = np.argsort(-np.nan_to_num(latest.score, nan=-1.0), kind="stable")[:_WORST]
        return {
            "model": self.spec.name,
            "version": self.version,
            "ready": self.metrics.sources.ready(),
            "lag_messages": sum(self.metrics.sources.lag().values()),
            "readings": snapshot.totals["readings"],
            "open_incidents": dict(snapshot.open_by_severity),
            "series": {state.label: num for state, num in zip(State, counts, strict=True)},
            "worst": [
                {
                    "series": latest.names[at],
                    "score": None if np.isnan(latest.score[at]) else round(float(latest.score[at]), 3),
                    "state": State(int(latest.state[at])).label,
                    "timestamp_ms": int(latest.timestamp_ns[at]) // 1_000_000,
                }
                for at in order.tolist()
            ],
        }

    def page(self) -> str:
        """The same for people; every name from outside is escaped."""
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
            worst="".join(_row(entry) for entry in status["worst"]) or "<tr><td>no series yet</tr>",
        )


def _tiles(status: Mapping[str, Any]) -> dict[str, str]:
    series = {name: num for name, num in status["series"].items() if num}
    return {
        "ready": "yes" if status["ready"] else "not yet",
        "open incidents": str(sum(status["open_incidents"].values())),
        "lag": f"{status['lag_messages']:,}",
        "readings": f"{status['readings']:,}",
        **{f"series {name.replace('_', ' ')}": f"{num:,}" for name, num in series.items()},
    }


def _tile(name: str, value: str) -> str:
    bad = ' class="bad"' if name in ("series anomalous", "series flatline") else ""
    return f'<div class="tile"><b{bad}>{html.escape(value)}</b>{html.escape(name)}</div>'


def _row(entry: Mapping[str, Any]) -> str:
    score = entry["score"]
    share = 0 if score is None else min(100, round(50 * score))
    bad = score is not None and score > 1
    when = np.datetime64(entry["timestamp_ms"], "ms") if entry["timestamp_ms"] >= 0 else "-"
    return (
        f"<tr><td>{html.escape(entry['series'])}<td{' class=bad' if bad else ''}>"
        f"{'-' if score is None else score}<td>{entry['state'].replace('_', ' ')}<td>{when}"
        f'<td><div class="bar{"" if bad else " ok"}" style="width:{share}%"></div></tr>'
    )
