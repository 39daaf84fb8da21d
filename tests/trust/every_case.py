"""Every case of the suite: importing a module of cases lists its cases."""

from __future__ import annotations

from tests.trust import (
    clean_cases,
    count_cases,
    decided_cases,
    drift_cases,
    mode_cases,
    season_cases,
    wide_cases,
)
from tests.trust.cases import CASES, Case, Check

MODULES = (clean_cases, count_cases, decided_cases, drift_cases, mode_cases, season_cases, wide_cases)

__all__ = ["CASES", "MODULES", "Case", "Check"]
