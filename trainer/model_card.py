"""Texts about a trained artifact: the model card, and the summary that `streamgauge train` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detector.artifact.cold.cold_start import cold_section
from detector.artifact.description.place import current_of
from detector.artifact.drift import drift_section
from detector.artifact.laws import laws_section
from detector.artifact.mode_words import modes_section, proposal_line
from detector.artifact.peers.peers import peers_section
from detector.artifact.reference import least_history
from detector.artifact.spec import Artifact, Spec
from detector.calibration.alarm_budget import read_budget
from detector.config.types import duration_text
from detector.lifecycle.versions import standing_line
from detector.selfcheck.words import found_section, weakest_line
from trainer.season_card import clock_section

_TEMPLATE = """\
# {name}

{members} over {num_channels} channels, one row every {interval:g} s. It scores how far measured values
are from predicted ones; 1.0 is the threshold.

| | |
|---|---|
| channels | {channels} |
| trained on | {rows} rows of {num_series} series, fingerprint {fingerprint} |
| split by time | {train} % training, {validation} % validation, {calibration} % calibration |
{course}
| threshold | {threshold:.4g} by {method}, for {budget} |
{evidence}| seed | {seed} |

{found}
{clock}{own_scales}{modes}{laws}{drift}{cold}{peers}## Left out of the history

{omissions}

## Limits

- The model knows its history only. Rare patterns of it score high; faults in it count as normal.
- The threshold {threshold_kind}.
{lasting}{waits}\
- A series has its first score after {shortest} rows, full accuracy after {window} rows. It starts again after
  a gap of more than {max_gap} rows.
{notes}"""

_SCALES = """\
## Own scales

One scale of these channels does not fit all series. Each series in this table has its own centre and scale.
In it, the sizes above are to be multiplied by the factor. Any other series learns its own.

| series | channel | centre | scale | factor |
|---|---|---|---|---|
{lines}

