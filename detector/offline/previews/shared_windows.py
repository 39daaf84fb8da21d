"""An ensemble whose outputs are shared by several engines that read the same rows.

Letters: B batch, W window, S span, C channels, K statistics.
"""

from __future__ import annotations

from hashlib import blake2b

import torch

from detector.models.ensemble import Ensemble, EnsembleMember

_Outputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class SharedMember(EnsembleMember):
    """Remembers the outputs of windows, by what is in them, until `forget`.

    Several threads may run it at once. `forget` comes between two steps of the engines.

    Promise: the outputs are those of the member in every bit. What else is in a batch of its fixed size does
    not change them (`detector.scoring.inference`).
    """

    def __init__(self, member: EnsembleMember) -> None:
        """Share the weights of `member`."""
        super().__init__(member.autoencoder, member.whitening)
        self._known: dict[bytes, _Outputs] = {}

    def forget(self) -> None:
        """Forget all windows."""
        self._known.clear()

    def forward(self, x_BWC: torch.Tensor, known_BWC: torch.Tensor | None, span: int) -> _Outputs:
        """Return what `EnsembleMember.forward` returns, and run it only if a window is not remembered."""
        keys = _keys(x_BWC, known_BWC, span)
        if any(key not in self._known for key in keys):
            found = super().forward(x_BWC, known_BWC, span)
            self._known.update(zip(keys, zip(*found, strict=True), strict=True))
            return found
        expected, statistics, contribution = zip(*(self._known[key] for key in keys), strict=True)
        return torch.stack(expected), torch.stack(statistics), torch.stack(contribution)


def shared_ensemble(ensemble: Ensemble) -> Ensemble:
    """Return an ensemble of the same weights whose members remember windows."""
    return Ensemble(SharedMember(ensemble[at]) for at in range(len(ensemble)))


def forget_windows(ensemble: Ensemble) -> None:
    """Let the members of a shared ensemble forget all windows."""
    for member in ensemble.members:
        if isinstance(member, SharedMember):
            member.forget()


def _keys(x_BWC: torch.Tensor, known_BWC: torch.Tensor | None, span: int) -> list[bytes]:
    """Return a digest of each window, its known cells, and the span.

    A batch in which all cells are known is computed in another way than one with holes.
    """
    salt = span.to_bytes(8, "little") + bytes([known_BWC is not None])
    values = [one.tobytes() for one in x_BWC.cpu().numpy()]
    masks = [b""] * len(values) if known_BWC is None else [one.tobytes() for one in known_BWC.cpu().numpy()]
    return [
        blake2b(value + mask, digest_size=16, salt=salt).digest()
        for value, mask in zip(values, masks, strict=True)
    ]
