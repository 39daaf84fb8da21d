"""What the slow tier runs is what is shipped, but for its durations. Fast: it runs with all tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.monitoring.files import ALERTMANAGER, PROMETHEUS, RULES, output_of
from tests.operations.scaling import scaled

SHIPPED = [*RULES, PROMETHEUS, ALERTMANAGER]
DURATION = re.compile(r"\b\d+(?:ms|s|m|h|d|w)\b")


def in_ms(duration: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", duration).groups()
    return int(number) * {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000, "w": 604800000}[unit]


def without_comments(text: str) -> str:
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_duration_is_divided_and_nothing_else_is_changed(path: Path) -> None:
    before, after = without_comments(path.read_text()), without_comments(scaled(path.read_text(), 15))
    assert DURATION.sub("", before) == DURATION.sub("", after)
    was, now = ([in_ms(one) for one in DURATION.findall(text)] for text in (before, after))
    assert was
    assert now == [one // 15 for one in was]


def test_promtool_takes_the_scaled_rules(tmp_path: Path) -> None:
    for path in RULES:
        (tmp_path / path.name).write_text(scaled(path.read_text(), 15))
    output_of("promtool", "check", "rules", *sorted(tmp_path.glob("*.yml")))
