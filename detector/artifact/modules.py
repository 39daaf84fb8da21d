"""The modules that a specification describes, with fresh weights."""

from __future__ import annotations

from collections.abc import Sequence

from detector.artifact.spec import Member
from detector.models import families as models
from detector.models.ensemble import Ensemble, EnsembleMember
from detector.models.whitening import Whitening


def build_members(members: Sequence[Member], num_channels: int) -> Ensemble:
    """Modules with fresh weights (seed torch before). Raises ValueError for what no family can have."""
    return Ensemble(
        EnsembleMember(
            models.build(member.family, member.hyperparameters, member.window, num_channels),
            Whitening(member.window, num_channels),
        )
        for member in members
    )
