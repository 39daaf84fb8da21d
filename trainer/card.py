"""The model card: what a person should know of an artifact before trusting it."""

from __future__ import annotations

from detector.artifact import Spec

_TEMPLATE = """\
# {name}

A {family} autoencoder over windows of {window} rows of {num_channels} channels, one row every
{interval:g} s. It scores how far a row is from what the window lets it expect; 1.0 is the threshold.

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
- The threshold is static: it holds as long as normal errors look like those of the calibration part.
- A series needs {window} rows before its first score, and again after a gap of more than {max_gap} rows.
"""


def model_card(spec: Spec) -> str:
    """The card of a trained spec, Markdown."""
    training = spec.training
    return _TEMPLATE.format(
        name=spec.name,
        family=spec.family,
        window=spec.window,
        num_channels=len(spec.channels),
        interval=spec.interval_ns / 1e9,
        channels=", ".join(spec.channel_names),
        max_gap=spec.max_gap,
        threshold=spec.threshold.value,
        method=spec.threshold.method.replace("_", " "),
        budget=spec.threshold.alarm_budget,
        **training,
    )
