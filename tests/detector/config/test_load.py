"""Configuration: every problem at once, with its place and remedy; secrets never shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config.engine_options import engine_options, rules_of
from detector.config.example import example
from detector.config.incident_schema import (
    CHANNEL_EXAMPLE,
    MAINTENANCE_EXAMPLE,
    UNITS_EXAMPLE,
    ChannelSection,
    MaintenanceSection,
)
from detector.config.load import Config, load_config, load_connection, parse_duration
from detector.config.tables import fields_of
from detector.config.types import duration_text
from detector.engine.engine import EngineOptions
from detector.errors import ConfigError
from detector.incidents.filters.maintenance import Maintenance, OneOff, Recurring
from detector.incidents.rules import ChannelRule, FoldRules, WatchdogRules
from detector.scoring.cold.learnt_scales import ColdOptions

SECRETS = {
    *(
        ("kafka", "sasl_password"),
        ("kafka", "ssl_key_password"),
        ("http", "password"),
        ("schema_registry", "password"),
        ("mqtt", "password"),
    ),
    *(("notify", "routing_key"), ("notify", "bearer_token"), ("notify", "basic_password")),
}
GOOD = '[model]\npath = "models/pump"\n\n[kafka]\ntopic = "readings"\n'


def write(directory: Path, text: str) -> Path:
    path = directory / "streamgauge.toml"
    path.write_text(text)
    return path


def problems(directory: Path, text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(directory, text), environ or {})
    return str(caught.value).replace(str(directory), "")


def test_the_example_is_valid_and_states_every_default(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, example()), {}) == load_config(write(tmp_path, GOOD), {})


def test_every_commented_default_of_the_example_can_be_uncommented(tmp_path: Path) -> None:
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line and ' = ""' not in line else line
        for line in example().splitlines()[2:]
    ]
    assert load_config(write(tmp_path, "\n".join(lines)), {}) == load_config(write(tmp_path, GOOD), {})


def test_the_dates_in_the_comments_of_the_calendar_are_accepted(tmp_path: Path) -> None:
    found = re.findall(r"^# (\w+) = \[\]  # .*such as (\[.*\])$", example(), re.MULTILINE)
    assert {key for key, _ in found} == {"holidays", "saturdays", "workdays"}
    text = example()
    for key, dates in found:
        text = re.sub(rf"^# {key} = \[\]", f"{key} = {dates}", text, flags=re.MULTILINE)
    text = text.replace("# drift = true", "drift = false").replace(
        '# on_holidays = "sunday"', 'on_holidays = "muted"'
    )
    rules = rules_of(load_config(write(tmp_path, text), {}))
    assert rules.without == ("drift",)
    assert dict(rules.special_days) == {"2026-12-25": -1, "2026-12-24": 5, "2026-05-02": 2}


def test_every_duration_of_the_example_has_its_unit_and_reads_back() -> None:
    text, num = example(), 0
    for name, section in Config.model_fields.items():
        if name in ("channels", "maintenance"):  # their examples are written by hand
            continue
        for key, field in fields_of(section.annotation)[0].items():
            if "parse_duration" not in repr(field) or field.default is None:
                continue
            shown = set(re.findall(rf'^#? ?{key} = "(\S+)"  #', text, re.MULTILINE))
            assert parse_duration(field.default) in {parse_duration(one) for one in shown}, f"{name}.{key}"
            num += 1
    assert num >= 20
    assert 'forget_after = "7d"' in text
    assert 'lasting_after = "6h"' in text


@given(st.one_of(st.integers(0, 10**9), st.integers(0, 3000).map(lambda weeks: 3600 * weeks)))
def test_a_duration_reads_back_from_its_text(seconds: int) -> None:
    assert parse_duration(duration_text(float(seconds))) == seconds


def test_every_key_of_every_section_is_in_the_example_but_the_secrets() -> None:
    text = example()
    for name, section in Config.model_fields.items():
        if not hasattr(section.annotation, "model_fields"):
            continue  # any number of tables: see below
        assert f"[{name}]" in text
        for key in fields_of(section.annotation)[0]:
            shown = re.search(rf"^(# ?)?{key} = ", text, re.MULTILINE)
            assert bool(shown) == ((name, key) not in SECRETS), f"{name}.{key}"


def test_unknown_keys_and_sections_come_with_the_nearest_name(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + 'topik = "x"\n\n[htpp]\nport = 1\n')
    assert "/streamgauge.toml:6: [kafka] topik: unknown key `topik`; did you mean `topic`?" in found
    assert "/streamgauge.toml:8: [htpp]: unknown section `htpp`; did you mean `http`?" in found


def test_all_problems_are_told_at_once_with_lines(tmp_path: Path) -> None:
    text = '[model]\n\n[kafka]\ntopic = 5\nstartup_timeout = "soon"\n\n[http]\nport = 70000\n'
    found = problems(tmp_path, text).splitlines()
    assert len(found) == 4
    assert found[0] == "/streamgauge.toml:1: [model] path: missing; this value has no default"
    assert any("[kafka] startup_timeout: 'soon' is not a duration such as 30s" in line for line in found)
    assert any(line.startswith("/streamgauge.toml:8: [http] port:") for line in found)


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    environ = {
        "STREAMGAUGE_KAFKA__TOPIC": "other",
        "STREAMGAUGE_KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2",
        "STREAMGAUGE_HTTP__PORT": "0",
        "STREAMGAUGE_SERVICE__STALE_AFTER": "2m",
    }
    config = load_config(write(tmp_path, GOOD), environ)
    assert config.kafka.topic == "other"
    assert config.kafka.bootstrap_servers == ("a:1", "b:2")
    assert (config.http.port, config.service.stale_after) == (0, 120.0)


def test_a_problem_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD, {"STREAMGAUGE_LOG__LEVEL": "loud"})
    assert found.startswith("STREAMGAUGE_LOG__LEVEL: [log] level:")


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + 'sasl_password = "hunter2"\n')
    assert "STREAMGAUGE_KAFKA__SASL_PASSWORD" in found
    assert "hunter2" not in found


def test_a_password_from_the_environment_or_a_file_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    named = GOOD + f'sasl_password_file = "{tmp_path / "secret"}"\n'
    for text, environ in ((GOOD, {"STREAMGAUGE_KAFKA__SASL_PASSWORD": "hunter2"}), (named, {})):
        config = load_config(write(tmp_path, text), environ)
        assert config.kafka.sasl_password is not None
        assert config.kafka.sasl_password.get_secret_value() == "hunter2"
        assert "hunter2" not in repr(config) + str(config.model_dump())


def test_a_missing_password_file_is_named(tmp_path: Path) -> None:
    assert "sasl_password_file: /nowhere: No such file" in problems(
        tmp_path, GOOD + 'sasl_password_file = "/nowhere"\n'
    )


def test_a_missing_file_and_bad_toml_are_errors_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: No such file.*streamgauge config init"):
        load_config(tmp_path / "nothing.toml", {})
    assert "not valid TOML" in problems(tmp_path, "[model\n")


def test_m_of_n_is_checked_across_keys(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + "\n[incidents]\nfor_rows = 5\nof_rows = 3\n")
    assert "[incidents]: for_rows 5 must be at most of_rows 3" in found


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("5m", 300), ("1.5h", 5400), ("250ms", 0.25), ("1d", 86400), (7, 7)]
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "-1s", True])
def test_other_durations_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    "text",
    [
        GOOD + "startup_timeout = " + "9" * 5_000,
        GOOD + "startup_timeout = 0x" + "f" * 5_000,
        GOOD + "group_id = 0x" + "f" * 5_000,
        GOOD + "group_id = " + "[" * 5_000 + "]" * 5_000,
        GOOD + "group_id = \xff",
    ],
    ids=["digits", "hexadecimal duration", "hexadecimal text", "nesting", "not UTF-8"],
)
def test_what_python_cannot_show_or_nest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "streamgauge.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"streamgauge\.toml") as caught:
        load_config(path, {})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "duration", [1e300, float("inf"), float("nan"), 10**400, "9" * 400 + "s", "5200000w"]
)
def test_a_duration_is_at_most_a_century(duration: object) -> None:
    assert parse_duration("36525d") == 100 * 365.25 * 86400
    with pytest.raises(ValueError, match="at most 100 years"):
        parse_duration(duration)


def test_an_override_does_not_hide_that_a_section_is_no_table(tmp_path: Path) -> None:
    found = problems(
        tmp_path, "kafka = [1]\n" + GOOD.split("\n[kafka]", maxsplit=1)[0], {"STREAMGAUGE_KAFKA__TOPIC": "x"}
    )
    assert "[kafka]" in found


@pytest.mark.parametrize("content", [b"hunter2\xff", None], ids=["not UTF-8", "no path at all"])
def test_a_password_file_that_cannot_be_read_is_named_and_not_shown(
    tmp_path: Path, content: bytes | None
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(content or b"")
    name = str(secret) if content else "a\\u0000b"
    found = problems(tmp_path, GOOD + f'sasl_password_file = "{name}"\n')
    assert "[kafka] sasl_password_file" in found
    assert "hunter2" not in found


def test_counts_that_no_memory_holds_are_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD + "[incidents]\nfor_rows = 5\nof_rows = 1000000000000\n")
    assert "[incidents] of_rows: Input should be less than or equal to 10000, found 1000000000000" in found


RULES = """
[incidents]
min_duration = "2m"
cooldown = "1h"
flap_incidents = 4
flap_window = "30m"
settle_rows = 3
fold_series = 5
fold_window = "90s"

