"""Train on the history of five pumps, score the next day, print what was wrong.

Run: python examples/backtest.py
"""

from __future__ import annotations

import pandas as pd

import streamgauge as sg
from trainer.config import FitOptions
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day

DAY_NS = 86_400_000_000_000
START_NS = 1_760_000_400_000_000_000


def frame_of(plant: Plant, start_ns: int, end_ns: int) -> pd.DataFrame:
    """Return the readings of a plant: times as index, a column `series`, one column per channel."""
    readings = plant.readings(start_ns, end_ns)
    frame = pd.DataFrame(readings.values, columns=list(CHANNELS))
    frame["series"] = [readings.names[code] for code in readings.series]
    return frame.set_index(pd.to_datetime(readings.timestamp_ns, utc=True))


def main() -> None:
    plant = Plant(num_pumps=5, interval_seconds=180)
    plant = Plant(num_pumps=5, interval_seconds=180, faults=faults_of_a_day(plant, START_NS))
    past = frame_of(plant, START_NS - 3 * DAY_NS, START_NS)
    present = frame_of(plant, START_NS, START_NS + DAY_NS)

    quick = sg.TrainConfig(fit=FitOptions(max_epochs=8, windows_per_epoch=6_000))
    artifact = sg.fit(past, model="conv", window=24, alarm_budget="1/week", config=quick)
    options = sg.EngineOptions(rules=sg.IncidentRules(quiet_rows=20))
    result = sg.backtest(artifact, present, options)

    print(result.verdicts["state"].value_counts().to_string(), "\n")
    for incident in result.incidents.itertuples():
        kind = f"{incident.severity} {incident.reason}"
        print(f"{incident.start:%H:%M} {incident.series} {kind}: {incident.channels}")


if __name__ == "__main__":
    main()
