"""Every case of the suite: importing a module of cases lists its cases."""

from __future__ import annotations

from tests.trust import count_cases, decided_cases, drift_cases, wide_cases
from tests.trust.cases import CASES, Case, Check

MODULES = (decided_cases, wide_cases, count_cases, drift_cases)

__all__ = ["CASES", "MODULES", "Case", "Check"]
