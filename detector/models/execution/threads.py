"""Keep the libraries of linear algebra to one thread, so that only our own threads divide the work.

Their threads wait for each other actively, which is slow on a busy machine. How they divide a product of
matrices also changes its last bits.
"""

from __future__ import annotations

import sys


def use_one_thread() -> None:
    """Let operations of torch in the calling thread use that thread alone; without torch do nothing."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def limit_blas() -> None:
    """Let products of matrices in NumPy use one thread each, in the whole process and for good."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")
