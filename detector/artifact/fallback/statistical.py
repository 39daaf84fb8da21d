"""Make the model of a kind that nobody has trained: level, spread and range of each channel.

It is an artifact like any other, so engine, snapshots and incidents are those of trained models. It knows no
series (`ColdStart` without series), so that every series learns centres and scales from its own rows. The
autoencoder returns the centre, whatever it sees. A residual is thus the distance to the centre in scales.

The same channels and rows give the same artifact, to the bit.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from detector.artifact.cold.cold_start import ColdStart
from detector.artifact.modules import network_of, shapes_of
from detector.artifact.spec import Artifact, Channel, Level, Member, PageLimit, Scoring, Spec, Threshold
from detector.models.execution.choice import NUMPY
from detector.models.execution.network import Network

PREFIX = "fallback-"
"""The names of these models begin so; a hash of the channels follows."""
_WINDOW, _BATCH, _MAX_GAP = 4, 64, 1
_FAMILY = "linear"
_HYPERPARAMETERS = {
    "latent": 1,
    "activation": "identity",
    "layers": 1,
    "nodes": 1,
    "loss": "mse",
    "fit": "closed",
}
_BAND = 3.0
_EDGE, _EDGE_ALONE = 3.0, 1.5
"""Root mean square of a window in scales where the score is 1, before its series has shown more: of all
channels together, and of each channel alone, averaged over the channels."""
_WEEK_NS = 7 * 86_400 * 10**9
_RECIPE = 1
"""Other numbers here are another recipe: a restart then learns again what it cannot continue."""


def name_of(channels: tuple[str, ...]) -> str:
    """Return the name of the fallback of a kind, by its channels in any order.

    >>> name_of(("flow", "pressure")) == name_of(("pressure", "flow"))
    True
    """
    text = "\0".join(sorted(channels)).encode()
    return PREFIX + hashlib.sha256(text).hexdigest()[:8]


def is_fallback(model: str) -> bool:
    """Return whether a model of this name is a fallback."""
    return model.startswith(PREFIX)


def statistical_model(channels: tuple[str, ...], interval_ns: int, warmup: int) -> Artifact:
    """Return the model of series with these channels.

    Args:
        channels: Names, at least one.
        interval_ns: Shortest rows; a series that sends more rarely gets longer ones.
        warmup: Rows of a series that show its centres and scales.
    """
    channels = tuple(sorted(channels))
    together, alone = Level(2.0 * math.log(_EDGE)), Level(math.log(math.log1p(_EDGE_ALONE**2)))
    levels = (together,) if len(channels) == 1 else (together, alone)
    members = (Member(_FAMILY, dict(_HYPERPARAMETERS), _WINDOW, levels, levels),)
    spec = Spec(
        name=name_of(channels),
        members=members,
        channels=tuple(Channel(name, 0.0, 1.0, _BAND, flatline_rows=1) for name in channels),
        interval_ns=interval_ns,
        stride=1,
        batch_size=_BATCH,
        max_gap=_MAX_GAP,
        scoring=Scoring(),
        threshold=Threshold(
            1.0, "statistical", "1/week", sharpness=2.0, limit=PageLimit(min(interval_ns / _WEEK_NS, 0.01))
        ),
        cold=ColdStart((), warmup),
    )
    version = hashlib.sha256(repr((_RECIPE, channels, interval_ns, warmup)).encode()).hexdigest()[:12]
    return Artifact(spec, _network(members, len(channels)), version=version)


def _network(members: tuple[Member, ...], num_channels: int) -> Network:
    """Return the network that reconstructs every window as the centre, and whitens nothing."""
    weights = {
        name: np.zeros(shape, np.float32)
        if ".autoencoder." in name or name.startswith("autoencoder")
        else _identity(shape)
        for name, shape in shapes_of(members, num_channels, NUMPY).items()
    }
    return network_of(members, num_channels, NUMPY, weights)


def _identity(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return identity matrices of this shape, or ones where it is a row, float32."""
    one = np.eye(shape[-1]) if len(shape) > 1 else np.ones(())
    found: NDArray[np.float32] = np.broadcast_to(one, shape).astype(np.float32)
    return found
