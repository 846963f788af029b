"""Where parameters lie: one flat vector `theta`, all W first and then all b; W[l] and b[l] are views of it.

One vector is one block of memory to update, to copy for the best model, and to hand to L-BFGS; all W together
is what the L2 term runs over. The order is scikit-learn's, so that sums over it round alike.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from skbce.kernels import doors

# The order of kernels/activations.pxd.
ACTIVATIONS = (
    "identity", "logistic", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus", "gelu", "silu", "mish",
)  # fmt: skip

# Those whose derivative does not follow from their value, so that the forward pass stores it.
STORED = ("gelu", "silu", "mish")

# n_in times the variance of the first W, for activations that scikit-learn lacks. 2 keeps the size of what goes forward
# and backward through a relu, 2 / (1 + slope^2) through a leaky one (He et al. 2015), and nearly so through the smooth
# ones of relu's shape; 1 goes with selu's constants (Klambauer et al. 2017).
_START_VARIANCES = {
    "leaky_relu": 2 / (1 + 0.01**2), "elu": 2, "selu": 1, "softplus": 2, "gelu": 2, "silu": 2, "mish": 2,
}  # fmt: skip

# A block of rows goes through all layers before the next. Fewer rows would read W, and read and write dW, anew for each
# few: with four layers of 512 and batches of 2048, whose shards have 256 rows, blocks of half that took 9 % longer.
_MIN_BLOCK_ROWS = 256

# Its activations should stay in a core's second-level cache: evaluations of L-BFGS took 15 to 20 % longer with 2^18 and
# more where layers have up to 100 units.
_BLOCK_ELEMENTS = 2**16

_CACHE_LINE = 64


def aligned_zeros(size: int, dtype, make: Callable[..., np.ndarray] = np.zeros) -> np.ndarray:
    """Zeros whose first element starts a cache line, so that vector loads do not straddle two."""
    dtype = np.dtype(dtype)
    raw = make(size * dtype.itemsize + _CACHE_LINE, np.uint8)
    start = -doors.address(raw) % _CACHE_LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


def aligned_empty(size: int, dtype) -> np.ndarray:
    """`aligned_zeros` without the zeros."""
    return aligned_zeros(size, dtype, np.empty)


def aligned_rows(n_rows: int, size: int, dtype, make: Callable[..., np.ndarray] = np.zeros) -> np.ndarray:
    """Zeros, or what `make` gives, of shape (n_rows, at least size), each row starting a cache line."""
    elements = _CACHE_LINE // np.dtype(dtype).itemsize
    size = -(-size // elements) * elements
    return aligned_zeros(n_rows * size, dtype, make).reshape(n_rows, size)


def one_for_each_hidden_layer(name: str, value: Any, n_hidden: int) -> tuple:
    """`value` as it stands where it is a sequence, else repeated.

    Raises
    ------
    ValueError
        For a sequence of another length.
    """
    if isinstance(value, str) or not np.iterable(value):
        return (value,) * n_hidden
    if len(value) != n_hidden:
        raise ValueError(
            f"{name} as a sequence needs one entry for each hidden layer, which are {n_hidden}, "
            f"got {len(value)}: {list(value)}."
        )
    return tuple(value)


def known_activations(activation: str | Sequence[str], n_hidden: int) -> tuple[str, ...]:
    """The activation of each hidden layer.

    Raises
    ------
    ValueError
        For a sequence of another length, and for a name that is not known.
    """
    names = one_for_each_hidden_layer("activation", activation, n_hidden)
    for name in (activation,) if isinstance(activation, str) else names:
        if not isinstance(name, str) or name not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {ACTIVATIONS}, or one of them a hidden layer, got {name!r}.")
    return tuple(str(name) for name in names)


def known_dropout(dropout: float | Sequence[float], n_hidden: int) -> np.ndarray | None:
    """The probability for each hidden layer that a unit is dropped; None where it is 0 in all.

    Raises
    ------
    ValueError
        For a sequence of another length, and for numbers outside [0, 1).
    """
    values = one_for_each_hidden_layer("dropout", dropout, n_hidden)
    if not all(isinstance(p, Real) and 0 <= p < 1 for p in values):
        raise ValueError(f"dropout must lie in [0, 1), in each hidden layer, got {list(values)}.")
    return np.array(values, np.float64) if any(values) else None


def start_bound(f: str, n_in: int, n_out: int) -> float:
    """The largest |W| and |b| of the start in a layer that ends in f.

    scikit-learn's activations have Glorot's, sqrt(6 / (n_in + n_out)), with 2 in place of 6 for the logistic one
    (Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html), the others He's or LeCun's.
    """
    if f in _START_VARIANCES:
        return np.sqrt(3 * _START_VARIANCES[f] / n_in)
    return np.sqrt((2.0 if f == "logistic" else 6.0) / (n_in + n_out))


class Layout:
    """The units of a network's layers and where each parameter lies in the flat vector.

    Parameters
    ----------
    units : sequence of int
        n_0 .. n_L: features, hidden units, outputs.
    activation : str or sequence of str
        Of the hidden layers, from `ACTIVATIONS`: one for all, or one for each.
    sparse : bool
        Whether X comes as CSR, so that blocks hold no A[0].
    dropout : float or sequence of float
        The probability that training drops a hidden unit, in all hidden layers or in each.

    Raises
    ------
    ValueError
        For a sequence of another length, an activation that is not known, or a probability outside [0, 1).
    """

    def __init__(
        self,
        units: Sequence[int],
        activation: str | Sequence[str],
        sparse: bool = False,
        dropout: float | Sequence[float] = 0.0,
    ):
        self.units = tuple(int(n) for n in units)
        self.dropout = known_dropout(dropout, len(self.units) - 2)
        self.activations = known_activations(activation, len(self.units) - 2)
        # Without hidden layers, one name still chooses the bounds of the start, as in scikit-learn.
        self._last_activation = activation if isinstance(activation, str) else (None, *self.activations)[-1]
        self.shapes = list(pairwise(self.units))
        sizes = [n_in * n_out for n_in, n_out in self.shapes]
        n_layers = len(self.shapes)
        rows = np.zeros((6, n_layers + 2), np.int64)
        rows[0, :-1] = self.units
        rows[1, 1:-1] = np.cumsum(sizes)
        rows[2, :-1] = sum(sizes) + np.cumsum((0, *self.units[1:]))
        rows[3, 1:] = np.cumsum((0 if sparse else self.units[0], *self.units[1:]))
        rows[4, 1:n_layers] = [ACTIVATIONS.index(f) for f in self.activations]
        p = np.zeros(len(self.activations)) if self.dropout is None else self.dropout
        stored = [n if f in STORED or drops else 0 for n, f, drops in zip(self.units[1:], self.activations, p > 0)]
        ends = rows[3, -1] + np.cumsum((0, *stored))
        rows[5, 1:n_layers] = np.where(stored, ends[:-1], -1)
        rows[5, -1] = ends[-1]
        self.row_elements = int(ends[-1])
        self._W_start, self._b_start = rows[1].tolist(), rows[2].tolist()
        self.n_parameters = self._b_start[n_layers]
        self.network = doors.Network(rows)

    def views(self, theta: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """W and b, lists of views of theta."""
        W = [theta[at : at + m * n].reshape(m, n) for at, (m, n) in zip(self._W_start, self.shapes, strict=False)]
        b = [theta[at : at + n] for at, (_, n) in zip(self._b_start, self.shapes, strict=False)]
        return W, b

    def flat(self, W: Sequence[np.ndarray], b: Sequence[np.ndarray], dtype) -> np.ndarray:
        """A new theta with these parameters.

        Raises
        ------
        ValueError
            Where a shape is not the layout's.
        """
        theta = aligned_zeros(self.n_parameters, dtype)
        for name, views, arrays in zip(("coefs_", "intercepts_"), self.views(theta), (W, b), strict=True):
            if [view.shape for view in views] != [np.shape(array) for array in arrays]:
                raise ValueError(
                    f"{name} has the shapes {[np.shape(array) for array in arrays]}, but layers of {self.units} "
                    f"units need {[view.shape for view in views]}."
                )
            for view, array in zip(views, arrays, strict=True):
                view[...] = array
        return theta

    def shared(self, W: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
        """The theta that W and b are views of; a new one where they are not (edited by hand, say).

        Raises
        ------
        ValueError
            As `flat`, and for arrays of something else than real numbers.
        """
        arrays = [np.asarray(array) for array in (*W, *b)]
        shapes = [*self.shapes, *((n,) for n in self.units[1:])]
        if len(W) != len(b) or [array.shape for array in arrays] != shapes:
            return self.flat(W, b, np.float64)  # which says what is wrong
        base, dtype = getattr(arrays[0], "base", None), arrays[0].dtype
        if not (isinstance(base, np.ndarray) and base.flags.c_contiguous and dtype in (np.float32, np.float64)):
            return self.flat(W, b, _precision_of(arrays))
        start = at = doors.address(arrays[0])
        for array in arrays:
            is_part = array.dtype == dtype and array.base is base and array.flags.c_contiguous
            if not (is_part and doors.address(array) == at):
                return self.flat(W, b, _precision_of(arrays))
            at += array.nbytes
        offset = start - doors.address(base)
        return base.reshape(-1).view(np.uint8)[offset : offset + at - start].view(dtype)

    def initial(self, random_state: np.random.RandomState, dtype) -> np.ndarray:
        """A uniform start within `start_bound`, drawn layer by layer (W, then b) as scikit-learn draws it."""
        theta = aligned_zeros(self.n_parameters, dtype)
        # The output layer goes by the activation below it, as in scikit-learn, and by Glorot's bound in any case.
        last = "identity" if self._last_activation in _START_VARIANCES else self._last_activation
        for W, b, f in zip(*self.views(theta), (*self.activations, last), strict=True):
            bound = start_bound(f, *W.shape)
            W[...] = random_state.uniform(-bound, bound, W.shape)
            b[...] = random_state.uniform(-bound, bound, b.shape)
        return theta


@lru_cache(maxsize=64)
def known_layout(units: tuple[int, ...], activation: str | tuple[str, ...], sparse: bool) -> Layout:
    """The layout that predictions share: making one takes as long as predicting a row."""
    return Layout(units, activation, sparse)


class Workspace:
    """The memory that threads work in: a block of activations each, a gradient for each shard of a batch.

    Parameters
    ----------
    layout : Layout
    rows : int
        Of the largest batch.
    dtype : dtype
    n_threads : int
        Most threads that will work in it.
    """

    def __init__(self, layout: Layout, rows: int, dtype, n_threads: int):
        n_shards = layout.network.shards(rows)
        self.n_threads = min(n_threads, n_shards)
        self.block_rows = block_rows(-(-rows // n_shards), layout, _BLOCK_ELEMENTS, _MIN_BLOCK_ROWS)
        self.blocks = aligned_rows(self.n_threads, layout.network.workspace_size(self.block_rows), dtype)
        self.gradients = aligned_rows(n_shards, layout.n_parameters, dtype)
        self.partials = np.zeros(layout.network.partials_size())


def block_rows(rows: int, layout: Layout, elements: int, least: int) -> int:
    """Rows of a block: `rows` cut into equal blocks whose activations keep to so many elements, if that is `least`."""
    n_blocks = -(-rows * layout.row_elements // elements)
    return max(-(-rows // max(1, min(n_blocks, rows))), min(rows, least))


def _precision_of(arrays: Sequence[np.ndarray]) -> np.dtype:
    """float32 where it holds all numbers of the arrays, else float64."""
    kinds = {array.dtype for array in arrays}
    if any(dtype.kind not in "biuf" for dtype in kinds):
        raise ValueError(f"coefs_ and intercepts_ must hold real numbers, got the dtypes {sorted(map(str, kinds))}.")
    return np.dtype(np.float32 if np.result_type(*kinds, np.float32) == np.float32 else np.float64)
