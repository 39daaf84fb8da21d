"""The model family: every member is a module of windows to windows.

`forward(x_BWC) -> x_BWC`, float32, any batch; B batch, W window, C channels. NaN never reaches a
module: the caller fills and masks (see `detector.scoring`). A family is a frozen `Config` dataclass
of hyperparameters plus a module on one page, listed here.
"""

from __future__ import annotations
