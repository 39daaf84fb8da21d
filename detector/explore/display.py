"""What can be chosen about the pages when the explorer starts: how series are grouped, where runbooks are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from detector.errors import ConfigError
from detector.explore.queries.names import BY_SLASH

_BY_REASON = {
    "silent": "StreamgaugeSeriesSilent",
    "stream_silent": "StreamgaugeStreamSilent",
    "missing": "StreamgaugeChannelMissing",
}
_NAME = "{alert}"


@dataclass(frozen=True, slots=True)
class Display:
    """Describe the choices.

    group_by  a regular expression (RE2): the group of a series is what it captures first; empty: no groups
    runbooks  where the pages of docs/runbooks are published. `{alert}` in it is the name of the page. Without
              it the address of a page is `runbooks` with NAME.md at its end; empty: there are no links
    """

    group_by: str = BY_SLASH
    runbooks: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no address. Raises ConfigError."""
        if self.runbooks and urlsplit(self.runbooks).scheme not in ("http", "https"):
            raise ConfigError(
                f"--runbooks {self.runbooks!r} is no address: write one such as"
                " https://wiki.example.com/runbooks/"
            )

    def runbooks_of(self, incident: dict[str, Any]) -> list[dict[str, str | None]]:
        """Return the runbooks for an incident, each with the name of the alert and the link; None: no link.

        They are those of the alerts that `deploy/prometheus/rules` raises about it, the most specific first.

        Args:
            incident: as `incident_json` writes it.
        """
        names = [_BY_REASON.get(incident["reason"], "StreamgaugeAnomaly")]
        if incident["lasting_since"] and not incident["decision"]:
            names.append("StreamgaugeLasting")
        if incident.get("unjudged"):
            names.append("StreamgaugeIncidentUnjudged")
        return [{"alert": name, "link": self._link(name)} for name in names]

    def _link(self, alert: str) -> str | None:
        if not self.runbooks:
            return None
        if _NAME in self.runbooks:
            return self.runbooks.replace(_NAME, alert)
        return f"{self.runbooks.rstrip('/')}/{alert}.md"
