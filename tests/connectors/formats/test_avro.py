"""Avro: logical types, nested records, schemas of a registry, and a registry that does not answer."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from connectors.errors import CodecError, WaitingError
from connectors.formats.avro import registry as registry_module
from connectors.formats.avro.registry import SchemaRegistry
from connectors.formats.avro.schemas import SchemaError, parsed
from connectors.formats.codec import channels_in, codec_of
from connectors.formats.form import Form
from connectors.http_post import Endpoint, basic_auth
from connectors.records import Decoded, Raw, RawColumns
from connectors.times import Clock
from detector.config.input.registry import SchemaRegistrySection
from detector.config.input.section import InputSection, form_of, input_codec
from detector.config.load import load_config
from detector.errors import ConfigError
from tests.connectors.formats.schema_registry import RegistryServer, framed, serving_tls
from tests.support.certificates import Authority
from tests.support.kafka_broker import free_ports
from trainer.setup.topic import reading_line

NOW_MS = 1_767_225_600_000


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    found = RegistryServer()
    yield found
    found.close()


def record_of(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": "record",
        "name": name,
        "fields": [{"name": one, "type": kind} for one, kind in fields.items()],
    }


def decode(form: Form, values: list[bytes], channels: tuple[str, ...] = ("flow",)) -> Decoded:
    return codec_of(channels, form).decode_columns(columns(values))


def columns(values: list[bytes]) -> RawColumns:
    return RawColumns.of([Raw("t", 0, at, NOW_MS, b"k", value) for at, value in enumerate(values)])


PLAIN = record_of("Plain", series="string", timestamp="long", flow=["null", "double"])
PLACES = {"values": "$"}


def plain(server: RegistryServer, number: int = 1) -> bytes:
    server.register(number, PLAIN)
    return framed(number, PLAIN, {"series": "a", "timestamp": NOW_MS, "flow": 1.5})


def test_nested_records_and_logical_types(server: RegistryServer) -> None:
    schema = record_of(
        "Sent",
        device=record_of("Device", id={"type": "string", "logicalType": "uuid"}, at={
            "type": "long", "logicalType": "timestamp-millis"
        }),
        data=["null", record_of(
            "Values",
            flow={"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3},
            valve="boolean",
            heat=["null", "float", "string"],
        )],
        mood={"type": "enum", "name": "Mood", "symbols": ["GOOD", "BAD"]},
    )  # fmt: skip
    server.register(7, schema)
    when = datetime(2026, 1, 1, 0, 0, 0, 250_000, UTC)
    body = {
        "device": {"id": "pump-17", "at": when},
        "data": {"flow": Decimal("21.375"), "valve": True, "heat": None},
        "mood": "GOOD",
    }
    form = Form("avro", ("$.device.id", "$.mood"), "$.device.at", "$.data", schemas=server.client())
    values = [framed(7, schema, body), framed(7, schema, {**body, "data": None})]
    values.append(framed(7, schema, {**body, "data": {**body["data"], "heat": "hot"}}))  # type: ignore[dict-item]
    decoded = decode(form, values, ("flow", "valve", "heat"))
    assert decoded.readings.names == ("pump-17/GOOD",)
    np.testing.assert_array_equal(decoded.readings.values, [[21.375, 1.0, np.nan]])
    assert decoded.readings.timestamp_ns.tolist() == [1_767_225_600_250_000_000]
    assert [(one.reason, one.offset) for one in decoded.rejects] == [("missing_field", 1), ("wrong_type", 2)]


@pytest.mark.parametrize("kind", ["timestamp-micros", "local-timestamp-micros", None])
def test_the_schema_says_what_a_time_is(server: RegistryServer, kind: str | None) -> None:
    stamp: Any = "long" if kind is None else {"type": "long", "logicalType": kind}
    schema = record_of("Reading", series="string", timestamp=stamp, flow="double")
    server.register(1, schema)
    value = framed(1, schema, {"series": "a", "timestamp": NOW_MS * 1_000 + 7, "flow": 1.5})
    zone = ZoneInfo("Europe/Berlin")
    form = Form("avro", clock=Clock("us", zone), schemas=server.client(), **PLACES)  # type: ignore[arg-type]
    hour_ns = 3_600 * 10**9 if kind == "local-timestamp-micros" else 0
    assert decode(form, [value]).readings.timestamp_ns.tolist() == [NOW_MS * 10**6 + 7_000 - hour_ns]


def test_messages_of_several_versions_are_on_one_topic(server: RegistryServer) -> None:
    newer = record_of("Plain", heat="float", timestamp="long", series="string")
    server.register(2, newer)
    values = [plain(server), framed(2, newer, {"series": "a", "timestamp": NOW_MS + 1, "heat": 3.0})] * 2
    form = Form("avro", schemas=server.client(), **PLACES)  # type: ignore[arg-type]
    decoded = decode(form, values, ("flow", "heat"))
    np.testing.assert_array_equal(decoded.readings.values, [[1.5, np.nan], [np.nan, 3.0]] * 2)
    assert [path for path, _ in server.requests] == ["/schemas/ids/1", "/schemas/ids/2"]


def test_a_schema_may_refer_to_others(server: RegistryServer) -> None:
    inner = {**record_of("Values", flow="double"), "namespace": "plant"}
    middle = {**record_of("Data", now="plant.Values"), "namespace": "plant"}
    outer = record_of("Sent", series="string", timestamp="long", data="plant.Data")
    full = record_of("Sent", series="string", timestamp="long", data={
        **middle, "fields": [{"name": "now", "type": inner}]
    })  # fmt: skip
    to_values = [{"name": "plant.Values", "subject": "the values", "version": 3}]
    server.subjects["the%20values", 3] = {"schema": json.dumps(inner)}
    server.subjects["data", 1] = {"schema": json.dumps(middle), "references": to_values}
    to_data = [{"name": "plant.Data", "subject": "data", "version": 1}]
    server.register(5, outer, references=to_data, schemaType="AVRO")
    value = framed(5, full, {"series": "a", "timestamp": NOW_MS, "data": {"now": {"flow": 2.5}}})
    form = Form("avro", values="$.data.now", schemas=server.client())
    assert decode(form, [value]).readings.values.tolist() == [[2.5]]


@pytest.mark.parametrize("references", ["around", "wrong"])
def test_references_that_cannot_be_followed_make_a_dead_letter(
    server: RegistryServer, references: str
) -> None:
    """Those that lead back to themselves, and those that are no objects, ended the decoding with an error."""
    around = [{"name": "plant.Data", "subject": "data", "version": 1}]
    given: Any = around if references == "around" else ["plant.Data"]
    server.subjects["data", 1] = {"schema": json.dumps(record_of("Data", now="Sent")), "references": given}
    outer = record_of("Sent", series="string", timestamp="long", data="Data")
    server.register(6, outer, references=around if references == "around" else given, schemaType="AVRO")
    form = Form("avro", values="$.data", schemas=server.client())
    (reject,) = decode(form, [b"\x00\x00\x00\x00\x06" + b"\x02a"]).rejects
    assert reject.reason
    assert len(server.requests) < 6


def test_a_number_that_the_registry_does_not_know_is_a_dead_letter(
    server: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = Form("avro", schemas=server.client(), **PLACES)  # type: ignore[arg-type]
    value = plain(server)
    unknown = b"\x00\x00\x00\x00\x63" + value[5:]
    decoded = decode(form, [unknown, value, unknown])
    assert [(one.reason, one.offset) for one in decoded.rejects] == [
        ("unknown_schema", 0),
        ("unknown_schema", 2),
    ]
    assert "has no schema 99" in decoded.rejects[0].detail
    assert len(decoded.readings) == 1
    decode(form, [unknown])
    assert len(server.requests) == 2
    server.register(99, PLAIN)
    monkeypatch.setattr(registry_module, "_UNKNOWN_SECONDS", 0.0)
    other = replace(form, schemas=server.client())
    assert len(decode(other, [unknown]).readings) == 1


@pytest.mark.parametrize("schema", [{"schemaType": "PROTOBUF"}, {"schema": "no JSON"}, {"schema": '"x"'}, {}])
def test_a_schema_that_is_not_read_is_a_dead_letter(server: RegistryServer, schema: dict[str, str]) -> None:
    server.schemas[4] = {"schema": None, **schema}
    form = Form("avro", schemas=server.client(), **PLACES)  # type: ignore[arg-type]
    (reject,) = decode(form, [b"\x00\x00\x00\x00\x04abc"]).rejects
    assert reject.reason == "unknown_schema"
    assert "schema 4: " in reject.detail


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (record_of("A", next=["null", "A"]), "contains itself"),
        (record_of("A", b={"type": "array", "items": record_of("B", a=["null", "A"])}), "contains itself"),
        ({"type": "array", "items": "null"}, "no byte"),
        ({"type": "array", "items": record_of("A", b="null")}, "no byte"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "no byte"),
    ],
)
def test_a_schema_by_which_a_small_message_exhausts_the_process_is_refused(schema: Any, why: str) -> None:
    with pytest.raises(SchemaError, match=why):
        parsed(json.dumps(schema))


@pytest.mark.parametrize("cut", [0, 3, 5, -1])
def test_a_message_that_is_cut_or_too_long_is_refused(server: RegistryServer, cut: int) -> None:
    form = Form("avro", schemas=server.client(), **PLACES)  # type: ignore[arg-type]
    value = plain(server)
    rejects = decode(form, [value[:cut], value + b"x"]).rejects
    assert [one.reason for one in rejects] == ["malformed"] * 2
    assert rejects[1].detail == "1 bytes behind the record of its schema"


@pytest.mark.parametrize("status", [500, 503, 401, 404, 302])
def test_messages_wait_for_a_registry_that_fails(
    server: RegistryServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [plain(server), plain(server, 2), b"\x00\x00\x00\x00\x02damaged"]
    client = server.client()
    codec = codec_of(("flow",), Form("avro", schemas=client, **PLACES))  # type: ignore[arg-type]
    codec.decode_columns(columns(values[:1]))
    server.status = status
    asked = len(server.requests)
    for _ in range(3):
        with pytest.raises(WaitingError) as raised:
            codec.decode_columns(columns(values))
        assert raised.value.begins == {("t", 0): 1}
        assert 0 < raised.value.retry_seconds <= 0.5
    assert len(server.requests) == asked + 1  # nothing is asked before the next attempt is due
    assert (client.status.failures, str(status) in client.status.problem) == (1, True)
    assert ("check" in client.status.problem) == (status < 500)
    assert len(codec.decode_columns(columns(values[:1])).readings) == 1  # what is known needs no registry
    server.status = 200
    monkeypatch.setattr(client, "_again_at", 0.0)
    decoded = codec.decode_columns(columns(values))
    assert (len(decoded.readings), [one.offset for one in decoded.rejects]) == (2, [2])
    assert client.status.problem == ""


def test_messages_wait_for_a_registry_that_is_away() -> None:
    client = SchemaRegistry(Endpoint(f"http://127.0.0.1:{free_ports(1)[0]}"))
    codec = codec_of(("flow",), Form("avro", schemas=client))
    with pytest.raises(WaitingError, match="Connection refused"):
        codec.decode_columns(columns([b"\x00\x00\x00\x00\x01abc"]))
    assert len(codec.decode_columns(columns([b"no Avro"])).rejects) == 1


def test_the_registry_gets_the_login(server: RegistryServer) -> None:
    value = plain(server)
    login = {"Authorization": basic_auth("ada", "pass word")}
    client = SchemaRegistry(Endpoint(server.url + "/", login))
    decode(Form("avro", schemas=client, **PLACES), [value])  # type: ignore[arg-type]
    assert server.requests == [("/schemas/ids/1", login["Authorization"])]


def test_without_a_registry_nothing_can_be_decoded() -> None:
    codec = codec_of(("flow",), Form("avro"))
    with pytest.raises(CodecError, match="schema_registry"):
        codec.decode_columns(columns([b"\x00\x00\x00\x00\x01abc"]))


def test_the_example_of_the_page(server: RegistryServer) -> None:
    page = Path(__file__).parents[3].joinpath("docs/formats.md").read_text().split("\n## Avro\n")[1]
    config, code, expected = re.findall(r"```\w+\n(.*?)\n```", page, re.DOTALL)[:3]
    space: dict[str, Any] = {"number": 258}
    exec(code, space)
    server.register(258, space["schema"])
    section = InputSection.model_validate(tomllib.loads(config)["input"])
    registry = SchemaRegistrySection(url=server.url)
    raw = columns([space["message"]])
    names = channels_in(raw, form_of(section, registry))
    readings = input_codec(names, section, registry).decode_columns(raw).readings
    assert [reading_line(readings, 0, names).strip()] == expected.splitlines()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[input]\nformat = "avro"', "format avro needs url in [schema_registry]"),
        ('[schema_registry]\nurl = "http://ada:secret@host"', "url must have no login"),
        ('[schema_registry]\nusername = "ada"', "username and password need each other"),
        ('[schema_registry]\nssl_keyfile = "a"', "ssl_keyfile needs ssl_certfile"),
    ],
)
def test_what_the_configuration_lacks_is_named(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "streamgauge.toml"
    file.write_text(f'[model]\npath = "m"\n[kafka]\ntopic = "t"\n{text}')
    with pytest.raises(ConfigError, match=re.escape(words)) as raised:
        load_config(file, {})
    assert "secret@" not in str(raised.value)


def test_login_and_authority_come_from_files(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with serving_tls(authority.issue("127.0.0.1")) as server:
        (tmp_path / "password").write_text("pass word\n")
        file = tmp_path / "streamgauge.toml"
        file.write_text(
            f'[model]\npath = "m"\n[kafka]\ntopic = "t"\n[input]\nformat = "avro"\nvalues = "$"\n'
            f'[schema_registry]\nurl = "{server.url}"\nusername = "ada"\n'
            f'password_file = "{tmp_path}/password"\nssl_cafile = "{authority.file}"\n'
        )
        config = load_config(file, {})
        value = plain(server)
        codec = input_codec(("flow",), config.input, config.schema_registry)
        assert len(codec.decode_columns(columns([value])).readings) == 1
        assert server.requests == [("/schemas/ids/1", basic_auth("ada", "pass word"))]
        other = SchemaRegistrySection(url=server.url)
        with pytest.raises(WaitingError, match="TLS failed"):
            input_codec(("flow",), config.input, other).decode_columns(columns([value]))
