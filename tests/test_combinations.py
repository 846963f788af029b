"""Every option at once: results are finite, and the same bits for the same seed, whatever the number of threads."""

import numpy as np
import pytest
import scipy.sparse as sp

from skbce import BCEMLPClassifier, _threads
from skbce._training import SCHEDULES
from tests.model_checks import assert_same_bits, parameters_of

# Training ends by max_iter here, as it is told to.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_ROWS, N_FEATURES = 800, 40


@pytest.fixture(autouse=True)
def all_threads(monkeypatch):
    """As many threads as are allowed from the first step on: so short a fit would not come to try them."""
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (self._limit, 60.0))


def half(t):
    return 1.0 if t < 0.5 else 0.5


def everything(**parameters):
    return BCEMLPClassifier(
        **{
            "hidden_layer_sizes": (64, 32), "batch_size": 200, "max_iter": 3, "random_state": 0,
            "learning_rate": "cosine", "learning_rate_init": 0.05, "weight_decay": 0.01, "max_grad_norm": 0.5,
            "label_smoothing": 0.1, "scoring": "roc_auc", "early_stopping": True, "max_time": 1000.0,
            **parameters,
        }
    )  # fmt: skip


def data(kind, dtype, target):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS + 300, N_FEATURES)).astype(dtype)
    Y = (X[:, :3] - X[:, 3:6] + rng.standard_normal((len(X), 3)) > 0.5).astype(int)
    X[rng.random(X.shape) < 0.5] = 0
    X = sp.csr_matrix(X) if kind == "CSR" else X
    y = Y if target == "multilabel" else np.array(["no", "yes"])[Y[:, 0]]
    weight, weight_val = rng.uniform(0.1, 2, N_ROWS), rng.uniform(0.1, 2, 300)
    validation = {"X_val": X[N_ROWS:], "y_val": y[N_ROWS:], "sample_weight_val": weight_val}
    return (X[:N_ROWS], y[:N_ROWS], weight), validation


def curves(clf):
    return [clf.loss_curve_, clf.learning_rate_curve_, clf.validation_scores_, clf.validation_loss_curve_]


@pytest.mark.parametrize("split", ["drawn", "given"])
@pytest.mark.parametrize("warm_start", [False, True], ids=["fit", "warm start"])
@pytest.mark.parametrize("target", ["binary", "multilabel"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["dense", "CSR"])
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_everything_at_once_is_finite_and_the_same_for_1_and_2_threads(solver, kind, dtype, target, warm_start, split):
    rows, validation = data(kind, dtype, target)
    validation = validation if split == "given" else {}
    class_weight = {"no": 0.5, "yes": 2} if target == "binary" else [{1: 3}, {0: 0.5, 1: 2}, {}]
    models = []
    for n_threads in (1, 2):
        clf = everything(solver=solver, class_weight=class_weight, n_threads=n_threads, warm_start=warm_start)
        for _ in range(1 + warm_start):
            clf.fit(*rows, **validation)
        models.append(clf)
    first, other = models
    assert len(first.loss_curve_) == len(first.validation_scores_) == 3 * (1 + warm_start)
    assert all(np.isfinite(array).all() for array in [*parameters_of(first), *curves(first)])
    assert {array.dtype for array in parameters_of(first)} == {np.dtype(dtype)}
    assert first.best_validation_score_ == max(first.validation_scores_)
    assert_same_bits(parameters_of(other), parameters_of(first))
    assert curves(other) == curves(first)


@pytest.mark.parametrize("learning_rate", [*SCHEDULES, half])
def test_every_schedule_goes_with_everything(learning_rate):
    rows, validation = data("dense", np.float64, "binary")
    clf = everything(learning_rate=learning_rate, class_weight="balanced").fit(*rows, **validation)
    assert clf.best_validation_score_ > 0.6
    assert all(np.isfinite(array).all() for array in parameters_of(clf))


@pytest.mark.parametrize("target", ["binary", "multilabel"])
@pytest.mark.parametrize("kind", ["dense", "CSR"])
def test_everything_that_lbfgs_takes_goes_together(kind, target):
    rows, _ = data(kind, np.float32, target)
    lbfgs = {"solver": "lbfgs", "weight_decay": 0.0, "max_grad_norm": None, "learning_rate": "constant", "max_iter": 9}
    models = [everything(**lbfgs, class_weight="balanced", n_threads=n).fit(*rows) for n in (1, 2)]
    assert_same_bits(parameters_of(models[1]), parameters_of(models[0]))
    assert np.isfinite(models[0].loss_)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_everything_that_partial_fit_takes_goes_together(solver):
    rows, _ = data("dense", np.float64, "binary")
    settings = {"solver": solver, "early_stopping": False, "class_weight": {"no": 0.5, "yes": 2}}
    models = [everything(**settings, n_threads=n) for n in (1, 2)]
    for clf in models:
        for _ in range(3):
            clf.partial_fit(*rows, classes=["no", "yes"])
    assert_same_bits(parameters_of(models[1]), parameters_of(models[0]))
    assert models[0].loss_curve_ == models[1].loss_curve_
    assert models[0].loss_curve_[-1] < models[0].loss_curve_[0]
