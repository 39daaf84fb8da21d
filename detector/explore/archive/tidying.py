"""Which files of an archive to merge, and which days to delete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detector.explore.archive.manifest import Manifest, Segment
from detector.explore.store.layout import DAY_NS
from detector.explore.store.tables import date_of

MERGED = 8
"""So many files of one level and day become one of the next level."""
LARGEST = 1 << 29
"""Files of more than so many bytes together stay as they are: to sort them would take minutes."""


def mergeable(segments: Sequence[Segment], is_over: bool) -> Sequence[Segment]:
    """Return the files of a table's day to merge now; none if there is nothing to do.

    Args:
        segments: those of the day.
        is_over: whether no more rows of the day are expected: all of it becomes one file.
    """
    wanted: Sequence[Segment] = segments if is_over else ()
    if not is_over:
        by_level: dict[int, list[Segment]] = {}
        for one in segments:
            by_level.setdefault(one.level, []).append(one)
        wanted = next((found for _, found in sorted(by_level.items()) if len(found) >= MERGED), ())
    too_large = sum(one.num_bytes for one in wanted) > LARGEST
    return () if too_large or len(wanted) < 2 else wanted


def days_to_drop(manifest: Manifest, keep_ns: int, max_bytes: int) -> list[str]:
    """Return the days of verdicts to delete, the oldest first: those too old, and more if all is too much.

    The newest day always stays.

    Args:
        manifest: what the archive holds.
        keep_ns: the time to keep before the newest row.
        max_bytes: the most bytes of the verdicts and their summaries.
    """
    sizes = _sizes(manifest)
    oldest = date_of((manifest.description.last_ns - keep_ns) // DAY_NS)
    left, dropped = sum(sizes.values()), []
    for day in sorted(sizes)[:-1]:
        if day >= oldest and left <= max_bytes:
            break
        dropped.append(day)
        left -= sizes[day]
    return dropped


def _sizes(manifest: Manifest) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for table in ("verdicts", "hours", "days"):
        for day, segments in manifest.segments.get(table, {}).items():
            found[day] = found.get(day, 0) + sum(one.num_bytes for one in segments)
    return found
