"""How the figures of several models become one: added up, the highest, or a sample for each model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

from prometheus_client.core import Metric
from prometheus_client.samples import Sample

from detector.metrics.catalogue import CHANNELS, MODEL, SERIES

Sharing: TypeAlias = Literal["added", "highest", "by model", "each"]
_PREFIX = "streamgauge_"
_HIGHEST = ("max_score", "longest_unjudged_seconds")
_BY_MODEL = (
    *("warmup_ratio", "cumulative_channels_ratio", "series_in_mode", "mode_rows_total"),
    *("budget_alarms", "budget_allowed_alarms", "budget_used_ratio", "budget_series"),
    *("alarms_total", "budgeted_alarms_total", "series", "open_incidents", "incident_firing"),
    "apart_from_peers",
)
BY_MODEL = frozenset(
    {
        *(f"{_PREFIX}{name}" for name in _BY_MODEL),
        *(one.name for one in (*SERIES, *CHANNELS, *MODEL) if one.name != f"{_PREFIX}config_reloads_total"),
    }
    - {f"{_PREFIX}model_info"}
)
"""The metrics with a label `model` where a daemon has several. `model_info` has the name already."""


def sharing_of(name: str) -> Sharing:
    """Return how the samples of a metric are joined, by the name that Prometheus shows."""
    if name in BY_MODEL:
        return "by model"
    if name == f"{_PREFIX}model_info":
        return "each"
    return "highest" if name.removeprefix(_PREFIX) in _HIGHEST else "added"


def merged(found: Iterable[tuple[str, Iterable[Metric]]]) -> Iterator[Metric]:
    """Yield the families of all models as one set, in the order of the first model that has them.

    Args:
        found: (name of a model, its families); an empty name: the service, which has no figures by model.
    """
    families: dict[str, Metric] = {}
    samples: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], Sample]] = {}
    for model, metrics in found:
        for metric in metrics:
            families.setdefault(metric.name, metric)
            known = samples.setdefault(metric.name, {})
            sharing = sharing_of(_shown(metric))
            for sample in metric.samples if model or sharing != "by model" else ():
                _join(known, _named(sample, model, sharing), sharing)
    for name, metric in families.items():
        metric.samples = list(samples[name].values())
        yield metric


def _shown(metric: Metric) -> str:
    """Return the name of a family as Prometheus shows it."""
    return f"{metric.name}{ {'counter': '_total', 'info': '_info'}.get(metric.type, '') }"


def _named(sample: Sample, model: str, sharing: Sharing) -> Sample:
    """Return the sample with a label `model` where its metric has one."""
    if sharing != "by model":
        return sample
    return sample._replace(labels={"model": model, **sample.labels})


def _join(
    known: dict[tuple[str, tuple[tuple[str, str], ...]], Sample], sample: Sample, sharing: Sharing
) -> None:
    """Add a sample to those of the models before."""
    key = (sample.name, tuple(sorted(sample.labels.items())))
    before = known.get(key)
    if before is None:
        known[key] = sample
        return
    value = max(before.value, sample.value) if sharing == "highest" else before.value + sample.value
    known[key] = before._replace(value=value, exemplar=before.exemplar or sample.exemplar)
