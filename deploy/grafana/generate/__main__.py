"""Write every dashboard: `python -m deploy.grafana.generate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from deploy.grafana.generate import detector, fleet, model, series

BOARDS: Mapping[str, Callable[[], str]] = {
    "fleet.json": fleet.board,
    "series.json": series.board,
    "detector.json": detector.board,
    "model.json": model.board,
}
DIRECTORY = Path(__file__).parents[1] / "dashboards"


def main() -> None:
    """Write all dashboards into deploy/grafana/dashboards."""
    for name, board in BOARDS.items():
        (DIRECTORY / name).write_text(board(), encoding="utf-8")


if __name__ == "__main__":
    main()
