"""The summary of the demo: it fits in a terminal of 80 columns, and counts what was found."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from rich.console import Console

from trainer.demo.plant import Fault, Plant, faults_of_a_day
from trainer.demo.report import AlertFeed, print_summary

START_NS = 1_767_225_600_000_000_000
PLANT = Plant(faults=faults_of_a_day(Plant(), START_NS))


def alert(fault: Fault, channel: str, minutes: float) -> dict[str, object]:
    """An incident that opens some minutes after a fault began."""
    opened_ns = fault.start_ns + round(minutes * 60e9)
    start, opened = (datetime.fromtimestamp(ns / 1e9, UTC).isoformat() for ns in (fault.start_ns, opened_ns))
    names = [{"name": channel}]
    return {
        "event": "opened",
        "start": start,
        "opened": opened,
        "series": fault.series,
        "channels": names,
        "reason": "score",
    }


def feed_of_everything() -> AlertFeed:
    """Each fault found: late and with the longest wrong channel by one model, at once by the other."""
    feed = AlertFeed(PLANT, 64)
    for fault in PLANT.faults:
        wrong = "bearing_temp" if fault.channel != "bearing_temp" else "current"
        feed.match("conv", alert(fault, wrong, 100.5))
        feed.match("lstm", alert(fault, fault.channel, 2))
    return feed


JUDGED = {"conv": "22,370", "lstm": "8"}


def printed(feed: AlertFeed) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    print_summary(feed, {name: f"of {num} rows judged" for name, num in JUDGED.items()}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_the_table_fits_in_80_columns_without_a_shortened_word() -> None:
    lines = printed(feed_of_everything())
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "…" not in text
    for fault in PLANT.faults:
        (line,) = (
            one for one in lines if one.startswith(fault.kind) and f"{fault.series}   {fault.channel}" in one
        )
        assert "100.5 min" in line
        assert "2.0 min" in line
    assert text.count("bearing_temp") == 2 + 8  # two faults there, and eight blamed on it


def test_the_counts_are_of_the_first_incident_in_each_fault() -> None:
    feed = feed_of_everything()
    first = PLANT.faults[0]
    assert feed.match("lstm", alert(first, first.channel, 5)) is None  # found before
    assert feed.match("lstm", {**alert(first, "flow", 5), "event": "resolved"}) is None
    line = feed.match("lstm", alert(Fault("spike", "pump-08", "flow", START_NS, START_NS), "flow", 0))
    assert line is not None
    assert "pump-08  false alarm on flow by lstm" in line
    text = " ".join(" ".join(printed(feed)).split())
    assert "conv: 10 of 10 faults found, 0 with the right channel first, 0 false alarms of 22,370" in text
    assert "lstm: 10 of 10 faults found, 10 with the right channel first, 1 false alarm of 8 rows" in text
    assert "together: 10 of 10 faults found" in text


def test_a_fault_that_no_model_found_is_missed() -> None:
    text = "\n".join(printed(AlertFeed(PLANT, 64)))
    assert text.count("missed") == 20
    assert "together: 0 of 10 faults found" in text
