"""What `streamgauge config test-notify` does."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connectors.http_post import Answer, Poster
from detector.config.load import load_config
from detector.config.notify_schema import NotifySection
from detector.errors import ConfigError
from detector.notify.notice import ChannelWords, Notice
from detector.notify.notifiers import parts_of
from detector.notify.receivers import Sender

DONE, FAILED = 0, 1
_SERIES = "streamgauge-test"


@dataclass(frozen=True, slots=True)
class _Told:
    section: NotifySection
    sender: Sender
    poster: Poster


def test_notify(args: argparse.Namespace) -> int:
    """`streamgauge config test-notify`: a test incident and its end to each receiver, one attempt each."""
    config = load_config(Path(args.file))
    parts = [_Told(*some) for some in parts_of(config) if args.only in {None, some[0].name}]
    if not parts:
        names = ", ".join(section.name for section in config.notify) or "none"
        raise ConfigError(f"{args.file}: no [[notify]] to test; there are: {names}")
    opened = datetime.now(UTC)
    fine = [_tell(one, _notice("opened", opened)) for one in parts]
    time.sleep(max(0.0, args.hold))
    fine += [_tell(one, _notice("resolved", opened)) for one in parts]
    return DONE if all(fine) else FAILED


def _notice(event: str, opened: datetime) -> Notice:
    """Nothing is wrong, and it says so; critical, so that every filter lets it through."""
    now = datetime.now(UTC)
    resolved = event == "resolved"
    return Notice(
        event=event,
        id=f"test-{round(opened.timestamp() * 1000)}",
        series=_SERIES,
        severity="critical",
        state="resolved" if resolved else "firing",
        start=opened,
        at=now,
        model="test",
        end=now if resolved else None,
        peak_score=1.0,
        channels=(ChannelWords("test-of-notifications", 1.0, 1.0, 0.0, -1.0, 1.0),),
    )


def _tell(one: _Told, notice: Notice) -> bool:
    answer: Answer = one.poster.post(*one.sender.request(notice))
    if answer.outcome == "delivered":
        one.sender.told(notice, time.time())
    print(f"{one.section.name} ({one.section.kind}): {notice.event}: {answer.outcome}: {answer.reason}")
    return answer.outcome == "delivered"
