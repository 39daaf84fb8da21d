"""Parts of a backtest: every series in one part, with all its files and rows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from detector.offline.parts.partition import parts_of

FILES = st.dictionaries(
    st.integers(0, 9).map(lambda at: Path(f"{at}.parquet")),
    st.dictionaries(st.text("abc", min_size=1, max_size=2), st.integers(1, 1_000), min_size=1, max_size=6),
    min_size=1,
    max_size=6,
)


@given(FILES, st.integers(1, 5))
def test_each_series_is_in_one_part_with_all_its_files_and_rows(
    rows: dict[Path, dict[str, int]], num_workers: int
) -> None:
    parts = parts_of(rows, num_workers)
    assert [part.number for part in parts] == list(range(len(parts)))
    names = [name for part in parts for name in part.series]
    assert sorted(names) == sorted({name for own in rows.values() for name in own})
    totals: Counter[str] = Counter()
    for own in rows.values():
        totals.update(own)
    for part in parts:
        assert part.num_rows == sum(totals[name] for name in part.series)
        assert list(part.files) == [file for file in rows if rows[file].keys() & set(part.series)]


def test_equal_series_give_every_worker_several_parts_of_equal_size() -> None:
    rows = {Path(f"{at:02d}.parquet"): {f"pump-{at:02d}": 500} for at in range(64)}
    parts = parts_of(rows, 4)
    assert len(parts) == 16
    assert {part.num_rows for part in parts} == {2_000}
    assert all(len(part.files) == 4 for part in parts)  # a file of one series is read once


def test_a_part_has_at_most_four_million_rows_unless_a_series_has_more() -> None:
    rows = {Path("a.parquet"): {f"pump-{at}": 1_500_000 for at in range(100)} | {"long": 9_000_000}}
    parts = parts_of(rows, 1)
    assert all(part.num_rows <= 4_000_000 for part in parts if part.series != ("long",))
    assert sum(part.series == ("long",) for part in parts) == 1
