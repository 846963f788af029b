"""The equations of backpropagation for binary classification as functions: NumPy in, NumPy out.

They run the kernels that train `BCEMLPClassifier`, one call a layer, and let go of nothing on the way: every Z, A,
dZ, dW and db is returned. `docs/maths.md` works through a 3-layer and a 4-layer network with them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skbce._parameters import ACTIVATIONS, known_activations
from skbce._training import SOLVERS
from skbce.kernels import doors

__all__ = ["backward", "bce_cost", "forward", "gradient_descent_step"]

Array = NDArray[np.floating]

# Those of kernels/activations.pxd: has_own_backward.
_WITH_OWN_BACKWARD = ("identity", "logistic", "tanh", "relu")


def forward(
    X: ArrayLike, weights: Sequence[ArrayLike], biases: Sequence[ArrayLike], activation: str | Sequence[str] = "relu"
) -> tuple[list[Array], list[Array]]:
    """Forward propagation: Z_l = A_{l-1} W_l + b_l, A_l = f(Z_l), and Y_hat = sigmoid(Z_L).

    Parameters
    ----------
    X : array-like of shape (m, n_0)
        m observations. Computed in float32 where X, weights and biases all are, else in float64.
    weights : sequence of L array-likes, W[l] of shape (n_l, n_{l+1})
    biases : sequence of L array-likes, b[l] of shape (n_{l+1},)
    activation : str or sequence of str, default='relu'
        f of the hidden layers, or of each by itself: 'identity', 'logistic', 'tanh', 'relu', 'leaky_relu', 'elu',
        'selu', 'softplus', 'gelu', 'silu' or 'mish'.

    Returns
    -------
    Z : list of L ndarrays, Z[l] of shape (m, n_{l+1})
        Before the activation; the last are the logits.
    A : list of L + 1 ndarrays
        A[0] is X as validated, A[l + 1] has the shape of Z[l], A[-1] is Y_hat.

    Raises
    ------
    ValueError
        Where shapes do not fit or a value is not finite; the message names the argument.

    References
    ----------
    Rumelhart, Hinton and Williams (1986), Nature 323, :doi:`10.1038/323533a0`.

    Examples
    --------
    >>> import numpy as np
    >>> from skbce.backprop import forward
    >>> Z, A = forward([[1.0, 2.0]], [np.eye(2), [[1.0], [-1.0]]], [np.zeros(2), np.zeros(1)])
    >>> Z[-1]
    array([[-1.]])
    >>> A[-1].round(3)
    array([[0.269]])
    """
    dtype = _common_dtype(X, *weights, *biases)
    A = [_array("X", X, dtype, ndim=2)]
    Z = []
    if not len(weights) == len(biases) > 0:
        raise ValueError(f"weights and biases need one entry a layer, got {len(weights)} and {len(biases)}.")
    f = [*known_activations(activation, len(weights) - 1), "logistic"]
    for l, (W, b) in enumerate(zip(weights, biases, strict=True)):
        W = _array(f"weights[{l}]", W, dtype, shape=(A[-1].shape[1], None))
        b = _array(f"biases[{l}]", b, dtype, shape=(W.shape[1],))
        Z.append(np.empty((len(A[0]), W.shape[1]), dtype))
        doors.layer_forward(A[-1], W, b, False, Z[-1])
        A.append(Z[-1].copy())
        doors.apply_activation(ACTIVATIONS.index(f[l]), A[-1])
    return Z, A


def bce_cost(Y: ArrayLike, logits: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
    """Binary cross-entropy, the mean over observations of the sum over outputs, in nats per sample.

    cost = -1/m sum_i sum_k [y log p + (1 - y) log(1 - p)] with p = sigmoid(z), computed as
    max(z, 0) - y z + log(1 + exp(-|z|)): finite for any finite logit, and exact in its tails.

    Parameters
    ----------
    Y : array-like of shape (m,) or (m, n_L)
        Targets in [0, 1].
    logits : array-like of the same shape
        Z[-1] of `forward`.
    sample_weight : array-like of shape (m,), default=None
        Makes the mean a weighted one.

    Returns
    -------
    cost : float

    Raises
    ------
    ValueError
        Where shapes do not fit, a value is not finite, targets lie outside [0, 1] or weights are negative or all zero.

    Examples
    --------
    >>> from skbce.backprop import bce_cost
    >>> bce_cost([0.0, 1.0], [0.0, 0.0])
    0.6931471805599453
    >>> bce_cost([0.0], [1e300])
    1e+300
    """
    dtype = _common_dtype(logits)
    Z = _columns("logits", logits, dtype)
    Y = _targets(Y, Z)
    weight = _weight(sample_weight, Z)
    total = len(Z) if weight is None else weight.sum(dtype=np.float64)
    losses = np.empty_like(Z)
    cost = doors.output_loss(Z, Y, weight, losses) / total
    if np.isinf(cost):
        # The sum of losses overflows, their mean need not.
        share = 1 / total if weight is None else weight[:, np.newaxis].astype(np.float64) / total
        cost = (losses.astype(np.float64) * share).sum()
    return float(cost)


def backward(
    Y: ArrayLike,
    Z: Sequence[ArrayLike],
    A: Sequence[ArrayLike],
    weights: Sequence[ArrayLike],
    activation: str | Sequence[str] = "relu",
    sample_weight: ArrayLike | None = None,
) -> tuple[list[Array], list[Array], list[Array]]:
    """Backpropagation of the cost `bce_cost` through `forward`.

    dZ_L = Y_hat - Y;  dZ_l = (dZ_{l+1} W_{l+1}^T) * f'(Z_l);  dW_l = 1/m A_{l-1}^T dZ_l;  db_l = 1/m sum_i dZ_l[i]

    Parameters
    ----------
    Y : array-like of shape (m,) or (m, n_L)
        Targets in [0, 1].
    Z, A : sequences of L and L + 1 array-likes
        What `forward` returned.
    weights : sequence of L array-likes
    activation : str or sequence of str, default='relu'
        As in `forward`.
    sample_weight : array-like of shape (m,), default=None
        Multiplies each observation's dZ; then 1 / sum(sample_weight) stands in place of 1/m.

    Returns
    -------
    dZ : list of L ndarrays, shaped as Z
        Derivatives of each observation's own loss; 1/m is not in them.
    dW, db : lists of L ndarrays, shaped as weights and biases
        Derivatives of the cost.

    Raises
    ------
    ValueError
        Where shapes do not fit or a value is not finite; the message names the argument.

    References
    ----------
    Rumelhart, Hinton and Williams (1986), Nature 323, :doi:`10.1038/323533a0`.

    Examples
    --------
    >>> import numpy as np
    >>> from skbce.backprop import backward, forward
    >>> W, b = [np.eye(2), np.array([[1.0], [-1.0]])], [np.zeros(2), np.zeros(1)]
    >>> Z, A = forward([[1.0, 2.0]], W, b)
    >>> dZ, dW, db = backward([1.0], Z, A, W)
    >>> dW[-1].round(3)
    array([[-0.731],
           [-1.462]])
    """
    dtype = _common_dtype(*Z, *A, *weights)
    n_layers = len(weights)
    if not len(Z) == len(A) - 1 == n_layers > 0:
        raise ValueError(f"Z, A and weights need L, L + 1 and L entries, got {len(Z)}, {len(A)} and {n_layers}.")
    f = known_activations(activation, n_layers - 1)
    A = [_array(f"A[{l}]", a, dtype, ndim=2) for l, a in enumerate(A)]
    m = len(A[0])
    W = [_array(f"weights[{l}]", w, dtype, shape=(A[l].shape[1], A[l + 1].shape[1])) for l, w in enumerate(weights)]
    Z = [_array(f"Z[{l}]", z, dtype, shape=(m, None)) for l, z in enumerate(Z)]
    for l, z in enumerate(Z):
        _array(f"A[{l + 1}]", A[l + 1], dtype, shape=z.shape)
    logits = Z[-1]
    weight = _weight(sample_weight, logits)
    total = m if weight is None else weight.sum(dtype=np.float64)
    dZ = [np.empty_like(a) for a in A[1:]]
    dW = [np.empty_like(w) for w in W]
    db = [np.zeros(w.shape[1], dtype) for w in W]
    doors.output_backward(logits, _targets(Y, logits), weight, dZ[-1], db[-1])
    for l in reversed(range(n_layers)):
        doors.layer_gradient(A[l], dZ[l], dW[l])
        dW[l] /= total
        db[l] /= total
        if l > 0:
            doors.layer_backward(*_derivative(f[l - 1], Z[l - 1], A[l]), dZ[l], W[l], dZ[l - 1], db[l - 1])
    return dZ, dW, db


def gradient_descent_step(
    weights: Sequence[ArrayLike],
    biases: Sequence[ArrayLike],
    dW: Sequence[ArrayLike],
    db: Sequence[ArrayLike],
    learning_rate: float,
) -> tuple[list[Array], list[Array]]:
    """One step of gradient descent: W_l - learning_rate dW_l and b_l - learning_rate db_l, as new arrays.

    Parameters
    ----------
    weights, biases : sequences of L array-likes
    dW, db : sequences of L array-likes, shaped as weights and biases
        What `backward` returned.
    learning_rate : float

    Returns
    -------
    weights, biases : lists of L ndarrays

    Raises
    ------
    ValueError
        Where shapes do not fit or a value is not finite; the message names the argument.

    Examples
    --------
    >>> from skbce.backprop import gradient_descent_step
    >>> gradient_descent_step([[[1.0]]], [[0.0]], [[[2.0]]], [[1.0]], learning_rate=0.5)
    ([array([[0.]])], [array([-0.5])])
    """
    if not np.isfinite(learning_rate):
        raise ValueError(f"learning_rate must be finite, got {learning_rate}.")
    dtype = _common_dtype(*weights, *biases)
    stepped = []
    for name, parameters, gradients in (("weights", weights, dW), ("biases", biases, db)):
        if len(parameters) != len(gradients):
            raise ValueError(f"{name} has {len(parameters)} entries and its gradient {len(gradients)}.")
        stepped.append(
            [
                _stepped(f"{name}[{l}]", parameter, gradient, learning_rate, dtype)
                for l, (parameter, gradient) in enumerate(zip(parameters, gradients, strict=True))
            ]
        )
    return stepped[0], stepped[1]


def _stepped(name: str, parameter: ArrayLike, gradient: ArrayLike, learning_rate: float, dtype) -> Array:
    theta = _array(name, parameter, dtype).copy()
    gradient = _array(f"the gradient of {name}", gradient, dtype, shape=theta.shape)
    rule = {
        "solver": SOLVERS.index("sgd"), "learning_rate": learning_rate, "alpha": 0.0, "weight_decay": 0.0,
        "max_grad_norm": np.inf, "momentum": 0.0,
        "nesterov": False, "beta1": 0.0, "beta2": 0.0, "eps": 0.0,
    }  # fmt: skip
    doors.descend(rule, 1, gradient.reshape(-1), theta.reshape(-1), np.zeros(theta.size, dtype), None)
    return theta


def _derivative(f: str, Z: Array, A: Array) -> tuple[int, Array]:
    """What the kernels take f'(Z) from: f's number and A where they have loops for f, else STORED's and f'(Z)."""
    number = ACTIVATIONS.index(f)
    if f in _WITH_OWN_BACKWARD:
        return number, A
    D = np.empty_like(Z)
    doors.store_derivative(number, Z.copy(), D)
    return len(ACTIVATIONS), D


def _common_dtype(*arrays: ArrayLike) -> np.dtype:
    """float32 where every array is, else float64."""
    is_float32 = all(getattr(array, "dtype", None) == np.float32 for array in arrays)
    return np.dtype(np.float32 if is_float32 else np.float64)


def _array(name: str, array: ArrayLike, dtype, ndim: int | None = None, shape: tuple | None = None) -> Array:
    """A C-contiguous array of dtype, not empty and finite, of this many dimensions, or this shape (None: any)."""
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} is not an array: {error}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got the dtype {array.dtype}.")
    if max(array.shape, default=0) > np.iinfo(np.int32).max:
        raise ValueError(f"{name} has the shape {array.shape}; BLAS counts to 2147483647 rows or columns.")
    array = np.ascontiguousarray(array, dtype)
    ndim = ndim if shape is None else len(shape)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got the shape {array.shape}.")
    if shape is not None and any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        raise ValueError(f"{name} must have the shape {shape}, got {array.shape}.")
    if array.size == 0:
        raise ValueError(f"{name} is empty.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity.")
    return array


def _columns(name: str, array: ArrayLike, dtype) -> Array:
    """As `_array`, with (m,) taken as (m, 1)."""
    array = _array(name, array, dtype)
    return _array(name, array.reshape(-1, 1) if array.ndim == 1 else array, dtype, ndim=2)


def _targets(Y: ArrayLike, Z: Array) -> Array:
    Y = _columns("Y", Y, Z.dtype)
    if Y.shape != Z.shape:
        raise ValueError(f"Y must have the shape of the logits, {Z.shape}, got {Y.shape}.")
    if Y.min() < 0 or Y.max() > 1:
        raise ValueError("Y must lie in [0, 1].")
    return Y


def _weight(sample_weight: ArrayLike | None, Z: Array) -> Array | None:
    if sample_weight is None:
        return None
    weight = _array("sample_weight", sample_weight, Z.dtype, shape=(len(Z),))
    if weight.min() < 0 or weight.max() == 0:
        raise ValueError("sample_weight must not be negative, nor zero for every row.")
    return weight
