"""The equations in plain NumPy, written from the equations: what the kernels are held against.

Everything is computed in float64 whatever comes in, or in complex128 where parameters are complex (for complex steps).
A weight of None is 1 for every row; `total` is the sum of the weights, m without them.
"""

from itertools import pairwise

import numpy as np
from scipy.special import erfc

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def activate(f, Z):
    """A = f(Z)."""
    if f == "identity":
        return Z
    if f == "logistic":
        return sigmoid(Z)
    if f == "tanh":
        return np.tanh(Z)
    if f == "relu":
        return np.where(Z.real > 0, Z, 0)
    if f == "leaky_relu":
        return np.where(Z.real > 0, Z, 0.01 * Z)
    if f == "elu":
        return np.where(Z.real > 0, Z, np.expm1(np.where(Z.real > 0, 0, Z)))
    if f == "selu":
        return SELU_SCALE * np.where(Z.real > 0, Z, SELU_ALPHA * np.expm1(np.where(Z.real > 0, 0, Z)))
    if f == "softplus":
        return softplus(Z)
    if f == "gelu":
        return Z * normal_distribution(Z)
    if f == "silu":
        return Z * sigmoid(Z)
    if f == "mish":
        return Z * np.tanh(softplus(Z))
    raise KeyError(f)


def derivative(f, Z):
    """f'(Z), from Z where the kernels take it from A."""
    if f == "identity":
        return np.ones_like(Z)
    if f == "logistic":
        return sigmoid(Z) * sigmoid(-Z)
    if f == "tanh":
        return 1 / np.cosh(Z) ** 2
    if f == "relu":
        return np.where(Z.real > 0, 1.0, 0.0)
    if f == "leaky_relu":
        return np.where(Z.real > 0, 1.0, 0.01)
    if f == "elu":
        return np.where(Z.real > 0, 1.0, np.exp(np.where(Z.real > 0, 0, Z)))
    if f == "selu":
        return SELU_SCALE * np.where(Z.real > 0, 1.0, SELU_ALPHA * np.exp(np.where(Z.real > 0, 0, Z)))
    if f == "softplus":
        return sigmoid(Z)
    if f == "gelu":
        return normal_distribution(Z) + Z * np.exp(-(Z**2) / 2) / np.sqrt(2 * np.pi)
    if f == "silu":
        return sigmoid(Z) + Z * sigmoid(Z) * sigmoid(-Z)
    if f == "mish":
        return np.tanh(softplus(Z)) + Z * sigmoid(Z) / np.cosh(softplus(Z)) ** 2
    raise KeyError(f)


def normal_distribution(Z):
    """Phi(Z), with all digits of its left tail."""
    return erfc(-Z / np.sqrt(2)) / 2


def sigmoid(Z):
    """1 / (1 + exp(-Z)); for negative Z the same fraction times exp(Z) / exp(Z), which does not overflow."""
    e = np.exp(np.where(Z.real < 0, Z, -Z))
    return np.where(Z.real < 0, e, 1) / (1 + e)


def softplus(Z):
    """log(1 + exp(Z)) = -log sigmoid(-Z)."""
    return np.where(Z.real > 0, Z, 0) + np.log1p(np.exp(np.where(Z.real > 0, -Z, Z)))


def hidden(f, n_hidden):
    """The activation of each hidden layer, where `f` is one for all or one for each."""
    return [f] * n_hidden if isinstance(f, str) else list(f)


def forward(X, W, b, f):
    """Z_l = A_{l-1} W_l + b_l, A_l = f_l(Z_l); A_0 = X, and the last A is Y_hat = sigmoid(Z_L)."""
    A, Z, f = [_wide(X)], [], [*hidden(f, len(W) - 1), "logistic"]
    for l in range(len(W)):
        Z.append(A[l] @ _wide(W[l]) + _wide(b[l]))
        A.append(activate(f[l], Z[l]))
    return Z, A


def total_weight(X, weight):
    return len(X) if weight is None else _wide(weight).sum()


def cost(Y, Z_L, weight=None, W=(), alpha=0.0):
    """1/total [sum_i weight_i sum_k -(y log p + (1 - y) log(1 - p)) + alpha/2 sum_l |W_l|^2], p = sigmoid(z)."""
    losses = (_wide(Y) * softplus(-_wide(Z_L)) + (1 - _wide(Y)) * softplus(_wide(Z_L))).sum(axis=1)
    summed = losses.sum() if weight is None else (_wide(weight) * losses).sum()
    # No abs: the square must stay analytic for complex W.
    return (summed + alpha / 2 * sum((_wide(w) ** 2).sum() for w in W)) / total_weight(losses, weight)


