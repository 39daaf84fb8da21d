"""Requests of every kind of receiver: bodies, keys, words, templates; no secret and no code in them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from detector.config.notify_schema import NotifySection
from detector.errors import ConfigError
from detector.notify.alertmanager import Alertmanager
from detector.notify.notice import (
    Notice,
    NoticeChannel,
    NoticeDecision,
    NoticeLearnt,
    NoticeUnjudged,
    description,
    parse,
    summary,
    time_text,
)
from detector.notify.receivers import receiver_of
from detector.notify.templates import parse_template, render
from tests.detector.notify.notices import START_NS, message

NOW = START_NS / 1e9 + 7200


def notice(*args: Any, **options: Any) -> Notice:
    return parse(message(*args, **options).value)


def section(kind: str = "webhook", **options: Any) -> NotifySection:
    return NotifySection(name="n", kind=kind, url="http://x", **options)


def body_of(made: NotifySection, change: Notice) -> Any:
    return json.loads(receiver_of(made).request(change)[0])


def alerts_of(receiver: Alertmanager, change: Notice) -> list[dict]:
    return json.loads(receiver.request(change)[0])


def test_a_message_of_the_alerts_topic_is_put_into_words() -> None:
    opened = notice("opened")
    said = "pump-1: flow at 7.76, expected 5.08 to 5.61, since 14:13:20 UTC"
    assert summary(opened) == opened.sentence == said
    assert said in description(opened)
    older = msgspec.structs.replace(opened, sentence=None)
    assert summary(older) == "pump-1: flow is 7.764, expected 5.081 to 5.61"
    assert "highest score since its start: 1.5" in description(opened)
    assert summary(notice("resolved")).startswith("pump-1 is back to normal (warning since 20")


def lasting_of(change: Notice, **fields: Any) -> Notice:
    """The change of an incident that is offered as lasting, unless `fields` say otherwise."""
    return msgspec.structs.replace(change, lasting_since=change.at, **fields)


@pytest.mark.parametrize("event", ["lasting", "escalated"])
def test_an_incident_that_waits_for_a_decision_has_the_commands_that_decide(event: str) -> None:
    opened = notice("opened")
    now = NoticeChannel("flow", 0.9, 6.1, 5.345, 5.081, 5.61)
    lasting = lasting_of(opened, event=event, newest=(now,))
    since = f"pump-1: an incident lasts since {time_text(opened.start)}"
    assert summary(lasting) == f"{since}: flow is 6.1 now, expected 5.081 to 5.61"
    assert "flow is 7.764 at worst, expected 5.081 to 5.61" in description(lasting)
    for words in ("accept", "reject"):
        assert f"streamgauge {words} {opened.id} --config FILE" in description(lasting)
    assert "streamgauge mute pump-1 --for 2h" in description(lasting)


def test_the_commands_are_left_out_before_an_incident_lasts_and_once_it_is_decided_or_over() -> None:
    rejected = NoticeDecision("reject", "ada", "worn")
    for change in (
        notice("opened"),
        notice("escalated"),
        lasting_of(notice("escalated"), decision=rejected),
        lasting_of(notice("resolved")),
    ):
        assert "streamgauge" not in description(change)


def test_an_accepted_incident_has_what_was_learnt() -> None:
    decision = NoticeDecision("accept", "ada", "new pump", learnt=(NoticeLearnt("flow", 5.3, 7.8),))
    over = lasting_of(notice("resolved"), ending="accepted", decision=decision)
    assert summary(over) == "pump-1: accepted as normal by ada (new pump): flow from 5.3 to 7.8"
    for event in ("muted", "ignored"):
        assert not msgspec.structs.replace(notice("opened"), event=event).matches(("*",), "info")


@pytest.mark.parametrize("waits", [False, True])
def test_small_departures_are_not_compared_with_the_band_of_a_single_row(waits: bool) -> None:
    value = NoticeChannel("b", 0.9, 6.565, 5.1)
    fields: dict[str, Any] = {"reason": "cumulative", "peak_score": 0.4, "channels": (value,)}
    change = msgspec.structs.replace(notice("opened"), sentence=None, **fields)
    if waits:
        change = lasting_of(change, event="lasting", newest=(value,))
    now = " now" if waits else ""
    words = f"b departs a little from what follows from the others, row after row: 6.565{now} where 5.1 is"
    assert words in summary(change)
    assert words in description(change)
    assert "have added up" in description(change)


def test_an_expected_value_that_history_limits_says_so() -> None:
    value = NoticeChannel("b", 0.9, 60.0, 30.0, 28.0, 32.0, clipped=True)
    change = msgspec.structs.replace(notice("opened"), sentence=None, channels=(value,))
    assert "b is 60, expected 28 to 32, the edge of what history showed" in summary(change)
    known = msgspec.structs.replace(value, clipped=False)
    assert "edge" not in summary(msgspec.structs.replace(change, channels=(known,)))


@pytest.mark.parametrize(
    ("reason", "decision", "words"),
    [
        ("score", None, " ends undecided"),
        ("score", NoticeDecision("reject", "ada"), " ends"),
        ("silent", None, " ends"),
    ],
)
def test_the_incident_of_a_forgotten_series_says_how_it_ends(
    reason: str, decision: NoticeDecision | None, words: str
) -> None:
    resolved = notice("resolved")
    gone = msgspec.structs.replace(resolved, ending="retired", reason=reason, decision=decision)
    start = time_text(resolved.start)
    assert summary(gone) == (
        f"pump-1 sends nothing any more and was forgotten; its incident since {start}{words}"
    )


@pytest.mark.parametrize(
    ("reason", "words"), [("silent", "sends nothing"), ("stream_silent", "every series")]
)
def test_silence_is_put_into_words(reason: str, words: str) -> None:
    assert words in summary(
        msgspec.structs.replace(notice("opened"), sentence=None, reason=reason, channels=())
    )


@pytest.mark.parametrize("value", [b"", b"{}", b"[]", b"{oops", b"\xff", b'{"event": 1}', b"null"])
def test_a_value_that_is_not_an_incident_is_a_value_error(value: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # the decoder has several
        parse(value)


@pytest.mark.parametrize("end", ["2026-10-01T12:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_without_zone_or_before_year_1_is_a_value_error(end: str) -> None:
    body = json.loads(message("resolved").value)
    with pytest.raises(ValueError, match=r"time zone|year"):
        parse(json.dumps({**body, "end": end}).encode())


def test_the_key_is_the_same_for_the_same_change_and_differs_for_others() -> None:
    kinds = ("opened", "escalated", "resolved")
    keys = {notice(kind, f"pump-{n}").key for kind in kinds for n in range(3)}
    assert len(keys) == 9
    assert notice("opened").key == notice("opened").key


def test_patterns_and_severities_filter_changes() -> None:
    warning, critical = notice(series="pump-1"), notice(series="fan-1", severity="critical")
    assert warning.matches(("pump-*",), "warning")
    assert not warning.matches(("pump-*",), "critical")
    assert not critical.matches(("pump-*", "valve-?"), "critical")
    assert critical.matches(("pump-*", "f*"), "critical")


def test_the_default_body_holds_the_message_its_words_and_labels() -> None:
    body = body_of(section(labels={"team": "water"}, link="http://g/{series}"), notice(series="pump 1/a"))
    assert body["link"] == "http://g/pump%201%2Fa"
    assert (body["event"], body["severity"], body["labels"]) == ("opened", "warning", {"team": "water"})
    assert body["channels"][0]["actual"] == 7.764
    assert body["end"] is None


def test_slack_gets_no_commands_from_a_series_name() -> None:
    body = body_of(section("slack"), notice(series="<!channel> & co"))
    assert "&lt;!channel&gt; &amp; co" in body["text"]
    assert "<!" not in json.dumps(body)
    assert (
        body["attachments"][0]["color"]
        != body_of(section("slack"), notice("resolved"))["attachments"][0]["color"]
    )


def test_pagerduty_triggers_and_resolves_under_one_key_within_its_bounds() -> None:
    pagerduty = NotifySection(name="p", kind="pagerduty", routing_key="R0UTE")
    bodies = [body_of(pagerduty, notice(kind, "p" * 2000)) for kind in ("opened", "escalated", "resolved")]
    assert [body["event_action"] for body in bodies] == ["trigger", "trigger", "resolve"]
    assert len({body["dedup_key"] for body in bodies}) == 1
    assert {body["routing_key"] for body in bodies} == {"R0UTE"}
    assert all(len(body["payload"]["summary"]) <= 1024 for body in bodies)
    assert "client_url" not in bodies[0]
    assert bodies[0]["payload"]["custom_details"]["actual"] == 7.764


def test_a_users_template_keeps_types_and_no_value_breaks_out_of_it(tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    file.write_text('{"a": "$series", "b": "$peak_score", "c": ["<$series> $$5 ${end}"], "d": 7, "e": null}')
    body = body_of(section(template_file=str(file)), notice(series='x", "admin": true, "y": "$id'))
    name = 'x", "admin": true, "y": "$id'
    assert body == {"a": name, "b": 1.5, "c": [f"<{name}> $5 "], "d": 7, "e": None}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1: not JSON"),
        ('{"a":\n "$serie"}', "did you mean $series?"),
        ('{"a": "5$"}', "write $$ for a dollar sign"),
        ('{"a": "$routing_key"}', "unknown $routing_key"),
        ("[" * 100_000, ""),
    ],
)
def test_an_invalid_template_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "body.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="template_file") as caught:
        receiver_of(section(template_file=str(file)))
    assert words in str(caught.value)


@given(st.text(), st.text())
def test_a_value_comes_back_from_a_template_as_it_was(value: str, other: str) -> None:
    template = parse_template('{"one": "$a", "in": "[${a}|$b]"}', {"a": 0, "b": 0})
    found = json.loads(json.dumps(render(template, {"a": value, "b": other})))
    assert found == {"one": value, "in": f"[{value}|{other}]"}


def alertmanager() -> Alertmanager:
    return Alertmanager({"team": "water"}, "", 3600, clock=lambda: NOW)


def test_labels_are_identity_and_values_are_annotations() -> None:
    [alert] = alerts_of(alertmanager(), notice("opened"))
    assert alert["labels"] == {
        "alertname": "StreamgaugeAnomaly", "team": "water", "series": "pump-1", "model": "pump",
        "incident": notice().id, "reason": "score", "severity": "warning", "channel": "flow",
    }  # fmt: skip
    assert alert["annotations"]["peak_score"] == "1.5"
    assert alert["annotations"]["actual"] == "7.764"
    assert datetime.fromisoformat(alert["endsAt"]) == datetime.fromtimestamp(NOW + 3600, UTC)


def test_an_escalation_ends_the_alert_of_the_lower_severity_in_the_same_request() -> None:
    receiver = alertmanager()
    receiver.delivered(notice("opened"), NOW)
    alerts = alerts_of(receiver, notice("escalated", severity="critical", channel="pressure"))
    assert [(a["labels"]["severity"], a["labels"]["channel"]) for a in alerts] == [
        ("warning", "flow"),
        ("critical", "pressure"),
    ]
    ends = [datetime.fromisoformat(alert["endsAt"]).timestamp() for alert in alerts]
    assert ends == [NOW, NOW + 3600]


def repeated(receiver: Alertmanager) -> list[tuple[str, str, bool]]:
    """Return series, severity and whether it fires, for every repeated alert."""
    alerts = [alert for body, _ in receiver.repeats() for alert in json.loads(body)]
    return [
        (
            a["labels"]["series"],
            a["labels"]["severity"],
            datetime.fromisoformat(a["endsAt"]).timestamp() > NOW,
        )
        for a in alerts
    ]


def test_firing_alerts_repeat_and_ended_ones_repeat_for_15_minutes() -> None:
    receiver = alertmanager()
    for series in ("pump-1", "pump-2", "pump-3"):
        receiver.delivered(notice("opened", series), NOW)
    receiver.delivered(notice("escalated", "pump-1", severity="critical"), NOW)
    receiver.delivered(notice("resolved", "pump-2"), NOW)
    receiver.delivered(notice("resolved", "pump-3"), NOW - 1000)
    assert repeated(receiver) == [
        ("pump-1", "critical", True),
        ("pump-1", "warning", False),
        ("pump-2", "warning", False),
    ]
    receiver.clear()
    assert repeated(receiver) == []


def test_times_later_than_the_clock_do_not_keep_an_ended_alert_firing() -> None:
    early = Alertmanager({}, "", 3600, clock=lambda: START_NS / 1e9 - 500)
    [alert] = alerts_of(early, notice("resolved"))
    now = datetime.fromtimestamp(START_NS / 1e9 - 500, UTC)
    assert datetime.fromisoformat(alert["startsAt"]) == datetime.fromisoformat(alert["endsAt"]) == now


def test_many_alerts_go_out_in_requests_of_bounded_size() -> None:
    receiver = alertmanager()
    for number in range(1201):
        receiver.delivered(notice("opened", f"pump-{number}"), NOW)
    assert [len(json.loads(body)) for body, _ in receiver.repeats()] == [500, 500, 201]


def test_a_section_never_shows_its_secrets() -> None:
    made = section(bearer_token="hunter2", basic_password=SecretStr("hunter2"))
    assert "hunter2" not in repr(made) + str(made.model_dump()) + str(made.model_dump_json())


@pytest.mark.parametrize(
    ("why", "mode", "words"),
    [
        ("no_data", None, "no data since 2026-"),
        ("no_channel", None, "no data of flow since 2026-"),
        ("mode", "off", ", mode off"),
        ("warming", None, ", too few values for a window"),
    ],
)
def test_an_incident_that_cannot_be_judged_says_since_when_and_why(
    why: str, mode: str | None, words: str
) -> None:
    opened = notice("opened")
    assert "no data" not in summary(opened) + description(opened)
    blind = NoticeUnjudged(opened.start, why, mode)
    change = msgspec.structs.replace(opened, event="unjudged", unjudged=blind)
    assert words in summary(change)
    assert summary(change).startswith(summary(opened))
    assert "nobody knows whether it goes on, so it stays open" in description(change)
    over = msgspec.structs.replace(change, event="resolved", state="resolved", ending="retired")
    assert words not in summary(over) + description(over)


def test_people_are_told_once_that_an_incident_cannot_be_judged() -> None:
    opened = notice("opened")
    first, later = (NoticeUnjudged(opened.start, "mode", "off", spell) for spell in (1, 2))
    changes = {
        "opened": opened,
        "first": msgspec.structs.replace(opened, event="unjudged", unjudged=first),
        "worse": msgspec.structs.replace(opened, event="escalated", unjudged=later),
        "judged": msgspec.structs.replace(opened, event="judged"),
        "later": msgspec.structs.replace(opened, event="unjudged", unjudged=later),
    }
    assert [name for name, one in changes.items() if one.is_update] == ["judged", "later"]
