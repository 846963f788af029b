"""The forward pass over many rows: block by block, so that memory grows with the output alone."""

import numpy as np

from skbce._parameters import Layout, aligned_rows, block_rows
from skbce._threads import fair_share, thread_limit
from skbce.kernels import doors

# Activations of a block stay in a core's second-level cache (128 kB in float32).
_BLOCK_ELEMENTS = 2**15

# Multiply-adds that are worth a thread: about 40 us of products in float32, where waking a thread takes 10.
_THREAD_WORK = 2**21


def fill_logits(
    layout: Layout,
    theta: np.ndarray,
    table: doors.Table,
    rows: np.ndarray | None,
    Z: np.ndarray,
    n_threads: int | None,
) -> None:
    """Z_L of the table's rows, or of those named by number.

    Parameters
    ----------
    layout, theta
        The network; theta has the table's dtype.
    table : doors.Table
    rows : ndarray of int64, or None
    Z : ndarray of shape (n_rows, n_L)
        Takes the logits.
    n_threads : int or None
        As the estimator's; threads take blocks, so the result does not depend on them.
    """
    size = block_rows(len(Z), layout, _BLOCK_ELEMENTS)
    most = min(len(Z) // size, len(Z) * layout.n_parameters // _THREAD_WORK)
    # The limit is asked for only where it matters: it takes a fifth of the time of predicting a row.
    n_threads = 1 if most < 2 else min(fair_share(thread_limit(n_threads)), most)
    blocks = aligned_rows(n_threads, layout.network.workspace_size(size), theta.dtype)
    doors.logits(layout.network, theta, table, rows, size, blocks, Z, n_threads)
