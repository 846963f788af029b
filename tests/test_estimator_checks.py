"""scikit-learn's own checks of what an estimator has to do."""

import numpy as np
import pytest
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder

# The checks train for 5 epochs, as few as they set max_iter to.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

made_binary = estimator_checks._enforce_estimator_tags_y
GOES_BY_THE_FIRST_ROW = made_binary(BCEMLPClassifier(), np.array([2, 0])).tolist() == [2, 3]


@pytest.fixture(autouse=True)
def same_labels_in_any_order(monkeypatch):
    """scikit-learn 1.6 makes two classes of three by the first row's, 1.9 by the smallest: its checks reorder rows."""
    if GOES_BY_THE_FIRST_ROW:
        name = made_binary.__name__
        monkeypatch.setattr(estimator_checks, name, lambda estimator, y: np.where(y == y.min(), y, y.min() + 1))


@parametrize_with_checks(
    [
        BCEMLPClassifier(),
        BCEMLPClassifier(solver="sgd"),
        BCEMLPClassifier(solver="lbfgs"),
        BCEMLPClassifier(activation="tanh"),
        BCEMLPClassifier(activation="logistic"),
        BCEMLPClassifier(activation="identity"),
        BCEMLPClassifier(class_weight="balanced", solver="lbfgs"),
        BCEMLPClassifier(learning_rate="cosine", weight_decay=0.01, max_grad_norm=1.0, label_smoothing=0.1),
        BCEMLPClassifier(solver="sgd", learning_rate="one_cycle", weight_decay=0.01, max_time=60),
    ]
)
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)


# Small networks, and few members, for speed. 20 epochs, for a check wants the labels of three clusters found. float64,
# whatever encoders give: a check holds probabilities to 1e-7, of which float32's rounding is half.
MEMBER = BCEMLPClassifier((16,), learning_rate_init=0.02, max_iter=20, scoring="loss", dtype="float64", random_state=0)


@parametrize_with_checks(
    [
        BCEMLPEnsembleClassifier(MEMBER, 3),
        BCEMLPEnsembleClassifier(MEMBER, 3, encoders=[PiecewiseLinearEncoder(8), StandardScaler()]),
        BCEMLPEnsembleClassifier(MEMBER, 3, encoders=MaxAbsScaler(), calibration="temperature", max_time=60),
    ],
)
def test_scikit_learn_check_passes_with_an_ensemble(estimator, check):
    check(estimator)
