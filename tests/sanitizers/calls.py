"""What leaks.py calls: each part of skbce, in calls that end and in calls that fail."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import scipy.sparse as sp

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder
from skbce._parameters import Layout
from skbce.kernels import doors

N_ROWS = 200
rng = np.random.default_rng(0)
TABLES = {
    "float32": rng.standard_normal((N_ROWS, 6), dtype=np.float32),
    "float64": rng.standard_normal((N_ROWS, 6)),
    "sparse": sp.random(N_ROWS, 6, 0.3, format="csr", random_state=0),
}
y = rng.integers(0, 2, N_ROWS)
TARGETS = {"two classes": y, "labels": np.column_stack((y, 1 - y))}


def classifier(**parameters: Any) -> BCEMLPClassifier:
    return BCEMLPClassifier((9,), **{"max_iter": 3, "n_threads": 2, "random_state": 0, **parameters})


def fits(X, target) -> Iterator[object]:
    """Every solver and what it works with, then the calls of a fitted model."""
    for parameters in (
        {"solver": "adam", "early_stopping": True, "dropout": 0.1},
        {"solver": "sgd", "activation": "gelu"},
        {"solver": "lbfgs"},
    ):
        clf = classifier(**parameters).fit(X, target)
        yield clf.predict(X), clf.predict_proba(X), clf.score(X, target)
    yield classifier().partial_fit(X, target, classes=[0, 1])


def failed_fits(X, target) -> Iterator[Callable[[], object]]:
    """What is refused before training, and what fails in it or in the doors."""
    clf = classifier().fit(X, target)
    wide = sp.hstack((X, X), format="csr") if sp.issparse(X) else np.hstack((X, X))
    yield lambda: clf.predict(wide)
    yield lambda: clf.partial_fit(wide, target)
    yield lambda: clf.fit(X, rng.integers(0, 3, N_ROWS))
    yield lambda: clf.fit(X, target[:-1])
    yield lambda: classifier(alpha=-1.0).fit(X, target)
    yield lambda: classifier(solver="sgd", learning_rate_init=1e300).fit(X, target)
    yield lambda: clf.fit(X, target, sample_weight=np.full(N_ROWS, np.nan))
    clf.coefs_[0] = clf.coefs_[0][:-1]
    yield lambda: clf.predict(X)


def failed_encodings() -> Iterator[Callable[[], object]]:
    """After one that ends, of each encoder."""
    X = np.where(rng.random((N_ROWS, 3)) < 0.1, np.nan, rng.standard_normal((N_ROWS, 3)))
    for encoder in (PiecewiseLinearEncoder(5), TableEncoder()):
        encoder.fit(X, y).transform(X)
        yield partial(encoder.transform, X[:, :2])
        yield partial(encoder.fit, X[:0], y[:0])
    yield lambda: PiecewiseLinearEncoder().fit(X, sample_weight=np.zeros(N_ROWS))


def refused_by_the_doors() -> Iterator[Callable[[], object]]:
    Z, flat = np.zeros((4, 2)), np.zeros(3)
    yield lambda: doors.class_probabilities(Z, np.zeros((4, 9)))
    yield lambda: doors.class_probabilities(Z, Z.astype(np.float32))
    yield lambda: doors.probabilities(None)
    yield lambda: doors.probabilities(flat)
    yield lambda: doors.elementwise("nothing", flat)
    network, nothing = Layout((6, 2, 1), "relu", sparse=True).network, np.zeros((6, 0), np.int64)
    look_up = partial(doors.Lookup, (network,), (np.zeros(17),), doors.Table(TABLES["float64"]))
    yield lambda: look_up(nothing, np.zeros((2, 0)), flat, 6, 8)
    yield lambda: look_up(np.zeros((6, 1), np.int64), np.zeros((2, 1), np.float32), flat, 6, 8)
    yield lambda: doors.looked_up_logits((None,), Z, 1)


def all_calls() -> None:
    failing = [refused_by_the_doors(), failed_encodings()]
    for X in TABLES.values():
        for target in TARGETS.values():
            list(fits(X, target))
            failing.append(failed_fits(X, target))
    for call in chain.from_iterable(failing):
        must_fail(call)
    # Without encoders, and with them, whose encoding is looked up.
    for encoders in (None, PiecewiseLinearEncoder(5)):
        for X in (TABLES["float32"], TABLES["float64"]):
            clf = BCEMLPEnsembleClassifier(classifier(), 2, encoders=encoders, random_state=0)
            clf.fit(X, y).predict(X)


def must_fail(call: Callable[[], object]) -> None:
    """Else what the calls here were chosen for would be left out unseen."""
    try:
        call()
    except (ValueError, TypeError):
        return
    raise AssertionError(f"no longer refused: {call}")
