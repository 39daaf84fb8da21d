"""Make the encoder of the messages of one model."""

from __future__ import annotations

from detector.artifact.spec import Artifact
from detector.calibration.p_values import PValues
from detector.config.load import Config
from detector.delivery.messages import MessageEncoder, Topics
from detector.incidents.shapes.sentence import Wording


def encoder_of(config: Config, artifact: Artifact) -> MessageEncoder:
    """Return the encoder of what a model says, for the topics and the detail of the configuration."""
    return MessageEncoder(
        Topics.of(config.output.prefix),
        artifact.spec.name,
        artifact.version,
        artifact.spec.channel_names,
        config.output.scores,
        config.output.detail,
        PValues.of(artifact),
        () if artifact.spec.modes is None else artifact.spec.modes.names,
        Wording.of(artifact.spec, config.units),
    )
