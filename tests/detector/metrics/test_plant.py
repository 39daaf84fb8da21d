"""Metrics of several models as one exposition: added up, the highest, or by model."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from connectors.wide_json.decoder import JsonWideCodec
from detector.delivery.routing.router import Router
from detector.engine.group.group import EngineGroup
from detector.engine.loop import TurnOf
from detector.metrics.catalogue import BY_NAME, SECTIONS
from detector.metrics.plant.recorder import GroupMetrics
from detector.metrics.plant.sharing import BY_MODEL, sharing_of
from detector.metrics.recorder import Metrics
from detector.metrics.sources import NoSources
from detector.status.plant import GroupStatus
from tests.plant.kinds import batch_of, members, messages

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Ready(NoSources):
    """A service of which five messages are not read yet."""

    def lag(self) -> dict[int, int]:
        return {0: 5}

    def ready(self) -> bool:
        return True


@pytest.fixture
def group() -> EngineGroup:
    return EngineGroup(members())


@pytest.fixture
def metrics(group: EngineGroup) -> GroupMetrics:
    """The metrics of a group after two turns."""
    made = GroupMetrics(Ready(), "1.2.3", 100)
    for member in group.members:
        made.add(member.name, Metrics(member.engine, 100, None, NoSources()))
    router, codec = Router(group, most_logged=0), JsonWideCodec(group.columns.names)
    values = messages(7, 400)
    for start in (0, 200):
        batch = router.route(batch_of(codec, values[start : start + 200], start))
        made.observe(TurnOf(batch, group.step(batch.readings), 0.2, 0.1, 0.0, 0.0))
    return made


def samples(metrics: GroupMetrics) -> Samples:
    body, _ = metrics.exposition("text/plain")
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(body.decode())
        for one in family.samples
    }


def test_counters_are_those_of_all_models_together(metrics: GroupMetrics, group: EngineGroup) -> None:
    found, counters = samples(metrics), [member.engine.counters for member in group.members]
    assert found["streamgauge_readings_total", ()] == sum(one.readings for one in counters) > 200
    assert found["streamgauge_rows_total", ()] == sum(one.rows for one in counters)
    assert found["streamgauge_turn_seconds_count", (("step", "step"),)] == 2
    assert found["streamgauge_rejected_messages_total", (("reason", "not_json"),)] > 0
    assert found["streamgauge_consumer_lag_messages", (("partition", "0"),)] == 5
    scores = sum(metrics.models[one].snapshot.totals["judged_rows"] for one in metrics.models)
    assert 0 < found["streamgauge_score_distribution_count", ()] <= scores
    highest = max(value for (name, _), value in found.items() if name == "streamgauge_score_max")
    assert found["streamgauge_max_score", ()] == highest


def test_what_belongs_to_a_model_has_its_label(metrics: GroupMetrics) -> None:
    found = samples(metrics)
    for name, labels in found:
        shown = name if name in BY_NAME else name.removesuffix("_total")
        if shown in BY_NAME:
            assert ("model" in dict(labels)) == (shown in BY_MODEL), name
    names = {dict(labels).get("model") for _, labels in found}
    assert names == {None, "pump", "press"}
    assert {dict(labels)["name"] for name, labels in found if name == "streamgauge_model_info"} == {
        "pump",
        "press",
    }
    series = {dict(labels)["series"] for name, labels in found if name == "streamgauge_score"}
    assert series == {"pump-1", "pump-2", "press-1", "press-2"}


def test_each_family_is_there_once_with_its_type(metrics: GroupMetrics) -> None:
    body, _ = metrics.exposition("application/openmetrics-text")
    heads = [line for line in body.decode().splitlines() if line.startswith("# TYPE ")]
    assert len(heads) == len(set(heads))
    assert body.decode().count("# EOF") == 1
    known = {spec.family for _, specs in SECTIONS for spec in specs}
    assert known <= {line.split()[2] for line in heads}


def test_a_model_that_is_taken_out_is_exported_no_longer(metrics: GroupMetrics) -> None:
    metrics.remove("press")
    assert {dict(labels).get("model") for _, labels in samples(metrics)} == {None, "pump"}
    assert sharing_of("streamgauge_budget_alarms") == "by model"


def test_the_page_has_a_line_for_each_model(metrics: GroupMetrics) -> None:
    status = GroupStatus(metrics).json()
    figures = {one["name"]: one["value"] for one in status["overview"]["figures"]}
    assert figures["Model pump"].startswith("version ")
    assert "series judged now" in figures["Model press"]
    assert status["readings"] == sum(one["readings"] for one in status["models"])
    assert sum(status["series"].values()) == 4
    assert {one["model"] for one in status["worst"]} == {"pump", "press"}
    assert {one["model"] for one in status["firing"]} <= {"pump", "press"}
