"""Run the cases of the trust suite: `python -m tests.trust.table [--seeds 3] [--write]` prints their table.

With --write the table goes into docs/trust.md. With --case NAME only that case runs, every check shown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.trust.every_case import CASES, Case
from trainer.progress import reporting

PAGE = Path(__file__).parents[2] / "docs" / "trust.md"
START, END = "<!-- trust -->\n", "<!-- end -->"


def row(case: Case, seeds: Sequence[int]) -> str:
    """Return the row of a case: in how many seeds all of its checks are right, and the first wrong one."""
    wrong: list[str] = []
    for seed in seeds:
        failed = [one for one in case.checks(seed) if not one.ok]
        if failed:
            wrong.append(f"{seed}: {failed[0].what} ({failed[0].seen})")
    passed = len(seeds) - len(wrong)
    cells = (case.words, case.guards, f"{passed} of {len(seeds)}", wrong[0] if wrong else "")
    return "| " + " | ".join(cells) + " |"


def table(rows: Sequence[str], seeds: Sequence[int]) -> str:
    """Return the table of rows that `row` returned."""
    head = f"| what must come | the wrong answer | right, of {len(seeds)} seeds | the first that is not |"
    return "\n".join([head, "|---|---|---|---|", *rows]) + "\n"


def written(text: str, new: str) -> str:
    """Return the page with the table between its marks replaced."""
    before, mark, rest = text.partition(START)
    return before + mark + new + END + rest.partition(END)[2]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases; return 1 if a check is wrong."""
    arguments = _parse(argv)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.case:
        return _shown(CASES[arguments.case], seeds)
    rows = []
    with reporting("trust") as report:
        for at, case in enumerate(CASES.values()):
            rows.append(row(case, seeds))
            report((at + 1) / len(CASES), case.name)
    text = table(rows, seeds)
    print(text)
    if arguments.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")
    return int(any(not one.endswith("|  |") for one in rows))


def _shown(case: Case, seeds: Sequence[int]) -> int:
    """Print every check of a case; return 1 if one is wrong."""
    is_wrong = False
    for seed in seeds:
        for one in case.checks(seed):
            is_wrong |= not one.ok
            print(f"{seed}: {'right' if one.ok else 'WRONG'}: {one.what}: {one.seen}", flush=True)
    return int(is_wrong)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.trust.table",
        description="Run the cases of the trust suite and print their table; end with 1 if a check is wrong.",
        epilog=f"the cases: {', '.join(CASES)}",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="how many seeds; default: %(default)s"
    )
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="the first seed; default: %(default)s"
    )
    parser.add_argument("--case", choices=CASES, metavar="NAME", help="only this case, every check shown")
    parser.add_argument("--write", action="store_true", help="put the table into docs/trust.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