[watchdog]
series_after = "10m"
stream_after = "2m"

[channels.pressure]
direction = "above"
min_absolute = 0.5
valid_min = 0

[channels."inlet flow"]
min_relative = 0.02

[[maintenance]]
name = "overhaul"
series = ["line-2-*"]
start = 2026-10-01T06:00:00Z
end = 2026-10-01T14:00:00
zone = "Europe/Berlin"

[[maintenance]]
weekdays = ["sat", "sun"]
time = "02:00"
duration = "90m"
"""


def test_every_rule_of_the_file_becomes_a_rule_of_the_engine(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + RULES), {})
    rules = rules_of(config, ["pressure", "inlet flow"])
    minute = 60 * 10**9
    assert (rules.min_duration_ns, rules.cooldown_ns, rules.settle_rows) == (2 * minute, 60 * minute, 3)
    assert (rules.flap_incidents, rules.flap_window_ns) == (4, 30 * minute)
    assert rules.fold == FoldRules(5, 90 * 10**9)
    assert rules.watchdog == WatchdogRules(10 * minute, 2 * minute)
    assert rules.channels == {
        "pressure": ChannelRule("above", 0.5, valid_min=0.0),
        "inlet flow": ChannelRule(min_relative=0.02),
    }
    overhaul, weekend = rules.maintenance
    start = round(datetime(2026, 10, 1, 6, tzinfo=UTC).timestamp()) * 10**9
    assert overhaul == Maintenance(OneOff(start, start + 6 * 60 * minute), ("line-2-*",), "overhaul")
    assert weekend == Maintenance(Recurring(frozenset([5, 6]), time(2), 90 * minute, "UTC"))


def test_without_rules_of_the_file_the_engine_has_the_plain_ones(tmp_path: Path) -> None:
    text = f"{GOOD}[service]\nthreads = 1\n"
    plain = EngineOptions(stale_after_ns=300 * 10**9, forget_after_ns=7 * 86_400 * 10**9)
    assert engine_options(load_config(write(tmp_path, text), {})) == plain


def test_the_example_of_channels_and_maintenance_is_valid_once_uncommented(tmp_path: Path) -> None:
    blocks = "\n".join((CHANNEL_EXAMPLE, UNITS_EXAMPLE, MAINTENANCE_EXAMPLE)).splitlines()
    text = "\n".join(line.removeprefix("#") for line in blocks if not line.startswith("# "))
    config = load_config(write(tmp_path, GOOD + text), {})
    assert set(config.channels["pressure"].model_fields_set) == set(ChannelSection.model_fields)
    assert config.units == {"pressure": "bar", "temp_*": "C"}
    named = {key for section in config.maintenance for key in section.model_fields_set}
    assert named == set(MaintenanceSection.model_fields)
    assert all(line in example() for line in blocks)


def test_a_channel_that_the_model_does_not_know_is_named_with_the_nearest(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + RULES), {})
    with pytest.raises(ConfigError, match=r"\[channels\.pressure\].*did you mean `presure`\?"):
        rules_of(config, ["presure", "inlet flow"])


@pytest.mark.parametrize(
    ("least", "form", "words"),
    [
        (3, "wide_json", r"\[model\] least_channels: 3, but the model has 2 channels"),
        (2, "long_json", r"\[model\] least_channels: must be 1 with \[input\] format 'long_json', not 2"),
        (2, "line_protocol", r"must be 1 with \[input\] format 'line_protocol'"),
    ],
)
def test_a_number_of_channels_that_no_message_has_is_refused(
    least: int, form: str, words: str, tmp_path: Path
) -> None:
    text = GOOD.replace("[model]", f"[model]\nleast_channels = {least}") + f'[input]\nformat = "{form}"\n'
    config = load_config(write(tmp_path, text), {})
    with pytest.raises(ConfigError, match=words):
        rules_of(config, ["pressure", "flow"])


def test_as_many_channels_as_the_model_has_may_be_needed(tmp_path: Path) -> None:
    text = GOOD.replace("[model]", "[model]\nleast_channels = 2")
    config = load_config(write(tmp_path, text), {})
    assert rules_of(config, ["pressure", "flow"]) == rules_of(config)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[incidents]\nflap_incidents = 1\n", ":7: [incidents] flap_incidents: must be at least 2, or 0"),
        ("[incidents]\nfold_series = 1\n", ":7: [incidents] fold_series: must be at least 2, or 0"),
        ('[channels.flow]\ndirection = "up"\n', ":7: [channels.flow] direction: Input should be 'both',"),
        ("[channels.flow]\nmin_absolut = 1\n", ":7: [channels.flow] min_absolut: unknown key `min_abs"),
        ("[channels.'a b']\nmin_absolute = -1\n", ":7: [channels.a b] min_absolute: Input should be greater"),
        ("[channels.flow]\nvalid_min = 3\nvalid_max = 3\n", ":6: [channels.flow]: valid_min 3 must be below"),
        ("[channels.flow]\nmin_relative = nan\n", ":7: [channels.flow] min_relative: Input should be"),
        ('[[maintenance]]\ntime = "2:00"\n', ":6: [[maintenance]] #1: needs start and end, or time"),
        ('[[maintenance]]\ntime = "25:00"\n', ":7: [[maintenance]] #1 time: '25:00' is not a time of day"),
        (
            '[[maintenance]]\ntime = "2:00"\nduration = "1h"\n[[maintenance]]\nduration = "8d"\n',
            ":10: [[maintenance]] #2 duration: Input should be less than or equal to 604800",
        ),
        ('[[maintenance]]\nzone = "Europe/Berln"\n', ":7: [[maintenance]] #1 zone: is not an IANA time"),
        ('[[maintenance]]\nweekdays = ["Sat"]\n', ":7: [[maintenance]] #1 weekdays.0: Input should be 'mon'"),
        (
            "[[maintenance]]\nstart = 2026-10-01T06:00:00Z\nend = 2026-10-01T06:00:00Z\n",
            ":6: [[maintenance]] #1: end must be after start",
        ),
        (
            '[[maintenance]]\nstart = 2026-10-01T06:00:00Z\ntime = "2:00"\nduration = "1h"\n',
            ":6: [[maintenance]] #1: has start or end, and also time or duration; write two tables",
        ),
        ("[watchdog]\nseries_afer = '1m'\n", ":7: [watchdog] series_afer: unknown key"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_is_told_with_its_line(tmp_path: Path, text: str, found: str) -> None:
    assert found in problems(tmp_path, GOOD + text)


NOTIFY = GOOD + '\n[[notify]]\nname = "a"\nkind = "webhook"\nurl = "http://x"\n'


def test_a_notifier_is_named_by_its_number_and_line(tmp_path: Path) -> None:
    text = (
        NOTIFY
        + '\n[[notify]]\nname = "b"\nkind = "webhook"\nurl = "http://y"\ntimeout = "soon"\ntimeot = 1\n'
    )
    found = problems(tmp_path, text)
    assert "/streamgauge.toml:16: [[notify]] #2 timeout: 'soon' is not a duration" in found
    assert (
        "/streamgauge.toml:17: [[notify]] #2 timeot: unknown key `timeot`; did you mean `timeout`?" in found
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('kind = "slack"', "set STREAMGAUGE_NOTIFY__ON_CALL__URL"),
        ('kind = "pagerduty"', "set STREAMGAUGE_NOTIFY__ON_CALL__ROUTING_KEY".removeprefix("set ")),
        ('kind = "alertmanager"\nurl = "http://x"\nsend_resolved = false', "send_resolved"),
        ('kind = "webhook"\nurl = "http://x"\nlabels = { severity = "x" }', "labels: `severity` is reserved"),
        (
            'kind = "webhook"\nurl = "http://x"\nlabels = { a-b = "x" }',
            "labels: `a-b` is not a valid Prometheus",
        ),
        ('kind = "webhook"\nurl = "http://x"\nheaders = { Authorization = "hunter2" }', "bearer_token_file"),
        ('kind = "webhook"\nurl = "http://us:hunter2@x"', "secrets do not belong in this file"),
        ('kind = "webhook"\nurl = "http://x/?token=hunter2"', "secrets do not belong in this file"),
        (
            'kind = "slack"\nurl = "http://x/hunter2"',
            "STREAMGAUGE_NOTIFY__ON_CALL__URL or name a file in url_file",
        ),
        ('kind = "pagerduty"\nrouting_key = "hunter2"', "name a file in routing_key_file"),
        ('kind = "webhook"\nurl = ["hunter2"]', "[[notify]] #1 url"),
        ('kind = "webhook"\nurl = "http://x"\nheaders = { X = ["hunter2"] }', "[[notify]] #1 headers.X"),
    ],
)
def test_what_a_notifier_lacks_or_must_not_have_is_told_without_secrets(
    tmp_path: Path, lines: str, words: str
) -> None:
    found = problems(tmp_path, f'{GOOD}\n[[notify]]\nname = "on-call"\n{lines}\n')
    assert words in found
    assert "[[notify]] #1" in found
    assert "hunter2" not in found


def test_secrets_of_a_notifier_come_from_files_or_the_environment(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://x/hunter2\n")
    text = f'{GOOD}\n[[notify]]\nname = "on.call"\nkind = "slack"\nurl_file = "{tmp_path / "url"}"\n'
    environ = {
        "STREAMGAUGE_NOTIFY__ON_CALL__BEARER_TOKEN": "hunter2",
        "STREAMGAUGE_NOTIFY__ON_CALL__SERIES": "a,b",
    }
    [made] = load_config(write(tmp_path, text), environ).notify
    assert made.url is not None
    assert made.bearer_token is not None
    assert (made.url.get_secret_value(), made.series) == ("http://x/hunter2", ("a", "b"))
    assert made.bearer_token.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(made)


def test_two_notifiers_of_one_name_are_refused(tmp_path: Path) -> None:
    assert "[[notify]] name `A` is used twice (names are compared" in problems(
        tmp_path, NOTIFY + NOTIFY.removeprefix(GOOD)
    )


UNFINISHED = '[kafka]\ntopic = "readings"\n[input]\nseries_field = "device"\n[[notify]]\nkind = "slack"\n'


def test_the_connection_is_read_though_the_rest_is_incomplete(tmp_path: Path) -> None:
    flags = {"bootstrap_servers": "a:1,b:2", "topic": None}
    environ = {"STREAMGAUGE_KAFKA__TOPIC": "other", "STREAMGAUGE_KAFKA__BOOTSTRAP_SERVERS": "c:3"}
    found = load_connection(write(tmp_path, UNFINISHED), flags, environ)
    assert (found.kafka.topic, found.kafka.bootstrap_servers) == ("other", ("a:1", "b:2"))
    assert found.input.series_field == "device"


def test_the_connection_needs_no_file_where_flags_and_environment_name_it() -> None:
    environ = {"STREAMGAUGE_KAFKA__BOOTSTRAP_SERVERS": "c:3", "STREAMGAUGE_KAFKA__SASL_PASSWORD": "hunter2"}
    found = load_connection(None, {"topic": "t"}, environ)
    assert (found.kafka.topic, found.kafka.bootstrap_servers) == ("t", ("c:3",))
    assert found.kafka.sasl_password is not None
    with pytest.raises(ConfigError, match="no topic given: use --topic, or --config"):
        load_connection(None, {"topic": ""}, environ)


@pytest.mark.parametrize(
    ("text", "environ", "found"),
    [
        ("topik = 1\n", {}, "/streamgauge.toml:3: [kafka] topik: unknown key `topik`; did you mean `topic`?"),
        ("[htpp]\n", {}, "/streamgauge.toml:3: [htpp]: unknown section `htpp`; did you mean `http`?"),
        ("sasl_password = 'hunter2'\n", {}, "[kafka] sasl_password: secrets do not belong in this file"),
        ("", {"STREAMGAUGE_KAFKA__SECURITY_PROTOCOL": "x"}, "STREAMGAUGE_KAFKA__SECURITY_PROTOCOL: [kafka]"),
    ],
)
def test_a_connection_has_the_errors_of_the_whole_configuration(
    tmp_path: Path, text: str, environ: dict[str, str], found: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_connection(write(tmp_path, f'[kafka]\ntopic = "t"\n{text}'), {}, environ)
    assert found in str(caught.value).replace(str(tmp_path), "")
    assert "hunter2" not in str(caught.value)


def test_a_problem_of_a_flag_names_the_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--compression: \[kafka\] compression: Input should be"):
        load_connection(write(tmp_path, UNFINISHED), {"compression": "zip"}, {})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[maintenance]\nname = 'x'\n", ":6: [maintenance]: write [[maintenance]] with two brackets"),
        ("[notify]\nname = 'x'\n", ":6: [notify]: write [[notify]] with two brackets"),
        ("[[http]]\nport = 1\n", ":6: [http]: write [http] with one bracket"),
        ("[channels]\nflow = 3\n", "[channels.flow]: write [channels.flow] above its keys"),
    ],
)
def test_wrong_brackets_are_explained(tmp_path: Path, text: str, found: str) -> None:
    assert found in problems(tmp_path, GOOD + text)


def test_switched_off_evidence_and_special_days_become_rules(tmp_path: Path) -> None:
    text = GOOD + "[evidence]\nseason = false\n[calendar]\nholidays = [2026-12-25]\non_holidays = 'muted'\n"
    rules = rules_of(load_config(write(tmp_path, text + "saturdays = ['2026-12-24']\n")))
    assert rules.without == ("season",)
    assert rules.special_days == (("2026-12-24", 5), ("2026-12-25", -1))


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", ColdOptions()),
        ('warmup = "12h"\n', ColdOptions(warmup_ns=12 * 3600 * 10**9)),
        ("warmup_rows = 256\nenabled = true\n", ColdOptions(True, 256)),
    ],
)
def test_how_new_series_begin_reaches_the_engine(tmp_path: Path, text: str, options: ColdOptions) -> None:
    config = load_config(write(tmp_path, f"{GOOD}[cold]\n{text}"), {})
    assert engine_options(config).cold == options


def test_a_warmup_is_a_time_or_a_number_of_rows(tmp_path: Path) -> None:
    text = f'{GOOD}[cold]\nwarmup = "12h"\nwarmup_rows = 256\n'
    assert "set `warmup` or `warmup_rows`, not both" in problems(tmp_path, text)
    assert "warmup_rows" in problems(tmp_path, f"{GOOD}[cold]\nwarmup_rows = 10\n")
