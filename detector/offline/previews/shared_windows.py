"""An ensemble whose outputs are shared by several engines that read the same rows.

Letters: B batch, W window, S span, C channels, K statistics, L numbers of a code.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from detector.models.execution.network import F32, Network, NetworkMember, Outputs, Runner


class SharedMember:
    """Remembers the outputs of windows, by what is in them, until `forget`.

    Several threads may run it at once. `forget` comes between two steps of the engines.

    Promise: the outputs are those of the member in every bit. What else is in a batch of its fixed size does
    not change them (`detector.scoring.inference`).
    """

    def __init__(self, member: NetworkMember) -> None:
        """Share the weights of `member`."""
        self._member = member
        self._known: dict[bytes, Outputs] = {}

    def on(self, device: str) -> SharedRunner:
        """Return the member ready to run on a device. All runners of a member share what they remember."""
        return SharedRunner(self._member.on(device), self._known)

    def forget(self) -> None:
        """Forget all windows."""
        self._known.clear()


class SharedRunner:
    """Runs a member only for windows that are not remembered.

    Args:
        runner: what runs the member.
        known: the outputs of each window that is remembered, by its digest.
    """

    def __init__(self, runner: Runner, known: dict[bytes, Outputs]) -> None:
        self._runner, self._known = runner, known

    def __call__(self, x_BWC: F32, known_BWC: NDArray[np.bool_] | None, span: int) -> Outputs:
        """Return what the member returns, and run it only if a window is not remembered."""
        keys = _keys(x_BWC, known_BWC, span)
        if any(key not in self._known for key in keys):
            found = self._runner(x_BWC, known_BWC, span)
            self._known.update(zip(keys, zip(*found, strict=True), strict=True))
            return found
        expected, statistics, contribution = zip(*(self._known[key] for key in keys), strict=True)
        return np.stack(expected), np.stack(statistics), np.stack(contribution)

    def encode(self, x_BWC: F32) -> F32:
        """Return the flat code of each window, float32 [B, L]."""
        return self._runner.encode(x_BWC)

    def decode(self, z_BL: F32, window: int) -> F32:
        """Return the window of each code, float32 [B, window, C]."""
        return self._runner.decode(z_BL, window)

    def reconstruct(self, x_BWC: F32) -> F32:
        """Return the reconstruction of each window, float32 [B, W, C]."""
        return self._runner.reconstruct(x_BWC)


class SharedEnsemble:
    """Holds the networks of an artifact with members that remember windows."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._members = tuple(SharedMember(network[at]) for at in range(len(network)))

    @property
    def executor(self) -> str:
        """Return what computes: "torch" or "numpy"."""
        return self._network.executor

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, at: int) -> SharedMember:
        return self._members[at]

    def weights(self) -> dict[str, F32]:
        """Return the weights of all members by name."""
        return self._network.weights()

    def forget(self) -> None:
        """Let the members forget all windows."""
        for member in self._members:
            member.forget()


def _keys(x_BWC: F32, known_BWC: NDArray[np.bool_] | None, span: int) -> list[bytes]:
    """Return a digest of each window, its known cells, and the span.

    A batch in which all cells are known is computed in another way than one with holes.
    """
    salt = span.to_bytes(8, "little") + bytes([known_BWC is not None])
    values = [one.tobytes() for one in x_BWC]
    masks = [b""] * len(values) if known_BWC is None else [one.tobytes() for one in known_BWC]
    return [
        blake2b(value + mask, digest_size=16, salt=salt).digest()
        for value, mask in zip(values, masks, strict=True)
    ]
