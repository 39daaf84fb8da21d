"""The model card: what a person should know of an artifact before trusting it."""

from __future__ import annotations

from detector.artifact.spec import Spec

_TEMPLATE = """\
# {name}

{members} over {num_channels} channels, one row every {interval:g} s. It scores how far windows are from
what their own code lets it expect; 1.0 is the threshold.

| | |
|---|---|
| channels | {channels} |
| trained on | {rows} rows of {num_series} series, fingerprint {fingerprint} |
| split by time | {train} % training, {validation} % validation, {calibration} % calibration |
| epochs | {epochs} ({stopped}), best {best_epoch} |
| loss | training {train_loss:.4g}, validation {validation_loss:.4g} |
| threshold | {threshold:.4g} by {method}, for {budget} false alarms a series |
| seed | {seed} |

## Limits

- It knows what its history showed. What was rare there scores high; what was wrong there counts as normal.
- The threshold {threshold_kind}.
- A series needs {shortest} rows before its first score, and {window} before all of the model speaks; again
  after a gap of more than {max_gap} rows.
"""

_STAYS = "is static: it holds as long as normal errors look like those of the calibration part"
_ADAPTS = "follows each series so that alarms keep to the budget; a level that stays is learnt"


def model_card(spec: Spec) -> str:
    """The card of a trained spec, Markdown."""
    training = spec.training
    return _TEMPLATE.format(
        name=spec.name,
        members=_members(spec),
        window=spec.window,
        shortest=min(member.window for member in spec.members),
        threshold_kind=_ADAPTS if spec.threshold.adaptation else _STAYS,
        num_channels=len(spec.channels),
        interval=spec.interval_ns / 1e9,
        channels=", ".join(spec.channel_names),
        max_gap=spec.max_gap,
        threshold=spec.threshold.value,
        method=spec.threshold.method.replace("_", " "),
        budget=spec.threshold.alarm_budget,
        **training,
    )


def _members(spec: Spec) -> str:
    """The members in words, "A conv autoencoder of 64 rows"."""
    named = [f"{member.family} ({member.window} rows)" for member in spec.members]
    if len(named) == 1:
        return f"A {spec.members[0].family} autoencoder of {spec.window} rows"
    return f"An ensemble of autoencoders, {', '.join(named)},"
