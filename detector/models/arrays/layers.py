"""Dense layers and activations in NumPy, float32 throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]
Activation = Callable[[F32], F32]
"""May write its result over its argument."""

_BLOCK = 16_384
"""Cells that are computed at once where many steps follow each other: they stay in a core's cache."""
_GELU = (
    0.7978842161248634,
    0.03633428349942592,
    -3.3129986013277876e-05,
    -5.524016024548576e-05,
    3.969109654359323e-06,
    -1.3344641953156469e-07,
    1.805616613591643e-09,
)
_GELU_END = 5.7**2


def dense(x_NI: F32, weight_OI: F32, bias_O: F32) -> F32:
    """Return x W^T + b, float32 [N, O]."""
    y_NO: F32 = x_NI @ weight_OI.T
    y_NO += bias_O
    return y_NO


def dense_shapes(name: str, num_in: int, num_out: int) -> Shapes:
    """Return the shapes of the weights of a dense layer, by name."""
    return {f"{name}.weight": (num_out, num_in), f"{name}.bias": (num_out,)}


def stack_shapes(name: str, widths: list[int]) -> Shapes:
    """Return the shapes of dense layers of these widths; every second place is an activation."""
    found: Shapes = {}
    for at, (num_in, num_out) in enumerate(pairwise(widths)):
        found |= dense_shapes(f"{name}.{2 * at}", num_in, num_out)
    return found


def stack_of(weights: Mapping[str, F32], name: str, num_layers: int, activation: str) -> Callable[[F32], F32]:
    """Return dense layers with an activation between each two; float32 [N, I] to float32 [N, O]."""
    layers = [
        (weights[f"{name}.{2 * at}.weight"], weights[f"{name}.{2 * at}.bias"]) for at in range(num_layers)
    ]
    activate = ACTIVATIONS[activation]

    def run(x_NI: F32) -> F32:
        for at, (weight_OI, bias_O) in enumerate(layers):
            x_NI = dense(activate(x_NI) if at else x_NI, weight_OI, bias_O)
        return x_NI

    return run


def sigmoid(x: F32) -> F32:
    """Return the logistic function, written over `x`. The hyperbolic tangent cannot overflow."""
    x *= 0.5
    np.tanh(x, out=x)
    x *= 0.5
    x += 0.5
    return x


def gelu(x: F32) -> F32:
    """Return x times the normal distribution function of x, written over `x`.

    NumPy has no error function. Here it is tanh(x r(x^2)), where `_GELU` has the coefficients of r. They are
    a least-squares fit, weighted until the largest error of the result was least. Before rounding it is
    below 1e-7.
    """
    assert x.flags.c_contiguous  # else `flat` is a copy
    flat = x.reshape(-1)
    for at in range(0, len(flat), _BLOCK):
        part = flat[at : at + _BLOCK]
        square = np.minimum(part * part, _GELU_END)
        slope = square * _GELU[-1]
        for coefficient in _GELU[-2:0:-1]:
            slope += coefficient
            slope *= square
        slope += _GELU[0]
        slope *= part
        np.tanh(slope, out=slope)
        slope += 1.0
        part *= 0.5
        part *= slope
    return x


def _silu(x: F32) -> F32:
    return x * sigmoid(x.copy())


def _elu(x: F32) -> F32:
    found: F32 = np.where(x > 0.0, x, np.expm1(np.minimum(x, 0.0)))
    return found


def _relu(x: F32) -> F32:
    return np.maximum(x, 0.0, out=x)


def _leaky_relu(x: F32) -> F32:
    found: F32 = np.maximum(x, x * 0.01)
    return found


def _tanh(x: F32) -> F32:
    return np.tanh(x, out=x)


def _identity(x: F32) -> F32:
    return x


ACTIVATIONS: dict[str, Activation] = {
    "gelu": gelu,
    "relu": _relu,
    "silu": _silu,
    "elu": _elu,
    "tanh": _tanh,
    "sigmoid": sigmoid,
    "leaky_relu": _leaky_relu,
    "identity": _identity,
}
