"""The default ensemble through the engine, and what a network makes of the processor.

Rows a second of the ensemble stand beside those of one linear model in the same run. The arithmetic of a
network, as its module of torch computes it, is compared with products of large matrices, and its time with
that in numbers of 16 bits. All use one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.artifacts import CHANNELS, WINDOW, conv_artifact, ensemble_artifact, with_family
from benchmarks.engine import Stream
from benchmarks.measurement import Measurement, alternate
from detector.models.ensemble import EnsembleMember
from detector.models.recurrent import RecurrentAutoencoder

NUM_SERIES = 8
FAMILIES = ("conv", "lstm")
MATRIX = 1_024
NUM_GATES = 4


def measure(quick: bool) -> list[Measurement]:
    """Measure rows a second of the ensemble, and the arithmetic of each network."""
    num_polls, num_rounds, seconds = (1, 1, 0.05) if quick else (4, 5, 1.0)
    torch.set_num_threads(1)
    found = [_ensemble(num_channels, num_polls, num_rounds) for num_channels in (8, 1)]
    for family in FAMILIES:
        found += _network(family, num_rounds, seconds)
    return found


def _ensemble(num_channels: int, num_polls: int, num_rounds: int) -> Measurement:
    artifact = ensemble_artifact(num_channels)
    single = Stream(with_family(conv_artifact(), "linear"), NUM_SERIES)
    whole = Stream(artifact, NUM_SERIES)
    rate, linear = alternate(
        lambda: whole.rows_per_second(num_polls), lambda: single.rows_per_second(num_polls), num_rounds
    )
    detail = {
        "window": artifact.spec.members[0].window,
        "microseconds_a_row": round(1e6 / rate, 1),
        "linear_of_64_rows_per_second": round(linear),
    }
    return Measurement(f"default ensemble, {num_channels} channels", rate, "rows/s", detail=detail)


def _network(family: str, num_rounds: int, seconds: float) -> list[Measurement]:
    """Measure a network beside a product of matrices, and with numbers of 16 bits beside 32."""
    artifact = with_family(conv_artifact(), family)
    network = cast(EnsembleMember, artifact.module[0]).autoencoder.eval()
    x_BWC = torch.randn(artifact.spec.batch_size, WINDOW, len(CHANNELS))
    halved, halved_BWC = deepcopy(network).bfloat16(), x_BWC.bfloat16()
    matrix = torch.randn(MATRIX, MATRIX)
    with torch.inference_mode():
        rate, products = alternate(
            lambda: _times_a_second(lambda: network(x_BWC), seconds),
            lambda: _times_a_second(lambda: matrix @ matrix, seconds),
            num_rounds,
        )
        half, full = alternate(
            lambda: _times_a_second(lambda: halved(halved_BWC), seconds),
            lambda: _times_a_second(lambda: network(x_BWC), seconds),
            num_rounds,
        )
        furthest = (halved(halved_BWC).float() - network(x_BWC)).abs().max().item()
    made, possible = (
        rate * _flops(network, artifact.spec.members[0].hyperparameters, x_BWC),
        products * 2.0 * MATRIX**3,
    )
    windows = {"windows_per_second": round(len(x_BWC) * rate), "matrix_gflops": round(possible / 1e9)}
    return [
        Measurement(
            f"{family} as a module, arithmetic / that of a product", made / possible, "x", detail=windows
        ),
        Measurement(
            f"{family} as a module, bfloat16 / float32", half / full, "x", detail={"furthest": furthest}
        ),
    ]


def _times_a_second(work: Callable[[], object], seconds: float) -> float:
    work()
    number, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        work()
        number += 1
    return number / max(spent, 1e-9)


def _flops(network: torch.nn.Module, hyperparameters: dict[str, Any], x_BWC: torch.Tensor) -> float:
    """Return the multiplications and additions of a batch; torch does not count those of recurrent layers."""
    with FlopCounterMode(display=False) as counter:
        network(x_BWC)
    found = float(counter.get_total_flops())
    if isinstance(network, RecurrentAutoencoder):
        steps = len(x_BWC) * -(-x_BWC.shape[1] // hyperparameters["patch"])
        for layer in (network.encoder, network.decoder):
            found += 2.0 * NUM_GATES * layer.hidden_size * (layer.input_size + layer.hidden_size) * steps
    return found
