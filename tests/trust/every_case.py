"""Every case of the suite: importing a module of cases lists its cases."""

from __future__ import annotations

from tests.trust import decided_cases, mode_cases, season_cases, wide_cases
from tests.trust.cases import CASES, Case, Check

MODULES = (decided_cases, wide_cases, season_cases, mode_cases)

__all__ = ["CASES", "MODULES", "Case", "Check"]
