"""The linear model beside an ensemble's networks, and its share in their probabilities."""

import time
import warnings
from collections.abc import Sequence
from copy import copy

import numpy as np
import scipy.optimize
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

from skbce._training import Outcome
from skbce.classifier import BCEMLPClassifier

# scikit-learn's LogisticRegression has this L2 penalty too, on the sum of the losses.
_ALPHA = 1.0

# Out-of-fold probabilities are single members'. Their mean is better, and leaves less to the linear model: without this
# tables where it has nothing to add lost up to 1.6 % of log loss, and with it up to 0.9 %.
_WORTH_OF_THE_MEAN = 0.1


def fitted_linear(
    splits: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]], table, y, sample_weight, class_weight,
    dtype: np.dtype, n_threads, deadline: float,
) -> tuple[BCEMLPClassifier, NDArray[np.float64]] | None:  # fmt: skip
    """Logistic regression on standardised columns, fitted on the training rows of each split.

    Parameters
    ----------
    splits : sequence of (training rows, held-out rows)
    table : ndarray or CSR matrix of shape (n_samples, n_encoded)
    y, sample_weight, class_weight, n_threads
        As BCEMLPClassifier takes them.
    dtype : dtype
        Of the model that is returned; they are fitted in float64.
    deadline : float
        Of time.perf_counter: none is fitted after it.

    Returns
    -------
    model : BCEMLPClassifier
        For the table as it is: the mean of the splits' logits.
    P : ndarray of shape (n_samples, 2)
        For each row the sum of both probabilities by the models that did not train on it.

    None where the deadline came before the last one was fitted.

    Raises
    ------
    KeyboardInterrupt
        Where Ctrl-C ended a fit.
    """
    scaler = StandardScaler(with_mean=not sp.issparse(table)).fit(table, sample_weight=sample_weight)
    standardised = scaler.transform(table)
    model = BCEMLPClassifier(
        (), solver="lbfgs", alpha=_ALPHA, class_weight=class_weight, dtype="float64", random_state=0,
        n_threads=n_threads,
    )  # fmt: skip
    P = np.zeros((table.shape[0], 2))
    W, b = np.zeros((table.shape[1], 1)), np.zeros(1)
    for training, held_out in splits:
        if time.perf_counter() > deadline:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            weight = None if sample_weight is None else sample_weight[training]
            if model._fit(standardised[training], y[training], weight).outcome is Outcome.INTERRUPTED:
                raise KeyboardInterrupt
        P[held_out] += model.predict_proba(standardised[held_out])
        W += model.coefs_[0] / len(splits)
        b += model.intercepts_[0] / len(splits)
    W /= scaler.scale_[:, None]
    if scaler.with_mean:
        b -= scaler.mean_ @ W
    model.set_params(dtype=dtype.name)
    model.coefs_, model.intercepts_ = [W.astype(dtype)], [b.astype(dtype)]
    return copy(model), P  # whose parameters lie in one vector again


def best_share(
    P: NDArray[np.float64], Q: NDArray[np.float64], positive: NDArray[np.bool_], sample_weight: np.ndarray | None
) -> float:
    """The share w of Q that gives (1 - w) P + w Q the least log loss, less what the mean of the members is worth.

    P and Q have the out-of-fold probabilities of both classes by the networks, where these were stopped, and by the
    linear model.
    """
    p, q = (np.where(positive, proba[:, 1], proba[:, 0]) for proba in (P, Q))

    # Convex in w.
    def loss(w: float) -> float:
        return -float(np.average(np.log((1 - w) * p + w * q), weights=sample_weight))

    share = scipy.optimize.minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-3}).x
    return max(0.0, float(share) - _WORTH_OF_THE_MEAN)
