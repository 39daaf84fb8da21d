"""Train on a pump's past, judge its present, print what was wrong.

Run: python examples/backtest.py
"""

from __future__ import annotations

import pandas as pd

from detector import Detector, EngineOptions, IncidentRules
from trainer import fit
from trainer.config import FitOptions, TrainConfig
from trainer.demo.plant import CHANNELS, Plant, faults_of_a_day

DAY_NS = 86_400_000_000_000
START_NS = 1_760_000_400_000_000_000


def frame_of(plant: Plant, start_ns: int, end_ns: int) -> pd.DataFrame:
    """The plant's readings as a frame: a DatetimeIndex, a `series` column, a column a channel."""
    readings = plant.readings(start_ns, end_ns)
    frame = pd.DataFrame(readings.values, columns=list(CHANNELS))
    frame["series"] = [readings.names[code] for code in readings.series]
    return frame.set_index(pd.to_datetime(readings.timestamp_ns, utc=True))


def main() -> None:
    plant = Plant(num_pumps=5, interval_seconds=60)
    plant = Plant(num_pumps=5, interval_seconds=60, faults=faults_of_a_day(plant, START_NS))
    past = frame_of(plant, START_NS - 3 * DAY_NS, START_NS)
    present = frame_of(plant, START_NS, START_NS + DAY_NS)

    quick = TrainConfig(fit=FitOptions(max_epochs=8, windows_per_epoch=6_000))
    artifact = fit(past, model="conv", window=48, alarm_budget="1/week", config=quick)
    detector = Detector(artifact, EngineOptions(rules=IncidentRules(quiet_rows=20)))

    verdicts = detector.score(present)
    print(verdicts["state"].value_counts().to_string(), "\n")
    for incident in detector.replay(present).incidents:
        blamed = ", ".join(f"{c.name} {c.actual:.1f} (expected {c.expected:.1f})" for c in incident.channels)
        when = pd.Timestamp(incident.start_ns, unit="ns", tz="UTC")
        print(f"{when:%H:%M} {incident.series} {incident.severity} {incident.reason}: {blamed}")


if __name__ == "__main__":
    main()
