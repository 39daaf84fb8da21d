"""One incident of a backtest, to be looked at."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from detector.plots.drawing import draw_incident

if TYPE_CHECKING:
    from detector.plots.drawing import Axes


@dataclass(frozen=True, slots=True)
class IncidentView:
    """Hold an incident with the rows of its backtest.

    facts     its row of `BacktestResult.incidents`, by column
    verdicts  the rows of its series, as `BacktestResult.verdicts` has them
    """

    facts: dict[str, Any]
    verdicts: pd.DataFrame

    def plot(self, ax: Axes | None = None, channel: str | None = None) -> Axes:
        """Draw a channel, actual against expected, and return the Axes; it needs the extra `plots`.

        Args:
            ax: where to draw; None: a new figure.
            channel: its name; None: the one that contributed most at the peak.

        Raises:
            DetectorError: the channel is unknown, or matplotlib is missing.
        """
        return draw_incident(self.verdicts, self.facts, channel, ax)

    def _repr_html_(self) -> str:
        return table_html([(name, str(value)) for name, value in self.facts.items()])


def table_html(rows: list[tuple[str, ...]], heads: tuple[str, ...] = ()) -> str:
    """Return rows of texts as a table of HTML; every text is escaped.

    >>> table_html([("a", "<b>")])
    '<table><tbody><tr><td>a</td><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{html.escape(one)}</th>" for one in heads)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(one)}</td>' for one in row)}</tr>" for row in rows)
    return f"<table>{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
