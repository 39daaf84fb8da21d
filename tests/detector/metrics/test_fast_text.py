"""Gauges of many series as text: byte by byte as the client library writes them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

from detector.metrics.catalogue import BY_NAME, MetricSpec
from detector.metrics.fast_text import gauge, labels_of, numbers

LABELS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats() | st.sampled_from([0.0, -0.0, 1e6, 999_999.9, 1e-4, 9.9e-5, 1e16, 1e22, 1.7672256e9])
SPEC = MetricSpec("streamgauge_actual_value", "gauge", ("series", "channel"), "Two lines\nand a \\")


class _Library:
    """Return the same samples as the library writes them."""

    def __init__(self, samples: list[tuple[str, str, float]]) -> None:
        self._samples = samples

    def collect(self) -> list[GaugeMetricFamily]:
        family = GaugeMetricFamily(SPEC.name, SPEC.help, labels=SPEC.labels)
        for series, channel, value in self._samples:
            if not math.isnan(value):
                family.add_metric([series, channel], value)
        return [family]


def registry_of(samples: list[tuple[str, str, float]]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Library(samples))  # type: ignore[arg-type]  # what the library calls a collector
    return registry


def ours(samples: list[tuple[str, str, float]]) -> str:
    labels = [labels_of(SPEC.labels, (series, channel)) for series, channel, _ in samples]
    return gauge(SPEC, labels, np.array([value for _, _, value in samples], np.float64))


@given(st.lists(st.tuples(LABELS, LABELS, FLOATS), max_size=20))
@example([('a"b', "c\\d\n", 1.0), ("\\n", "", 2.0), ("\r", " ", 1e300)])
def test_text_is_that_of_the_library(samples: list[tuple[str, str, float]]) -> None:
    registry = registry_of(samples)
    assert ours(samples).encode() == generate_latest(registry)
    assert ours(samples).encode() + b"# EOF\n" == openmetrics.generate_latest(registry)


def test_no_help_needs_the_quotes_that_the_formats_escape_differently() -> None:
    assert not [spec.name for spec in BY_NAME.values() if '"' in spec.help]


@given(st.lists(FLOATS, max_size=50))
def test_numbers_are_written_as_the_library_writes_them(values: list[float]) -> None:
    assert numbers(np.array(values, np.float64)) == [floatToGoString(value) for value in values]


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=10, unique=True))
def test_any_label_comes_back_from_both_parsers(pairs: list[tuple[str, str]]) -> None:
    text = ours([(*pair, 1.5) for pair in pairs])
    for found in (parse_text(text), parse_openmetrics(text + "# EOF\n")):
        (family,) = found
        assert [(sample.labels["series"], sample.labels["channel"]) for sample in family.samples] == pairs


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb"])
def test_half_a_surrogate_pair_does_not_break_the_scrape(name: str) -> None:
    assert "?" in ours([(name, "c", 1.0)])
    ours([(name, "c", 1.0)]).encode()
