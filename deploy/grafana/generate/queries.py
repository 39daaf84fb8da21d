"""PromQL: every selector is held to the jobs and instances that the dashboard shows."""

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
    """A query of a panel: over the time shown, or (`now`) of its end alone; a legend names {{labels}}."""

    expr: str
    legend: str = ""
    now: bool = False

    def target(self, ref_id: str, form: PromQueryFormat) -> prometheus.Dataquery:
        """As the SDK has it."""
        query = prometheus.Dataquery().datasource(DATA_SOURCE).expr(self.expr).ref_id(ref_id).format(form)
        if self.legend:
            query.legend_format(self.legend)
        return query.instant() if self.now else query.range()


def of(metric: str, *matchers: str) -> str:
    """A selector of one of our metrics, named without its prefix, or of the process."""
    name = metric if metric.startswith(_OF_OTHERS) else f"streamgauge_{metric}"
    return f"{name}{{{', '.join((_SHOWN, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """A counter's rate per second."""
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def increase(metric: str, *matchers: str) -> str:
    """A counter's increase between two points of a graph or more."""
    return f"increase({of(metric, *matchers)}[$__rate_interval])"


def increase_shown(metric: str, *matchers: str) -> str:
    """A counter's increase over a span as long as what is shown."""
    return f"increase({of(metric, *matchers)}[$__range])"


def peak(metric: str, *matchers: str) -> str:
    """A gauge's highest value between two points of a graph: no scrape is skipped."""
    return f"max_over_time({of(metric, *matchers)}[$__rate_interval])"


def quantile(share: float, histogram: str, by: str = "") -> str:
    """A quantile of a histogram, for each value of the label `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(f'{histogram}_bucket')}))"


def among_highest(expr: str, number: int, by: str, ranking: str) -> str:
    """`expr`, by the label `by`, of the `number` whose `ranking` is highest at the end of what is shown."""
    return f"max by ({by}) ({expr}) and topk({number}, max by ({by}) ({ranking}))"
