"""Build the networks that the description of an artifact names."""

from __future__ import annotations

from collections.abc import Sequence

from detector.artifact.spec import Member
from detector.models import families as models
from detector.models.ensemble import Ensemble, EnsembleMember
from detector.models.whitening import Whitening


def build_members(members: Sequence[Member], num_channels: int) -> Ensemble:
    """Return the ensemble with new random weights; seed torch before.

    Args:
        members: Description of each member.
        num_channels: Number of channels of the model.

    Raises:
        ValueError: A family is unknown, or has no such hyperparameter or value.
    """
    return Ensemble(
        EnsembleMember(
            models.build(member.family, member.hyperparameters, member.window, num_channels),
            Whitening(member.window, num_channels),
        )
        for member in members
    )
