"""The report of a training, `report.html` beside the files of the artifact.

The artifact's version is made of its own files. The report is none of them, and changes no digest.
Letters: N windows, W rows, C channels, L numbers of a code.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detector.artifact.spec import Artifact, Spec
from detector.models.ensemble import torch_ensemble
from detector.models.families import reconstruct
from detector.reports.page import write_page
from detector.scoring.preprocessing import fill_missing
from trainer.calibrate import QUANTILES
from trainer.ensemble_training import MemberWindows
from trainer.training_report.realised import budget_curve

FILE = "report.html"
_MOST_WINDOWS, _SHOWN, _MOST_CHANNELS, _MOST_ROWS = 512, 3, 4, 512
_BATCH = 128


@dataclass(slots=True)
class HeldOutWindows:
    """Keep held-out windows that a training shows at its end.

    values    float32 [N, W, C] in units of the usual spread, NaN where missing; None until then
    """

    values: NDArray[np.float32] | None = None

    def keep(self, artifact: Artifact, windows: MemberWindows) -> None:
        """Keep up to 512 windows that end in the held-out rows, spread evenly over them."""
        held_out = windows.ending_in("calibration", artifact.spec.window)
        if len(held_out):
            self.values = held_out.spread(_MOST_WINDOWS)


def write_training_report(artifact: Artifact, windows: HeldOutWindows, directory: Path) -> Path:
    """Write the report of a training beside the files of its artifact and return its path.

    Raises:
        DetectorError: the file cannot be written.
    """
    out = directory / FILE
    report = training_report(artifact, windows.values)
    write_page(out, report["title"], "training", {"report": report})
    return out


def training_report(artifact: Artifact, x_NWC: NDArray[np.float32] | None) -> dict[str, Any]:
    """Return what the report says.

    Args:
        artifact: the trained model.
        x_NWC: held-out windows as `HeldOutWindows` keeps them; None: there are none.
    """
    spec = artifact.spec
    return {
        "title": f"Training of {spec.name}",
        "about": f"{spec.name} {artifact.version}, {spec.family}",
        "words": _words(artifact),
        "losses": _losses(spec),
        "residuals": _residuals(artifact),
        "budget": budget_curve(artifact),
        "windows": _windows(artifact, x_NWC),
        "latent": _latent(artifact, x_NWC),
        "card": artifact.card,
    }


def _words(artifact: Artifact) -> list[str]:
    spec = artifact.spec
    record = spec.training
    words = [
        (
            f"{record['rows']:,} rows of {record['num_series']:,} series trained {len(spec.members)} model"
            f"{'s' if len(spec.members) > 1 else ''} of {spec.window} rows and {len(spec.channels)} channels."
            f" {record['train']} % of the rows trained the weights, {record['validation']} % chose the epoch,"
            f" and {record['calibration']} % were held out."
        )
    ]
    method = spec.threshold.method.replace("_", " ")
    words.append(f"The threshold is calibrated to {spec.threshold.alarm_budget} ({method}).")
    watched = record.get("hardly_watched") or []
    if watched:
        words.append(f"Only large faults are found in: {', '.join(watched)}.")
    return words + [f"Note: {note}." for note in record.get("notes", ())]


def _losses(spec: Spec) -> dict[str, Any]:
    record = spec.training
    train, validation = record["train_losses"], record["validation_losses"]
    if not train:
        words = "None: the weights are computed at once, without epochs."
    else:
        words = f"solid: training, other: validation; the weights are those of epoch {record['best_epoch']}"
    return {"train": train, "validation": validation, "words": words}


def _residuals(artifact: Artifact) -> list[dict[str, Any]]:
    levels = QUANTILES.tolist()
    at = [levels.index(one) for one in (0.5, 0.99, 1.0)]
    rows = []
    for channel in artifact.spec.channels:
        found = artifact.calibration[f"residual:{channel.name}"]
        median, high, greatest = (float(found[place]) for place in at)
        numbers = {"median": median, "high": high, "greatest": greatest, "scale": channel.scale}
        rows.append({"channel": channel.name, **numbers})
    return rows


def _windows(artifact: Artifact, x_NWC: NDArray[np.float32] | None) -> dict[str, Any]:
    """Return the held-out windows with the greatest and the least mean squared residual."""
    if x_NWC is None:
        return {"words": "None: no held-out window is whole.", "worst": [], "best": []}
    y_NWC = _rebuilt(artifact, x_NWC)
    residual = np.where(np.isnan(x_NWC), 0.0, x_NWC - y_NWC)
    known = np.maximum(1, (~np.isnan(x_NWC)).sum(axis=(1, 2)))
    error = (residual.astype(np.float64) ** 2).sum(axis=(1, 2)) / known
    order = np.argsort(error, kind="stable")
    words = (
        f"Of {len(x_NWC):,} held-out windows, by the mean squared residual of the first model. The axis is in"
        " units of the usual spread of each channel. The weights have learnt the newest rows too since then."
    )

    def shown(numbers: NDArray[np.intp]) -> list[dict[str, Any]]:
        return [_window(artifact.spec, x_NWC[at], y_NWC[at], float(error[at])) for at in numbers.tolist()]

    return {"words": words, "worst": shown(_apart(order[::-1])), "best": shown(_apart(order))}


def _apart(order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the first windows of an order that are no near neighbours of one already chosen."""
    distance = max(1, len(order) // 16)
    chosen: list[int] = []
    for at in order.tolist():
        if all(abs(at - other) >= distance for other in chosen):
            chosen.append(at)
        if len(chosen) == _SHOWN:
            break
    return np.array(chosen, np.intp)


def _window(spec: Spec, x_WC: NDArray[np.float32], y_WC: NDArray[np.float32], error: float) -> dict[str, Any]:
    """Return the channels of a window that are rebuilt worst, at most 4."""
    size = np.nanmean(np.where(np.isnan(x_WC), 0.0, (x_WC - y_WC) ** 2), axis=0)
    worst = np.argsort(-size, kind="stable")[:_MOST_CHANNELS]
    step = -(-len(x_WC) // _MOST_ROWS)
    channels = [
        {
            "name": spec.channel_names[at],
            "actual": _short(x_WC[::step, at]),
            "rebuilt": _short(y_WC[::step, at]),
        }
        for at in worst.tolist()
    ]
    return {"title": f"mean squared residual {error:.3g}", "channels": channels}


def _short(values: NDArray[np.float32]) -> list[float | None]:
    return [round(one, 4) if np.isfinite(one) else None for one in values.astype(np.float64).tolist()]


def _rebuilt(artifact: Artifact, x_NWC: NDArray[np.float32]) -> NDArray[np.float32]:
    module = torch_ensemble(artifact.module)[0].autoencoder
    parts = []
    with torch.inference_mode():
        for at in range(0, len(x_NWC), _BATCH):
            filled = torch.from_numpy(fill_missing(x_NWC[at : at + _BATCH]))
            parts.append(reconstruct(module, filled)[0].numpy())
    return np.concatenate(parts)


def _latent(artifact: Artifact, x_NWC: NDArray[np.float32] | None) -> dict[str, Any]:
    """Return the codes of held-out windows by their two principal components, and what share these have."""
    module = torch_ensemble(artifact.module)[0].autoencoder
    encode = getattr(module, "encode", None)
    nothing = {"x": None, "y": None}
    if encode is None:
        return nothing | {"words": f"The family {artifact.spec.family} has no code to show."}
    if x_NWC is None or len(x_NWC) < 3:
        return nothing | {"words": "There are too few held-out windows to show."}
    with torch.inference_mode():
        code = encode(torch.from_numpy(fill_missing(x_NWC))).numpy()
    z_NL = code.astype(np.float64).reshape(len(x_NWC), -1)
    if z_NL.shape[1] < 2:
        return nothing | {"words": "The code is a single number: there are no two dimensions."}
    points, share = principal_plane(z_NL)
    order = np.argsort(points[:, 0], kind="stable")  # the chart wants rising numbers
    words = (
        f"Each held-out window as a code of {z_NL.shape[1]} numbers, projected to the plane with most"
        f" of their variance: {share:.0%}."
    )
    return {"x": _short(points[order, 0]), "y": _short(points[order, 1]), "words": words}


def principal_plane(z_NL: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
    """Return points projected to their two principal components, float32 [N, 2], and their share of variance.

    The components are those of the singular value decomposition (Pearson, 1901). L must be at least 2.
    """
    centred = z_NL - z_NL.mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    total = float((sizes**2).sum())
    share = float((sizes[:2] ** 2).sum()) / total if total else 1.0
    return (centred @ directions[:2].T).astype(np.float32), share
