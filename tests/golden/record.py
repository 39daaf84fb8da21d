"""Record the verdicts that test_golden.py compares with: `python -m tests.golden.record`, on purpose only."""

from __future__ import annotations

import json

from tests.golden.cases import CASES, engine_for, halves, summary
from tests.golden.test_golden import SNAPSHOTS, VERDICTS


def main() -> None:
    """Write verdicts.json and the snapshots of the ensemble."""
    lines = [f"{json.dumps(name)}: {json.dumps(summary(name))}" for name in CASES]
    VERDICTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    _, saved, _ = halves(engine_for("ensemble"))
    SNAPSHOTS.write_text(json.dumps([state.hex() for state in saved], indent=0) + "\n")


if __name__ == "__main__":
    main()
