"""Over many rows the forward pass, and the way back to X: by blocks, so that memory grows with the output alone."""

import numpy as np

from skbce._parameters import Layout, aligned_empty, aligned_rows, block_rows, known_layout
from skbce._threads import fair_share, thread_limit
from skbce.kernels import doors

# Activations of a block stay in a core's second-level cache (128 kB in float32).
_BLOCK_ELEMENTS = 2**15

# Fewer rows would make products of matrices that are all edge, and read W anew for each few rows; more would leave few
# blocks to share among threads.
_MIN_BLOCK_ROWS = 64

# Multiply-adds that are worth a thread: about 40 us of products in float32, where waking a thread takes 10.
_THREAD_WORK = 2**21


def fill_logits(
    layout: Layout,
    theta: np.ndarray,
    table: doors.Table,
    rows: np.ndarray | None,
    Z: np.ndarray,
    n_threads: int | None,
) -> tuple[bool, bool]:
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

    Returns
    -------
    theta_is_finite, Z_is_finite : bool
    """
    stored = table.n_stored if rows is None else len(Z) * layout.units[0]
    work = stored * layout.units[1] + len(Z) * (layout.n_parameters - layout.units[0] * layout.units[1])
    size, blocks = _blocks(layout, len(Z), work, theta.dtype, n_threads)
    return doors.logits(layout.network, theta, table, rows, size, blocks, Z, len(blocks))


def with_running_sums(layout: Layout, theta: np.ndarray, goes_on: np.ndarray) -> tuple[Layout, np.ndarray]:
    """The same network for rows that `PiecewiseLinearEncoder` has prepared for products: W_1 with its running sums.

    Parameters
    ----------
    layout, theta
        The network, for encoded rows.
    goes_on : ndarray of uint8 of shape (n_0,)
        1 where the running sum of the column before it goes on.

    Returns
    -------
    layout, theta
        For CSR rows of twice as many columns.
    """
    n_in, n_out = layout.shapes[0]
    wide = known_layout((2 * n_in, *layout.units[1:]), layout.activations, True)
    wide_theta = aligned_empty(wide.n_parameters, theta.dtype)
    doors.weights_and_sums(goes_on, theta, n_out, wide_theta)
    return wide, wide_theta


def fill_input_gradients(
    layout: Layout, theta: np.ndarray, table: doors.Table, output: int, dX: np.ndarray, n_threads: int | None
) -> None:
    """The derivatives of one output's logit of each row in that row of X.

    Parameters
    ----------
    layout, theta, table, n_threads
        As in `fill_logits`; X is dense.
    output : int
        The column of Z_L.
    dX : ndarray of shape (n_rows, n_0)
        Takes the derivatives.
    """
    size, blocks = _blocks(layout, len(dX), 2 * len(dX) * layout.n_parameters, theta.dtype, n_threads)
    doors.input_gradients(layout.network, theta, table, output, size, blocks, dX, len(blocks))


def _blocks(layout: Layout, n_rows: int, work: int, dtype, n_threads: int | None) -> tuple[int, np.ndarray]:
    """Rows of a block, and the memory for one in each thread, of as many as so many multiply-adds are worth."""
    size = block_rows(n_rows, layout, _BLOCK_ELEMENTS, _MIN_BLOCK_ROWS)
    most = min(n_rows // size, work // _THREAD_WORK)
    # The limit is asked for only where it matters: it takes a fifth of the time of predicting a row.
    n_threads = 1 if most < 2 else min(fair_share(thread_limit(n_threads)), most)
    return size, aligned_rows(n_threads, layout.network.workspace_size(size), dtype)
