"""What the demo tells: which fault was found when, by which model, in which channel; and false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from trainer.demo.plant import Fault, Plant

_TOLERATED_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Found:
    """The first incident of a model within a fault."""

    rows: int
    channels: tuple[str, ...]
    reason: str


@dataclass(slots=True)
class AlertFeed:
    """Matches incidents with faults. An incident belongs to a fault of its series when it starts within
    it, or within a window after its end (the way back is a change too); any other is a false alarm."""

    plant: Plant
    window: int
    found: dict[tuple[Fault, str], Found] = field(default_factory=dict)
    false_alarms: dict[str, int] = field(default_factory=dict)

    def take(self, model: str, alert: dict[str, Any]) -> str | None:
        """Take one alert; the line that tells of it, or None where it is nothing new."""
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
        self.found[fault, model] = Found(rows, channels, alert["reason"])
        minutes = rows * self.plant.interval_seconds / 60
        sure = (
            "" if channels[:1] == (fault.channel,) else f" (blames {channels[0] if channels else 'nothing'})"
        )
        return (
            f"[green]{when}  {fault.series}  FOUND {fault.kind} on {fault.channel} by {model}"
            f" after {rows} rows ({minutes:.0f} min){sure}[/green]"
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


def summary(watch: AlertFeed, models: Sequence[str], sent: int, console: Console) -> None:
    """The table of all faults and models, and the false alarms against the budget."""
    table = Table(title="What was found")
    for name in ("fault", "pump", "channel", "at"):
        table.add_column(name)
    for model in models:
        table.add_column(f"{model} after", justify="right", no_wrap=True)
        table.add_column("blamed")
    for fault in watch.plant.faults:
        cells = [fault.kind, fault.series, fault.channel, _clock(fault.start_ns)]
        for model in models:
            cells += _cells(watch.found.get((fault, model)), fault, watch.plant.interval_seconds)
        table.add_row(*cells)
    console.print(table)
    num_faults = len(watch.plant.faults)
    for model in models:
        caught = [found for (_, by), found in watch.found.items() if by == model]
        right = sum(
            found.channels[:1] == (fault.channel,)
            for (fault, by), found in watch.found.items()
            if by == model
        )
        alarms = watch.false_alarms.get(model, 0)
        console.print(
            f"{model}: {len(caught)} of {num_faults} faults found, {right} with the right channel first,"
            f" {alarms} false alarm{'' if alarms == 1 else 's'} in {sent:,} readings"
        )
    either = {fault for fault, _ in watch.found}
    console.print(f"[bold]together: {len(either)} of {num_faults} faults found[/bold]")


def _cells(found: Found | None, fault: Fault, interval_seconds: int) -> list[str]:
    if found is None:
        return ["[red]missed[/red]", ""]
    minutes = found.rows * interval_seconds / 60
    blamed = found.channels[0] if found.channels else "-"
    colour = "green" if blamed == fault.channel else "yellow"
    return [f"{minutes:.1f} min", f"[{colour}]{blamed}[/{colour}]"]


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) * 1_000_000


def _clock(timestamp_ns: int) -> str:
    return datetime.fromtimestamp(timestamp_ns / 1e9).astimezone().strftime("%H:%M")
