"""The outcome of the demo: which model found which fault when, in which channel; and the false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from trainer.demo.plant import Fault, Plant

_TOLERATED_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Detection:
    """Hold the first incident of a model within a fault; `rows` passed between start and incident."""

    rows: int
    channels: tuple[str, ...]
    reason: str


@dataclass(slots=True)
class AlertFeed:
    """Match incidents with faults.

    An incident belongs to a fault of its series if it starts within the fault or at most `window` rows later.
    The return to normal after the fault is a change too. Any other incident is a false alarm.
    """

    plant: Plant
    window: int
    found: dict[tuple[Fault, str], Detection] = field(default_factory=dict)
    false_alarms: dict[str, int] = field(default_factory=dict)

    def match(self, model: str, alert: dict[str, Any]) -> str | None:
        """Match one alert of a model; return the line to print, or None if the alert is nothing new."""
        if alert["event"] != "opened":
            return None
        start_ns, opened_ns = _ns(alert["start"]), _ns(alert["opened"])
        when = alert["opened"][11:19]
        channels = tuple(channel["name"] for channel in alert["channels"])
        fault = self._fault_at(alert["series"], start_ns)
        if fault is None:
            self.false_alarms[model] = self.false_alarms.get(model, 0) + 1
            blamed = f" on {channels[0]}" if channels else ""
            return f"[yellow]{when}  {alert['series']}  false alarm{blamed} by {model}[/yellow]"
        if (fault, model) in self.found:
            return None
        rows = (opened_ns - fault.start_ns) // self.plant.interval_ns
        self.found[fault, model] = Detection(rows, channels, alert["reason"])
        minutes = rows * self.plant.interval_seconds / 60
        other = (
            "" if channels[:1] == (fault.channel,) else f", blames {channels[0] if channels else 'nothing'}"
        )
        return (
            f"[green]{when}  {fault.series}  FOUND {fault.kind} on {fault.channel} by {model}"
            f" after {minutes:.0f} min{other}[/green]"
        )

    def _fault_at(self, series: str, start_ns: int) -> Fault | None:
        after_ns = self.window * self.plant.interval_ns
        for fault in self.plant.faults:
            if (
                fault.series == series
                and fault.start_ns - _TOLERATED_NS <= start_ns < fault.end_ns + after_ns
            ):
                return fault
        return None


def print_summary(feed: AlertFeed, judged: Mapping[str, str], console: Console) -> None:
    """Print the table of faults, which fits in 80 columns for two models, and the counts of each model.

    Args:
        feed: The matched alerts.
        judged: By the name of each model, in the order of their columns: how much its detector judged, in the
            words of `Coverage.summary`.
        console: Where to print.
    """
    console.print(_table(feed, tuple(judged)))
    console.print("(a channel below a time: the model blamed this channel instead)")
    num_faults = len(feed.plant.faults)
    for model, rows in judged.items():
        detections = {fault: one for (fault, by), one in feed.found.items() if by == model}
        right = sum(one.channels[:1] == (fault.channel,) for fault, one in detections.items())
        alarms = feed.false_alarms.get(model, 0)
        console.print(
            f"{model}: {len(detections)} of {num_faults} faults found, {right} with the right channel first,"
            f" {alarms} false alarm{'' if alarms == 1 else 's'} {rows}"
        )
    either = {fault for fault, _ in feed.found}
    console.print(f"[bold]together: {len(either)} of {num_faults} faults found[/bold]")


def _table(feed: AlertFeed, models: Sequence[str]) -> Table:
    """Make one row per fault; a cell of a model holds the minutes until its first incident."""
    table = Table(title="Faults and what the models found", box=box.SIMPLE, show_edge=False, pad_edge=False)
    for name in ("fault", "pump", "channel", "at"):
        table.add_column(name, no_wrap=True)
    for model in models:
        table.add_column(f"{model} after", justify="right", no_wrap=True)
    for fault in feed.plant.faults:
        cells = [_cell(feed.found.get((fault, model)), fault, feed.plant) for model in models]
        table.add_row(fault.kind, fault.series, fault.channel, _clock(fault.start_ns), *cells)
    return table


def _cell(detection: Detection | None, fault: Fault, plant: Plant) -> str:
    if detection is None:
        return "[red]missed[/red]"
    minutes = f"{detection.rows * plant.interval_seconds / 60:.1f} min"
    if detection.channels[:1] == (fault.channel,):
        return f"[green]{minutes}[/green]"
    blamed = detection.channels[0] if detection.channels else "no channel"
    return f"[yellow]{minutes}\n{blamed}[/yellow]"


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def _clock(timestamp_ns: int) -> str:
    return datetime.fromtimestamp(timestamp_ns / 1e9).astimezone().strftime("%H:%M")
