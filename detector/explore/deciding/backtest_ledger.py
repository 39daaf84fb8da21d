"""The decisions about a backtest: those that it repeated, and those written since, in `decisions.jsonl`.

`backtest --decisions` reads that file. It begins with what the backtest repeated.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.durable import make_durable
from detector.delivery.decision_records import decode_decision, encode_decision
from detector.errors import DetectorError
from detector.explore.deciding.ledger import Entry, LedgerError, entry_of
from detector.incidents.decision import Decision
from detector.offline.backtest_record import RECORD
from detector.offline.decisions_file import read_decisions

FILE = "decisions.jsonl"
_LOCK = ".decisions.lock"
_NO_ROW = "no row of the series came after it"


class BacktestLedger:
    """Writes `decisions.jsonl` into the directory of a backtest."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._path = directory, directory / FILE
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """The file."""
        return str(self._path)

    def write(self, decision: Decision) -> None:
        """Append a decision. The file is whole at every moment, and durable when this returns."""
        try:
            with self._alone():
                before = self._path.read_bytes() if self._path.exists() else self._repeated()
                if before and not before.endswith(b"\n"):
                    before += b"\n"
                scratch = self._directory / f".{FILE}.part"
                with scratch.open("wb") as file:
                    file.write(before + encode_decision(decision) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                scratch.replace(self._path)
                make_durable(self._directory)
        except OSError as error:
            raise LedgerError(
                f"{self._path}: cannot be written: {error.strerror}; give this user the right to write there"
            ) from error

    def entries(self) -> Sequence[Entry]:
        """Return what the backtest repeated, and what was written since."""
        try:
            records = {one["id"]: one for one in self._record().get("decisions", [])}
            written = read_decisions(self._path) if self._path.exists() else []
        except (DetectorError, OSError, ValueError) as error:
            raise LedgerError(f"decisions about this backtest cannot be read: {error}") from error
        found = {}
        for record in records.values():
            decision = decode_decision(json.dumps(record).encode())
            if decision is not None:
                outcome, reason = record.get("outcome") or "ignored", record.get("reason") or _NO_ROW
                found[decision.id] = entry_of(decision, outcome, reason)
        found |= {one.id: entry_of(one, None) for one in written if one.id not in found}
        return tuple(found.values())

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def command(self) -> str | None:
        """Return the command of the backtest with these decisions; without one, what to give to it."""
        option = f"--decisions {shlex.quote(str(self._path.resolve()))}"
        try:
            words = shlex.split(self._record().get("command", ""))
        except (OSError, ValueError):
            words = []
        if words[:2] != ["streamgauge", "backtest"]:
            return f"streamgauge backtest MODEL DATA {option}"
        return f"{shlex.join(_without_decisions(words))} {option}"

    def _record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._directory / RECORD).read_bytes())
        return found

    def _repeated(self) -> bytes:
        lines = [json.dumps(one).encode() + b"\n" for one in self._record().get("decisions", [])]
        return b"".join(lines)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the file against other threads and processes."""
        with self._lock, (self._directory / _LOCK).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _without_decisions(words: Sequence[str]) -> list[str]:
    """Return a command without the option `--decisions`.

    >>> _without_decisions(["streamgauge", "backtest", "--decisions", "a", "m", "--decisions=b", "d"])
    ['streamgauge', 'backtest', 'm', 'd']
    """
    found, skips = [], False
    for word in words:
        if not skips and word != "--decisions" and not word.startswith("--decisions="):
            found.append(word)
        skips = word == "--decisions" and not skips
    return found