"""
_MOST_LINES, _MOST_NAMED = 50, 5
_WANDERS = 0.45
_STATIC = "is static: it holds while normal errors look like those of the calibration part"
_ADAPTIVE = (
    "stands still; many short, small alarms of a series raise its page level, so that they keep to the budget"
)


def model_card(spec: Spec) -> str:
    """Return the card of a trained spec, in Markdown."""
    training = spec.training
    return _TEMPLATE.format(
        name=spec.name,
        members=_members(spec),
        omissions=_omissions(training),
        course=_course(training),
        evidence=_evidence(spec),
        window=spec.window,
        shortest=min(member.window for member in spec.members),
        threshold_kind=_ADAPTIVE if spec.threshold.limit else _STATIC,
        lasting=_lasting(spec),
        waits=_waits(spec),
        num_channels=len(spec.channels),
        interval=spec.interval_ns / 1e9,
        channels=", ".join(spec.channel_names),
        max_gap=spec.max_gap,
        threshold=spec.threshold.value,
        method=spec.threshold.method.replace("_", " "),
        budget=read_budget(spec.threshold.alarm_budget).false_alarms,
        found=found_section(spec),
        clock=clock_section(spec),
        own_scales=_own_scales(spec),
        modes=modes_section(spec),
        drift=drift_section(spec.drift, spec.channel_names),
        cold=cold_section(spec.cold, spec.interval_ns / 1e9),
        peers=peers_section(spec.peers, spec.channel_names, spec.num_series),
        laws=laws_section(spec.channel_names, [channel.law for channel in spec.channels]),
        notes="".join(f"- In training, {note}.\n" for note in training.get("notes", ())),
        **{name: value for name, value in training.items() if name not in ("notes", "proposed_modes")},
    )


def _evidence(spec: Spec) -> str:
    """Return the row on how kinds of evidence become one error, and why; "" for a single member."""
    if len(spec.members) == 1:
        return ""
    stated = spec.training.get("config", {}).get("scoring", {}).get("combine")
    kinds = {
        "mean": "half the worst of its windows, half the mean of all kinds of evidence",
        "worst": "the worst of its windows",
    }
    why = {
        "mean": "measured to rank better with one channel, where verdicts wait for a whole window",
        "worst": "the mean was not measured to be better with several channels, or without waiting",
    }
    reason = "as configured" if stated else why[spec.scoring.combine]
    return f"| error | {kinds[spec.scoring.combine]}; {reason} |\n"


def _waits(spec: Spec) -> str:
    """Return the line on the delay of final verdicts; "" without one."""
    rows = spec.scoring.delay
    if not rows:
        return ""
    time = duration_text(rows * spec.interval_ns / 1e9)
    return f"- A verdict is final {rows} rows ({time}) after its row. Until then it is provisional.\n"


def training_summary(artifact: Artifact, entry: Path) -> dict[str, Any]:
    """Return the outcome of a training as `streamgauge train --json` prints it.

    Args:
        artifact: The published artifact.
        entry: The registry entry that it was published to.
    """
    spec, training = artifact.spec, artifact.spec.training
    return {
        "path": str(entry),
        "version": artifact.version,
        "in_use": current_of(entry) == artifact.version,
        "family": spec.family,
        "window": spec.window,
        "channels": list(spec.channel_names),
        "interval_seconds": spec.interval_ns / 1e9,
        "rows": training["rows"],
        "epochs": training["epochs"],
        "best_epoch": training["best_epoch"],
        "stopped": training["stopped"],
        "train_loss": training["train_loss"],
        "validation_loss": training["validation_loss"],
        "threshold": spec.threshold.value,
        "threshold_method": spec.threshold.method,
        "alarm_budget": spec.threshold.alarm_budget,
        "finds": weakest_line(spec),
        "own_scales": _channels_of_series(spec),
        "modes": proposal_line(spec),
        "hardly_watched": training.get("hardly_watched", []),
        "left_out": training.get("left_out", {}),
        "notes": list(training.get("notes", ())),
    }


def figures_of(spec: Spec) -> dict[str, Any]:
    """Return what the journal keeps of a trained model, as plain JSON values."""
    training, threshold = spec.training, spec.threshold
    kept = {key: training[key] for key in ("rows", "num_series", "from", "until", "validation_loss")}
    return {
        "model": f"{spec.family}, window {spec.window}",
        "alarm_budget": threshold.alarm_budget,
        "threshold": threshold.value,
        **kept,
    }


def summary_text(summary: dict[str, Any]) -> str:
    """Return a training summary as lines for people, with the commands to type next."""
    return (
        f"{summary['family']} over {len(summary['channels'])} channels, window {summary['window']},"
        f" one row every {summary['interval_seconds']:g} s, {summary['rows']:,} rows\n"
        f"{_epochs(summary)}\n"
        f"threshold {summary['threshold']:.4g} ({summary['threshold_method'].replace('_', ' ')})"
        f" for {read_budget(summary['alarm_budget']).false_alarms}\n"
        f"{_sense(summary)}\n"
        f"{_scales_line(summary['own_scales'])}"
        f"{_doubts(summary['left_out'])}"
        f"{summary['modes']}"
        f"{''.join(f'note: {note}{chr(10)}' for note in summary['notes'])}"
        f"{standing_line(Path(summary['path']), summary['version'])}\n\n"
        f"next: streamgauge backtest {_place(summary)} DATA\n"
        f"      streamgauge inspect {_place(summary)}"
    )


def _place(summary: dict[str, Any]) -> str:
    """Return what names the new version: the registry entry if it is in use."""
    return str(summary["path"] if summary["in_use"] else Path(summary["path"], summary["version"]))


def _sense(summary: dict[str, Any]) -> str:
    """Return the line on the weakest channel, and a warning for each channel that can hardly be watched."""
    lines = [summary["finds"] or "what it finds was not measured: the held-out rows are too few"]
    lines += [
        f"warning: channel {name} can hardly be watched: a shift for 100 rows within its range is not found"
        for name in summary["hardly_watched"]
    ]
    return "\n".join(lines)


def _channels_of_series(spec: Spec) -> dict[str, list[str]]:
    """Return the series with own scales by the channels that have them; channels in one text."""
    series_of: dict[str, list[str]] = {}
    for series, own in spec.own_scales.items():
        series_of.setdefault(", ".join(one.channel for one in own), []).append(series)
    return series_of


def _scales_line(series_of: dict[str, list[str]]) -> str:
    """Return the lines on series with own scales; nothing if there is none."""
    return "".join(f"own scales of {channels}: {_some(names)}\n" for channels, names in series_of.items())


def _own_scales(spec: Spec) -> str:
    """Return the section of the card on series with own scales, in Markdown; nothing if there is none."""
    if not spec.own_scales:
        return ""
    common = {channel.name: channel.scale for channel in spec.channels}
    entries = [(series, one) for series, own in spec.own_scales.items() for one in own]
    lines = [
        f"| {series} | {one.channel} | {one.center:.4g} | {one.scale:.4g}"
        f" | {one.scale / common[one.channel]:.3g} |"
        for series, one in entries[:_MOST_LINES]
    ]
    more = len(entries) - _MOST_LINES
    rest = f"\n\n{more:,} more are in the artifact." if more > 0 else ""
    return _SCALES.format(lines="\n".join(lines) + rest)


def _lasting(spec: Spec) -> str:
    """Return the line of the card on departures that last, in Markdown."""
    if spec.reference is None:
        least = least_history(len(spec.channels))
        return (
            "- The history is too short for a reference: small departures that last do not add up."
            f" It needs {least:,} usable rows.\n"
        )
    usual: list[str] = []
    slow: list[str] = []
    out: list[str] = []
    limits = zip(spec.channel_names, spec.reference.threshold, spec.reference.allowance, strict=True)
    for name, threshold, allowance in limits:
        (out if not threshold else slow if allowance > _WANDERS else usual).append(name)
    lines = []
    if usual:
        lines.append("Departures of half the usual size add up while they last.")
    if slow and usual:
        lines.append(f"Those of {_some(slow)} must be larger: {_wander(slow)}.")
    elif slow:
        lines.append(f"Departures of {_some(slow)} add up while they last.")
        lines.append(f"They must be larger than half the usual size: {_wander(slow)}.")
    if out:
        lines.append(f"Small departures of {_some(out)} do not add up: {_wander(out)} too much.")
    return f"- {' '.join(lines)}\n"


def _wander(names: list[str]) -> str:
    return "it wanders" if len(names) == 1 else "they wander"


def _some(names: list[str]) -> str:
    """Return the first names, and the number of the others."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _doubts(left_out: dict[str, Any]) -> str:
    """Return the lines about what was left out of the history; nothing if that is nothing."""
    return "".join(f"left out: {line}\n" for line in left_out.get("lines", ()))


