"""Whether new verdicts come, and if not, why: what an engineer at night must know first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from connectors.errors import KafkaError
from connectors.kafka.admin.watched_group import GroupFacts, watch
from detector.config.input.topics import own_topics
from detector.config.load import Config
from detector.explore.source import Group

_LOOK_SECONDS, _TIMEOUT_SECONDS = 3.0, 5.0
_INTERVALS, _LEAST_SECONDS = 3, 15.0
Kind = Literal["store", "broker", "archive", "daemon", "silent"]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the pages do not show what happens now.

    kind      store: the store cannot be read; broker: the cluster does not answer;
              archive: what comes cannot be kept;
              daemon: the group has no process; silent: no verdict comes
    since_ns  since when it was seen; of `silent` the last verdict
    words     what is wrong, for people
    """

    kind: Kind
    since_ns: int
    words: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at one look.

    unreachable  why the cluster does not answer; "" if it does
    archive      why the archive cannot go on; "" if it can
    group        the group from outside
    is_fed       whether a verdict came within the patience
    is_read      whether readings came meanwhile; None: unknown
    """

    unreachable: str
    archive: str
    group: GroupFacts
    is_fed: bool
    is_read: bool | None


def diagnosis(seen: Seen, config: Config) -> tuple[Kind, str] | None:
    """Return what is wrong, the nearest cause first; None if all is well."""
    group, read = config.kafka.group_id, config.kafka.shown
    if seen.unreachable:
        return "broker", f"The Kafka cluster does not answer: {seen.unreachable}."
    if seen.group.members == 0:
        return "daemon", f"No process of group {group} runs: nothing is judged. Start `streamgauge run`."
    if seen.archive:
        return "archive", f"New verdicts cannot be kept: {seen.archive}."
    if seen.is_fed or config.output.scores != "all":
        return None
    if seen.is_read:
        return "silent", f"Readings arrive in {read}, and group {group} gives no verdict: see its log."
    why = "nobody sends readings" if seen.is_read is False else "readings have stopped, or it stands still"
    return "silent", f"Group {group} gives no verdict: {why}. It reads {read}."


class Health:
    """Asks the cluster again and again, in the thread that calls `run`. Any thread may read `trouble`.

    Args:
        group: the group.
        interval_ns: the length of a row.
        archive_problem: why the archive cannot go on; "" if it can.
    """

    def __init__(self, group: Group, interval_ns: int, archive_problem: Callable[[], str]) -> None:
        self._group, self._archive_problem = group, archive_problem
        self._patience_ns = max(_INTERVALS * interval_ns, round(_LEAST_SECONDS * 1e9))
        self._fed_ns = time.time_ns()
        self._facts = GroupFacts(None, None)
        self._moved_ns = 0
        self.trouble: Trouble | None = None

    def feed(self) -> None:
        """Take in that new verdicts came."""
        self._fed_ns = time.time_ns()

    def run(self, stop: threading.Event) -> None:
        """Ask until `stop` is set."""
        while not stop.is_set():
            try:
                self.look()
            except Exception as error:  # a thread that ended here would leave pages that look live
                logging.getLogger(__name__).debug("cannot look at the group", exc_info=True)
                words = f"Nobody watches over the group: {type(error).__name__}: {error}."
                if self.trouble is None or self.trouble.words != words:
                    self.trouble = Trouble("broker", time.time_ns(), words)
            stop.wait(_LOOK_SECONDS)

    def look(self) -> None:
        """Ask once."""
        kafka, unreachable = self._group.config.kafka, ""
        now = time.time_ns()
        try:
            wanted = kafka.topics or (kafka.topic,)
            own = own_topics(self._group.config.output.prefix)
            facts = watch(self._group.connection, kafka.group_id, wanted, own, _TIMEOUT_SECONDS)
        except KafkaError as error:
            unreachable = str(error)
        else:
            if facts.readings != self._facts.readings:
                self._moved_ns = now
            self._facts = facts
        is_read = None if self._facts.readings is None else now - self._moved_ns < self._patience_ns
        is_fed = now - self._fed_ns < self._patience_ns
        found = diagnosis(
            Seen(unreachable, self._archive_problem(), self._facts, is_fed, is_read), self._group.config
        )
        if found is None:
            self.trouble = None
            return
        kind, words = found
        before = self.trouble
        began = self._fed_ns if kind == "silent" else now
        if before is not None and before.kind == kind:
            began = before.since_ns
        self.trouble = Trouble(kind, began, words)
