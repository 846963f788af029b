"""scikit-learn's own checks of what an estimator has to do."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbce import BCEMLPClassifier

# The checks train for 5 epochs, as few as they set max_iter to.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