def _omissions(training: dict[str, Any]) -> str:
    """Return the list of what the training left out, in Markdown."""
    lines = training.get("left_out", {}).get("lines", ())
    return "\n".join(f"- {line}" for line in lines) or "Nothing: every row and every cell was used."


def _epochs(summary: dict[str, Any]) -> str:
    if not summary["epochs"]:
        return "solved directly, no epochs"
    return (
        f"{summary['epochs']} epochs ({summary['stopped']}), best {summary['best_epoch']}:"
        f" loss {summary['train_loss']:.4g}, validation {summary['validation_loss']:.4g}"
    )


def _course(training: dict[str, Any]) -> str:
    """Return the lines of the table on epochs and losses."""
    if not training["epochs"]:
        return "| epochs | solved directly, no epochs |"
    return (
        f"| epochs | {training['epochs']} ({training['stopped']}), best {training['best_epoch']} |\n"
        f"| loss | training {training['train_loss']:.4g}, validation {training['validation_loss']:.4g} |"
    )


def _members(spec: Spec) -> str:
    """Describe the members of the ensemble, as in "A conv autoencoder of 64 rows"."""
    named = [f"{member.family} ({member.window} rows)" for member in spec.members]
    if len(named) == 1:
        return f"A {spec.members[0].family} autoencoder of {spec.window} rows"
    return f"An ensemble of autoencoders, {', '.join(named)},"
