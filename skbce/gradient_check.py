"""The kernels' gradient against differences of the cost."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from skbce._threads import working
from skbce._training import CostFunction

if TYPE_CHECKING:
    from skbce._inputs import Table
    from skbce.classifier import BCEMLPClassifier

# Steps tried in turn. With 1e-3 the truncation (h^4) and the rounding (1e-16 / h) of a smooth cost both lie near 1e-12;
# where relu's kink falls within a step, a shorter one avoids it, at the price of more rounding.
_STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)

# Two estimates, with h and h/2, that differ by less than this share of the largest derivative agree.
_AGREEMENT = 1e-9

# Differences of the cost carry its rounding, whichever layer they belong to: derivatives below this share of the
# largest of all are not told from it, and errors are not taken relative to less.
_SMALLEST_SCALE = 1e-3


@dataclass(frozen=True)
class GradientCheck:
    """Relative errors of a gradient, as `check_gradients` found them.

    Attributes
    ----------
    W, b : tuple of float
        For each layer, max |gradient - difference| over the entries of W[l], and of b[l], relative to the largest of
        these differences, or to a thousandth of the largest of all layers' where that is more.
    dtype : str
        Precision of the kernels that were checked.
    cost : float
        At the point of the check, nats per sample.
    """

    W: tuple[float, ...]
    b: tuple[float, ...]
    dtype: str
    cost: float

    @property
    def largest(self) -> float:
        """The largest of all."""
        return max(*self.W, *self.b)

    def __str__(self) -> str:
        rows = [
            f"gradient check ({self.dtype}), cost {self.cost:.6f}: largest relative errors",
            "layer        W        b",
        ]
        rows += [f"{l + 1:5d}  {W:7.1e}  {b:7.1e}" for l, (W, b) in enumerate(zip(self.W, self.b, strict=True))]
        return "\n".join(rows)


def check_gradients(
    estimator: "BCEMLPClassifier", X: "Table", y: "Table", sample_weight: ArrayLike | None = None
) -> GradientCheck:
    """Hold the kernels' gradient of an estimator's cost against 4-point central differences.

    (f(x - 2h) - 8 f(x - h) + 8 f(x + h) - f(x + 2h)) / 12h, in float64, for every parameter by itself: 8 costs
    over all rows a parameter, so choose a table to match. The cost includes the L2 term, and no dropout.

    Parameters
    ----------
    estimator : BCEMLPClassifier
        Fitted, or not: then with the parameters that fit would start from. Not changed.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    check : GradientCheck
        Largest relative errors by layer; prints as a table. In float64 expect 1e-10, with relu (whose kink asks for
        shorter steps) 1e-8, in float32 1e-5.

    Raises
    ------
    ValueError
        As `BCEMLPClassifier.fit` for bad input.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skbce import BCEMLPClassifier, check_gradients
    >>> X, y = make_classification(n_samples=50, n_features=5, random_state=0)
    >>> clf = BCEMLPClassifier(hidden_layer_sizes=(4, 3), activation="tanh", random_state=0)
    >>> check_gradients(clf, X, y).largest < 1e-8
    True
    """
    estimator = copy.deepcopy(estimator)
    gradient_problem, layout, theta = estimator._cost_problem(X, y, sample_weight)
    cost_problem, _, _ = estimator._cost_problem(X, y, sample_weight, dtype=np.float64)
    with working() as work, work:
        cost, gradient = gradient_problem(theta)
        differences = _differences(cost_problem, theta.astype(np.float64))
    smallest_scale = _SMALLEST_SCALE * np.abs(differences).max() or 1.0
    errors = []
    for gradients, expected in zip(layout.views(gradient), layout.views(differences), strict=True):
        errors.append(
            tuple(
                float(np.abs(g - d).max() / max(np.abs(d).max(), smallest_scale))
                for g, d in zip(gradients, expected, strict=True)
            )
        )
    return GradientCheck(W=errors[0], b=errors[1], dtype=theta.dtype.name, cost=cost)


def _differences(cost: CostFunction, theta: np.ndarray) -> np.ndarray:
    """Derivatives of the cost by differences, each with the step whose two estimates agree best."""
    best = np.zeros(theta.size)
    doubt = np.full(theta.size, np.inf)
    for h in _STEPS:
        for i in np.flatnonzero(doubt > _AGREEMENT * max(np.abs(best).max(), 1e-300)):
            whole, half = _four_points(cost, theta, i, h), _four_points(cost, theta, i, h / 2)
            if abs(whole - half) < doubt[i]:
                best[i], doubt[i] = half, abs(whole - half)
    return best


def _four_points(cost: CostFunction, theta: np.ndarray, i: int, h: float) -> float:
    at = theta[i]
    values = []
    for step in (-2, -1, 1, 2):
        theta[i] = at + step * h
        values.append(cost.cost(theta))
    theta[i] = at
    # In this order a cost that does not change gives exactly 0.
    return (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * h)
