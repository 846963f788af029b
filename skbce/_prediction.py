"""Over many rows the forward pass, and the way back to X: by blocks, so that memory grows with the output alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from skbce._parameters import Layout, aligned_rows, block_rows
from skbce._threads import fair_share, thread_limit
from skbce.kernels import doors

# Activations of a block stay in a core's second-level cache (128 kB in float32).
_BLOCK_ELEMENTS = 2**15

# Fewer rows would make products of matrices that are all edge, and read W anew for each few rows; more would leave few
# blocks to share among threads.
_MIN_BLOCK_ROWS = 64

# Rows that go through the columns of a lookup together, and units of networks that do: Z_1 of two networks of 128 units
# and a linear model takes half of a second-level cache (512 kB in float32).
_LOOKED_UP_BLOCK = 512
_UNITS_AT_ONCE = 257

# Multiply-adds that are worth a thread: about 40 us of products in float32, where waking a thread takes 10.
_THREAD_WORK = 2**21

# The same for lookups: about 2 ms. A busy machine wakes a thread milliseconds late, and all wait for it at the end:
# with five other processes on two cores, `wilt` (docs/tabular.md) took 3 ms for 1000 rows on one thread, and 5 on two.
_LOOKED_UP_THREAD_WORK = 2**27


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


def class_probabilities(Z: np.ndarray) -> np.ndarray:
    """The probabilities of both classes, of shape (n_rows, 2), from the logits of the second, of shape (n_rows, 1)."""
    Y_hat = np.empty((len(Z), 2), Z.dtype)
    doors.class_probabilities(Z, Y_hat)
    return Y_hat


def looked_up_logits(
    shown: Sequence[tuple[Any, list[tuple[Layout, np.ndarray]]]], table: doors.Table, n_threads: int | None
) -> list[list[np.ndarray | None]]:
    """Z_L of the table's encodings, which are not made: the first layers' products are looked up where values lie.

    Parameters
    ----------
    shown : sequence of (Plan of skbce.encoder, list of (Layout, theta))
        Encodings, and the networks that see each, of one output; layouts are for sparse rows.
    table : doors.Table
        Dense, not encoded.
    n_threads : int or None
        As the estimator's; threads take encodings and blocks, so the result does not depend on them.

    Returns
    -------
    logits : list of lists of ndarray of shape (n_rows, 1)
        For each network, in theta's dtype; None where parameters or logits are not finite.
    """
    n_blocks = -(-table.n_rows // _LOOKED_UP_BLOCK)
    size = -(-table.n_rows // n_blocks)
    lookups, numbers = [], []
    for k, (plan, networks) in enumerate(shown):
        for group in _groups(networks):
            layouts, thetas = zip(*(networks[m] for m in group))
            lookups.append(doors.Lookup(tuple(layout.network for layout in layouts), thetas, table, *plan, size))
            numbers.append((k, group))
    work = sum(_multiply_adds(plan, networks) for plan, networks in shown) * table.n_rows
    most = min(len(lookups) * n_blocks, work // _LOOKED_UP_THREAD_WORK)
    n_threads = 1 if most < 2 else min(fair_share(thread_limit(n_threads)), most)
    n_doubles = max(-(-lookup.n_elements * lookup.logits.itemsize // 8) for lookup in lookups)
    are_finite = doors.looked_up_logits(tuple(lookups), aligned_rows(n_threads, n_doubles, np.float64), n_threads)
    logits: list[list[np.ndarray | None]] = [[None] * len(networks) for _, networks in shown]
    for (k, group), lookup, finite in zip(numbers, lookups, are_finite, strict=True):
        for m, Z, is_finite in zip(group, lookup.logits, finite, strict=True):
            logits[k][m] = Z[:, None] if is_finite else None
    return logits


def _multiply_adds(plan, networks: list[tuple[Layout, np.ndarray]]) -> int:
    """What a row takes: a column of many bins is looked up in the time of FEW_BINS (kernels/encode.pxd)."""
    n_bins = plan.places[1]
    components = plan.width - int(np.maximum(n_bins - doors.FEW_BINS, 0).sum())
    above = sum(layout.n_parameters - layout.units[0] * layout.units[1] for layout, _ in networks)
    return above + components * sum(layout.units[1] for layout, _ in networks)


def _groups(networks: list[tuple[Layout, np.ndarray]]) -> list[list[int]]:
    """Numbers of networks that go together, of one dtype: neighbours of so many units, or one of more."""
    groups: list[list[int]] = []
    for dtype in sorted({theta.dtype for _, theta in networks}):
        n_units = np.inf
        for m, (layout, theta) in enumerate(networks):
            if theta.dtype != dtype:
                continue
            n_units += layout.units[1]
            if n_units > _UNITS_AT_ONCE or len(groups[-1]) == doors.NETWORKS_AT_ONCE:
                groups.append([])
                n_units = layout.units[1]
            groups[-1].append(m)
    return groups


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
    return size, aligned_rows(n_threads, layout.network.workspace_size(size), dtype, np.empty)