def backward(Y, Z, A, W, f, weight=None, alpha=0.0):
    """dZ_L = weight (Y_hat - Y), dZ_l = (dZ_{l+1} W_{l+1}^T) * f'(Z_l), and the sums over rows that are dW and db.

    dW_l = 1/total (A_{l-1}^T dZ_l + alpha W_l), db_l = 1/total sum_i dZ_l[i]
    """
    total, f = total_weight(A[0], weight), hidden(f, len(W) - 1)
    dZ = [None] * len(W)
    dZ[-1] = A[-1] - _wide(Y)
    if weight is not None:
        dZ[-1] = _wide(weight)[:, None] * dZ[-1]
    for l in range(len(W) - 2, -1, -1):
        dZ[l] = (dZ[l + 1] @ _wide(W[l + 1]).T) * derivative(f[l], Z[l])
    dW = [(A[l].T @ dZ[l] + alpha * _wide(W[l])) / total for l in range(len(W))]
    db = [dZ[l].sum(axis=0) / total for l in range(len(W))]
    return dZ, dW, db


def descend(W, b, dW, db, learning_rate):
    """W_l - learning_rate dW_l, b_l - learning_rate db_l."""
    step = [[p - learning_rate * g for p, g in zip(*pair, strict=True)] for pair in ((W, dW), (b, db))]
    return step[0], step[1]


def sgd(theta, g, velocity, *, learning_rate, momentum, nesterov):
    """The velocity remembers steps; Nesterov's step looks one velocity ahead. Returns theta and velocity."""
    velocity = momentum * velocity - learning_rate * g
    return theta + (momentum * velocity - learning_rate * g if nesterov else velocity), velocity


def adam(theta, g, m, v, t, *, learning_rate, beta1, beta2, eps):
    """Kingma and Ba's step t = 1, 2, .., in the form that their section 2 ends with. Returns theta, m, v."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    step_size = learning_rate * np.sqrt(1 - beta2**t) / (1 - beta1**t)
    return theta - step_size * m / (np.sqrt(v) + eps), m, v


def clipped(g, longest):
    """g, or what points as g does and is this long, where g is longer."""
    norm = np.sqrt((g**2).sum())
    return g * (longest / norm) if norm > longest else g


def shrunk(theta, units, share):
    """The vector with this share of W taken off; b stays."""
    W, b = unflat(theta, units)
    return flat([(1 - share) * w for w in W], b)


def smoothed(Y, smoothing):
    """Targets moved towards 1/2 by this share of the way."""
    return _wide(Y) + smoothing * (0.5 - _wide(Y))


def flat(W, b):
    """All W, row by row, then all b, in one vector."""
    return np.concatenate([np.ravel(array) for array in (*W, *b)])


def unflat(theta, units):
    """W and b from the vector."""
    arrays, at = [], 0
    for shape in [*pairwise(units), *((n,) for n in units[1:])]:
        size = int(np.prod(shape))
        arrays.append(theta[at : at + size].reshape(shape))
        at += size
    assert at == len(theta)
    return arrays[: len(units) - 1], arrays[len(units) - 1 :]


def cost_at(theta, units, f, X, Y, weight=None, alpha=0.0):
    """The cost of the parameters in the vector."""
    W, b = unflat(theta, units)
    return cost(Y, forward(X, W, b, f)[0][-1], weight, W, alpha)


def gradient_at(theta, units, f, X, Y, weight=None, alpha=0.0):
    """The gradient of the cost, as a vector."""
    W, b = unflat(_wide(theta), units)
    Z, A = forward(X, W, b, f)
    return flat(*backward(Y, Z, A, W, f, weight, alpha)[1:])


def initial(units, f, random_state):
    """A uniform start, W_0, b_0, W_1, b_1, .. drawn in turn, within Glorot's bounds, or He's, or LeCun's.

    The last layer's are Glorot's, the logistic function's where that is below.
    """
    W, b = [], []
    last = f if isinstance(f, str) else f[-1]
    f = [*hidden(f, len(units) - 2), "logistic" if last == "logistic" else "identity"]
    for f_l, (n_in, n_out) in zip(f, pairwise(units), strict=True):
        bound = ((2 if f_l == "logistic" else 6) / (n_in + n_out)) ** 0.5
        if f_l in ("elu", "softplus", "gelu", "silu", "mish", "leaky_relu", "selu"):
            bound = (6 / (1.0001 if f_l == "leaky_relu" else 2 if f_l == "selu" else 1) / n_in) ** 0.5
        W.append(random_state.uniform(-bound, bound, (n_in, n_out)))
        b.append(random_state.uniform(-bound, bound, n_out))
    return W, b


def example(units, rows, seed=0, dtype=np.float64):
    """A table, targets, weights and parameters, all at random: X, Y, weight, W, b."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, units[0])).astype(dtype)
    Y = rng.integers(0, 2, (rows, units[-1])).astype(np.uint8)
    weight = rng.uniform(0.25, 4, rows).astype(dtype)
    W = [rng.uniform(-1, 1, shape).astype(dtype) for shape in pairwise(units)]
    b = [rng.uniform(-1, 1, n).astype(dtype) for n in units[1:]]
    return X, Y, weight, W, b


def _wide(array):
    array = np.asarray(array)
    return array if array.dtype.kind == "c" else array.astype(np.float64)
