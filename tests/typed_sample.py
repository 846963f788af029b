"""What a user may write, for `mypy --strict`: every public name with the types its documentation promises.

`tests/test_typing.py` has mypy read it, and runs it.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import skbce
from skbce import (
    BCEMLPClassifier,
    BCEMLPEnsembleClassifier,
    GradientCheck,
    LossCurveDisplay,
    PiecewiseLinearEncoder,
    TableEncoder,
    backprop,
    check_gradients,
    make_tabular_classifier,
)

Floats = npt.NDArray[np.float64]


def arrays() -> tuple[Floats, npt.NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 5))
    return X, (X[:, 0] + rng.standard_normal(120) > 0).astype(np.int64)


def fit_arrays(X: Floats, y: npt.NDArray[np.int64]) -> BCEMLPClassifier:
    clf = BCEMLPClassifier(
        hidden_layer_sizes=(8, 4),
        activation=("relu", "gelu"),
        learning_rate="cosine",
        class_weight={0: 1.0, 1: 2.0},
        weight_decay=0.01,
        dropout=0.1,
        early_stopping=True,
        max_iter=20,
        random_state=0,
    )
    fitted: BCEMLPClassifier = clf.fit(X, y, sample_weight=np.ones(len(y)))
    probabilities = fitted.predict_proba(X)
    assert probabilities.shape == (len(X), 2)
    assert float(probabilities[:, 1].max()) <= 1.0
    labels = fitted.predict(X)
    assert labels.shape == y.shape
    units: list[int] = [W.shape[1] for W in fitted.coefs_]
    losses: list[float] = list(fitted.loss_curve_)
    assert units == [8, 4, 1]
    assert losses
    return fitted


def fit_others(X: Floats, y: npt.NDArray[np.int64]) -> None:
    frame = pd.DataFrame(X, columns=list("abcde"))
    small = BCEMLPClassifier((8,), max_iter=20, random_state=0, tol=0.1)
    score: float = small.fit(frame, y).score(frame, y)
    assert 0 <= score <= 1
    small.fit(sp.csr_matrix(X), y).predict_log_proba(sp.csr_matrix(X))
    small.partial_fit(X[:10], y[:10], classes=[0, 1])
    pipeline: Pipeline = make_pipeline(StandardScaler(), small)
    pipeline.fit(X, y)
    ensemble = BCEMLPEnsembleClassifier(small, 3, random_state=0).fit(X, y)
    assert ensemble.predict_proba(X).shape == (len(X), 2)


def fit_tables() -> None:
    frame = pd.DataFrame({"age": [23, 35, None, 51] * 20, "town": ["Bonn", "Ulm", "Ulm", None] * 20})
    target = ["yes", "no", "no", "yes"] * 20
    model = make_tabular_classifier(max_time=100, random_state=0)
    model.fit(frame, target).predict(frame[:4])
    numbers = TableEncoder().fit(frame, target).transform(frame)
    assert numbers.shape[0] == len(frame)
    encoded = PiecewiseLinearEncoder(8).fit(np.arange(20.0).reshape(-1, 1)).transform(np.ones((1, 1)))
    assert encoded.shape[0] == 1


def look_inside(clf: BCEMLPClassifier, X: Floats, y: npt.NDArray[np.int64]) -> None:
    check: GradientCheck = check_gradients(BCEMLPClassifier((4,), max_iter=1), X, y)
    largest: float = check.largest
    assert largest < 1e-4
    target = y.reshape(-1, 1).astype(np.float64)
    rng = np.random.default_rng(0)
    W, b = [rng.standard_normal((5, 3)), rng.standard_normal((3, 1))], [np.zeros(3), np.zeros(1)]
    Z, A = backprop.forward(X, W, b, "tanh")
    cost: float = backprop.bce_cost(target, Z[-1])
    _, dW, db = backprop.backward(target, Z, A, W, "tanh")
    assert cost > 0
    assert [gradient.shape for gradient in (*dW, *db)] == [array.shape for array in (*W, *b)]
    display: LossCurveDisplay = LossCurveDisplay.from_estimator(clf)
    display.plot()


def main() -> None:
    X, y = arrays()
    clf = fit_arrays(X, y)
    fit_others(X, y)
    fit_tables()
    look_inside(clf, X, y)
    skbce.show_config()


if __name__ == "__main__":
    main()
