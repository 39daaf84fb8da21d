"""PromQL: every selector is limited to the jobs and instances that the dashboard shows."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import prometheus
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATA_SOURCE = DataSourceRef("prometheus", "${datasource}")
_SHOWN = 'job=~"$job", instance=~"$instance"'
_OF_OTHERS = ("process_", "python_")
SERIES = 'series=~"$series"'
CHANNEL = 'channel=~"$channel"'


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel.

    expr    PromQL
    legend  name of each line; may contain {{labels}}
    now     query only the end of the time range
    """

    expr: str
    legend: str = ""
    now: bool = False

    def target(self, ref_id: str, form: PromQueryFormat) -> prometheus.Dataquery:
        """Return the query as an object of the SDK."""
        query = prometheus.Dataquery().datasource(DATA_SOURCE).expr(self.expr).ref_id(ref_id).format(form)
        if self.legend:
            query.legend_format(self.legend)
        return query.instant() if self.now else query.range()


def of(metric: str, *matchers: str) -> str:
    """Return a selector of a metric: one of ours without its prefix, or one of the process."""
    name = metric if metric.startswith(_OF_OTHERS) else f"streamgauge_{metric}"
    return f"{name}{{{', '.join((_SHOWN, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """Return the rate of a counter per second."""
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    """Return the increase of a counter between two points of a graph."""
    return f"increase({of(metric, *matchers)}[$__rate_interval])"


def increase_shown(metric: str, *matchers: str) -> str:
    """Return the increase of a counter over a span as long as the time range."""
    return f"increase({of(metric, *matchers)}[$__range])"


def peak(metric: str, *matchers: str) -> str:
    """Return the highest value of a gauge between two points of a graph; it includes every scrape."""
    return f"max_over_time({of(metric, *matchers)}[$__rate_interval])"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return a quantile of a histogram, for each value of the label `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(f'{histogram}_bucket')}))"


def among_highest(expr: str, number: int, by: str, ranking: str) -> str:
    """Return `expr` by the label `by`, for the `number` values with the highest `ranking` at the end."""
    return f"max by ({by}) ({expr}) and topk({number}, max by ({by}) ({ranking}))"
