"""The same data, parameters and random_state give the model that scikit-learn's MLPClassifier gives.

Two known differences are left out. scikit-learn clips probabilities in its loss, so losses agree only while
|logit| < 36 (float64), which for L-BFGS includes the trial steps of its line search. And scikit-learn's early stopping
under warm_start can end with the last parameters in place of the best.
"""

import inspect
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version
from sklearn.utils.multiclass import unique_labels

from skbce import BCEMLPClassifier

needs_weights = pytest.mark.skipif(
    "sample_weight" not in inspect.signature(MLPClassifier.fit).parameters,
    reason="scikit-learn 1.6, the oldest supported, has no sample_weight in MLPClassifier.fit: nothing to agree with",
)

BEFORE_1_7 = parse_version(sklearn.__version__) < parse_version("1.7")

SOLVERS = ("adam", "sgd", "lbfgs")
STOCHASTIC = ("adam", "sgd")

# Both compute in float64 and differ only in the order of sums and the last bits of exp and tanh: 1e-16 an operation,
# and 1e-15 to 1e-13 after ten epochs. The rest is for Adam, which divides each gradient by its own size: where one
# nearly cancels, its rounding is scaled up to a step.
FEW_EPOCHS = 1e-10

# L-BFGS learns the curvature from quotients of small differences: rounding grows by an order of magnitude every few
# iterations, to 1e-9 after ten.
LBFGS = 1e-6

N_ROWS = 83  # prime: no batch size divides it

_rng = np.random.default_rng(0)
X = _rng.normal(size=(N_ROWS, 6))
_signal = np.column_stack((X[:, 0] * X[:, 1] - X[:, 2], X[:, 3] + X[:, 4] ** 2 - 1, np.sin(2 * X[:, 5]) + X[:, 0]))
Y = (_signal + 0.5 * _rng.normal(size=_signal.shape) > 0).astype(int)
y = Y[:, 0]
X_sparse = np.where(_rng.random(X.shape) < 0.6, 0.0, X)
X_new = 2 * _rng.normal(size=(50, 6))

WEIGHTS = {
    "integer": _rng.integers(1, 5, N_ROWS),
    "fractional": _rng.uniform(0.01, 3, N_ROWS),
    # Every other row counts, so that no batch is without weight (there, scikit-learn's loss is not a number).
    "with zeros": np.arange(N_ROWS) % 2 * _rng.uniform(0.5, 2, N_ROWS),
}


def tolerance(solver):
    return LBFGS if solver == "lbfgs" else FEW_EPOCHS


def both(**params):
    """BCEMLPClassifier and MLPClassifier, small and soon at max_iter."""
    params = {"hidden_layer_sizes": (7,), "max_iter": 10, "tol": 1e-7, "random_state": 3, "batch_size": 21, **params}
    if params.get("solver") == "sgd":
        params = {"learning_rate_init": 0.05, **params}
    return BCEMLPClassifier(**params), MLPClassifier(**params)


def call(pair, method, *args, warns=(), **kwargs):
    """Call a method of both; each has to warn of exactly the categories in `warns`."""
    for clf in pair:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            getattr(clf, method)(*args, **kwargs)
        assert [warning.category for warning in caught] == list(warns), type(clf)


def fit_until_max_iter(X, y, sample_weight=None, **params):
    pair = both(**params)
    weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
    call(pair, "fit", X, y, warns=[ConvergenceWarning], **weighted)
    return pair


def assert_same_parameters(ours, theirs, rtol):
    for name in ("coefs_", "intercepts_"):
        arrays = getattr(ours, name), getattr(theirs, name)
        assert [a.shape for a in arrays[0]] == [a.shape for a in arrays[1]]
        for l, (a, b) in enumerate(zip(*arrays, strict=True)):
            # Relative to the layer's largest: single entries may be as near to zero as they like.
            assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max(), err_msg=f"{name}[{l}]")


def assert_same_model(pair, rtol, X=X_new):
    ours, theirs = pair
    for name in ("n_iter_", "t_", "n_layers_", "n_outputs_", "n_features_in_", "out_activation_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("loss_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        values = getattr(ours, name, None), getattr(theirs, name, None)
        assert (values[0] is None) == (values[1] is None), name
        if values[1] is not None:
            assert_allclose(*values, rtol=rtol, err_msg=name)
    assert_same_parameters(ours, theirs, rtol)
    assert_array_equal(ours.classes_, theirs.classes_)
    labels = ours.predict(X), theirs.predict(X)
    assert sp.issparse(labels[0]) == sp.issparse(labels[1])
    labels = [label.toarray() if sp.issparse(label) else label for label in labels]
    assert labels[0].dtype == labels[1].dtype
    assert_array_equal(*labels)
    # Absolute: probabilities are at most 1, and scikit-learn's 1 - p has no more digits than that.
    assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=rtol)


def test_parameters_have_the_same_names_order_and_defaults():
    ours, theirs = (
        [
            (parameter.name, parameter.kind, parameter.default)
            for parameter in inspect.signature(cls).parameters.values()
        ]
        for cls in (BCEMLPClassifier, MLPClassifier)
    )
    assert ours[: len(theirs)] == theirs
    assert {name for name, _, _ in ours[len(theirs) :]} == {
        "max_time", "scoring", "class_weight", "weight_decay", "max_grad_norm", "label_smoothing", "dropout", "dtype",
        "n_threads",
    }  # fmt: skip


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_fitted_attributes_have_the_same_names(solver, early_stopping):
    ours, theirs = fit_until_max_iter(X, y, solver=solver, early_stopping=early_stopping)
    public = [{name for name in vars(clf) if name.endswith("_") and name[0] != "_"} for clf in (ours, theirs)]
    more = {"learning_rate_curve_", "validation_loss_curve_", "best_iteration_"} if solver != "lbfgs" else set()
    assert public[0] == public[1] | more


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_model_is_the_same_for_every_solver_and_activation(solver, activation):
    pair = fit_until_max_iter(X, y, solver=solver, activation=activation)
    assert_same_model(pair, tolerance(solver))


@pytest.mark.parametrize("hidden_layer_sizes", [(), 5, (5,), [4, 3], (6, 5, 4, 3)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_model_is_the_same_for_any_number_of_hidden_layers(solver, hidden_layer_sizes):
    # tanh keeps logits small: with relu, a trial step of L-BFGS through four layers gets beyond |logit| = 36.
    pair = fit_until_max_iter(X, y, solver=solver, hidden_layer_sizes=hidden_layer_sizes, activation="tanh")
    assert_same_model(pair, tolerance(solver))


@pytest.mark.parametrize(
    "schedule",
    [{"learning_rate": "constant"}, {"learning_rate": "invscaling"}, {"learning_rate": "invscaling", "power_t": 0.1}],
)
def test_model_is_the_same_under_a_learning_rate_schedule(schedule):
    pair = fit_until_max_iter(X, y, solver="sgd", **schedule)
    assert_same_model(pair, FEW_EPOCHS)


def fit_with_verdicts(pair, capsys, warns=False):
    """What each prints of lacking progress; MLPClassifier's other lines are of another form."""
    verdicts = []
    for clf in pair:
        with pytest.warns(ConvergenceWarning) if warns else nullcontext():
            clf.fit(X, y)
        verdicts.append([line for line in capsys.readouterr().out.splitlines() if "did not improve" in line])
    return verdicts


@pytest.mark.parametrize("early_stopping", [False, True])
def test_adaptive_learning_rate_is_divided_in_the_same_epochs(early_stopping, capsys):
    # No epoch gets on by as much as this tol, so that the rate is divided every third.
    params = {"tol": 0.2, "n_iter_no_change": 2, "early_stopping": early_stopping, "verbose": True, "max_iter": 15}
    pair = both(solver="sgd", learning_rate="adaptive", **params)
    verdicts = fit_with_verdicts(pair, capsys, warns=True)
    assert verdicts[0] == verdicts[1]
    assert len(verdicts[0]) >= 2
    assert_same_model(pair, FEW_EPOCHS)


def test_adaptive_learning_rate_ends_training_in_the_same_epoch_when_it_is_too_small(capsys):
    pair = both(solver="sgd", learning_rate="adaptive", tol=0.1, n_iter_no_change=1, verbose=True, max_iter=50)
    verdicts = fit_with_verdicts(pair, capsys)
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][-1].endswith("Learning rate too small. Stopping.")
    # FEW_EPOCHS is for ten; here are about twenty, the last of them in ever smaller steps.
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("nesterovs_momentum", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
def test_model_is_the_same_for_every_momentum(momentum, nesterovs_momentum):
    pair = fit_until_max_iter(X, y, solver="sgd", momentum=momentum, nesterovs_momentum=nesterovs_momentum)
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize(
    "constants", [{"beta_1": 0.0}, {"beta_1": 0.5, "beta_2": 0.9}, {"beta_1": 0.0, "beta_2": 0.0}, {"epsilon": 0.1}]
)
def test_model_is_the_same_for_other_constants_of_adam(constants):
    pair = fit_until_max_iter(X, y, **constants)
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 7, N_ROWS, "auto"])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_model_is_the_same_for_every_batch_size(solver, batch_size, shuffle):
    pair = fit_until_max_iter(X, y, solver=solver, batch_size=batch_size, shuffle=shuffle, learning_rate_init=0.01)
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_auto_is_the_same_batch_size_for_more_than_200_rows(solver):
    pair = fit_until_max_iter(np.tile(X, (3, 1)), np.tile(y, 3), solver=solver, batch_size="auto")
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_batch_size_beyond_the_rows_warns_and_takes_all_of_them(solver):
    pair = both(solver=solver, batch_size=N_ROWS + 1)
    call(pair, "fit", X, y, warns=[UserWarning, ConvergenceWarning])
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("alpha", [0, 30.0])
@pytest.mark.parametrize("solver", SOLVERS)
def test_model_is_the_same_for_every_alpha(solver, alpha):
    pair = fit_until_max_iter(X, y, solver=solver, alpha=alpha)
    assert_same_model(pair, tolerance(solver))


@needs_weights
@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_model_is_the_same_with_sample_weight(solver, kind):
    # A large alpha shows by what the L2 term is divided: the sum of a batch's weights.
    pair = fit_until_max_iter(X, y, WEIGHTS[kind], solver=solver, alpha=3.0, shuffle=False)
    assert_same_model(pair, tolerance(solver))


@needs_weights
@pytest.mark.parametrize("kind", WEIGHTS)
def test_model_is_the_same_with_sample_weight_when_rows_are_shuffled(kind):
    pair = fit_until_max_iter(X, Y, WEIGHTS[kind])
    assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize(
    "weight", [None, *(pytest.param(weight, id=kind, marks=needs_weights) for kind, weight in WEIGHTS.items())]
)
@pytest.mark.parametrize("target", [y, Y], ids=["binary", "multilabel"])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_early_stopping_holds_out_scores_and_keeps_the_same(solver, target, weight):
    rates = {"learning_rate_init": 0.1 if solver == "sgd" else 0.02}
    pair = both(solver=solver, early_stopping=True, validation_fraction=0.25, n_iter_no_change=3, max_iter=30, **rates)
    # No warning: it stopped before max_iter, so that the best parameters are not the last.
    call(pair, "fit", X, target, **({} if weight is None else {"sample_weight": weight}))
    # FEW_EPOCHS is for ten; here are at most thirty.
    assert_same_model(pair, 10 * FEW_EPOCHS)


@pytest.mark.parametrize("solver", SOLVERS)
def test_warm_start_goes_on_alike_over_several_fits(solver):
    pair = both(solver=solver, warm_start=True, max_iter=4)
    for n_rows in (N_ROWS, 60, N_ROWS):
        call(pair, "fit", X[:n_rows], y[:n_rows], warns=[ConvergenceWarning])
        assert_same_model(pair, tolerance(solver))


def test_warm_start_takes_over_new_parameters_alike():
    pair = both(warm_start=True, max_iter=4)
    for change in ({}, {"solver": "sgd", "learning_rate": "invscaling"}, {"alpha": 5.0, "batch_size": 11}):
        for clf in pair:
            clf.set_params(**change)
        call(pair, "fit", X, y, warns=[ConvergenceWarning])
        assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_warm_start_after_convergence_stops_in_the_same_epoch(solver):
    pair = both(solver=solver, warm_start=True, tol=0.05, n_iter_no_change=2, max_iter=50)
    for _ in range(3):
        call(pair, "fit", X, y)
        assert_same_model(pair, FEW_EPOCHS)


def _edited_in_place(clf):
    clf.coefs_[1] *= 2
    clf.intercepts_[0][:] = 0


def _replaced(clf):
    clf.coefs_[1] = 2 * clf.coefs_[1]
    clf.intercepts_[0] = np.zeros(5)


def _exchanged(clf):
    clf.coefs_[1], clf.coefs_[2] = clf.coefs_[2], clf.coefs_[1]
    clf.intercepts_[0], clf.intercepts_[1] = clf.intercepts_[1], clf.intercepts_[0]


def _transposed(clf):
    clf.coefs_[1] = clf.coefs_[1].T


@pytest.mark.parametrize("edit", [_edited_in_place, _replaced, _exchanged, _transposed])
def test_parameters_edited_by_hand_are_used_alike(edit):
    pair = fit_until_max_iter(X, y, hidden_layer_sizes=(5, 5, 5), warm_start=True, activation="tanh")
    before = pair[0].predict_proba(X_new)
    for clf in pair:
        edit(clf)
    assert np.abs(pair[0].predict_proba(X_new) - before).max() > 0.01
    assert_same_model(pair, FEW_EPOCHS)
    call(pair, "fit", X, y, warns=[ConvergenceWarning])
    assert_same_model(pair, FEW_EPOCHS)


def test_log_probabilities_are_the_same_where_no_class_is_certain():
    ours, theirs = fit_until_max_iter(X, Y)
    probabilities = theirs.predict_proba(X_new)
    assert probabilities.min() > 1e-4
    assert probabilities.max() < 1 - 1e-4
    # A probability of 1e-4 has rounding of 1e-12 of itself.
    assert_allclose(ours.predict_log_proba(X_new), theirs.predict_log_proba(X_new), rtol=0, atol=FEW_EPOCHS)


def test_fit_without_warm_start_forgets_the_last_fit_alike():
    pair = both()
    call(pair, "fit", X, Y, warns=[ConvergenceWarning])
    call(pair, "fit", X[:, :4], y, warns=[ConvergenceWarning])
    assert_same_model(pair, FEW_EPOCHS, X_new[:, :4])


@pytest.mark.parametrize("target", [y, Y], ids=["binary", "multilabel"])
@pytest.mark.parametrize("learning_rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_partial_fit_goes_on_alike_over_several_calls(solver, learning_rate, target):
    pair = both(solver=solver, learning_rate=learning_rate, n_iter_no_change=2, tol=0.05)
    call(pair, "partial_fit", X[:40], target[:40], classes=np.arange(2 if target.ndim == 1 else 3))
    for rows in (slice(40, None), slice(None), slice(10, 40), *[slice(None)] * 6):
        call(pair, "partial_fit", X[rows], target[rows])
        assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_partial_fit_goes_on_alike_after_fit(solver):
    pair = fit_until_max_iter(X, y, solver=solver)
    for rows in (slice(None), slice(30)):
        call(pair, "partial_fit", X[rows], y[rows])
        assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("label", [0, 1])
def test_partial_fit_is_the_same_on_rows_of_one_class(label):
    pair = both()
    call(pair, "partial_fit", X[y == label], y[y == label], classes=[0, 1])
    assert_same_model(pair, FEW_EPOCHS)


@needs_weights
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_partial_fit_is_the_same_with_sample_weight(solver):
    pair = both(solver=solver, shuffle=False)
    for weight in WEIGHTS.values():
        call(pair, "partial_fit", X, y, sample_weight=weight, classes=[0, 1])
        assert_same_model(pair, FEW_EPOCHS)


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_model_is_the_same_for_sparse_rows(solver, shuffle, make):
    pair = fit_until_max_iter(make(X_sparse), y, solver=solver, shuffle=shuffle)
    assert_same_model(pair, tolerance(solver), make(X_new))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "CSR", "CSC"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_model_is_the_same_for_multilabel_targets(solver, make):
    pair = fit_until_max_iter(X, make(Y), solver=solver)
    assert_same_model(pair, tolerance(solver))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(
    "labels",
    [["spam", "ham"], [True, False], [-1, 1], [2.0, 1.0], np.array(["b", "a"], dtype=object)],
    ids=["strings", "booleans", "signs", "floats", "objects"],
)
def test_model_is_the_same_for_labels_of_any_kind(labels, early_stopping):
    target = np.asarray(labels)[y]
    ours, theirs = pair = both(early_stopping=early_stopping)
    call([ours], "fit", X, target, warns=[ConvergenceWarning])
    if early_stopping and target.dtype.kind in "UO" and BEFORE_1_7:
        # MLPClassifier of 1.6 looks for NaN among labels when it stops early: numbers for it, and their names after.
        call([theirs], "fit", X, np.unique(target, return_inverse=True)[1], warns=[ConvergenceWarning])
        theirs.classes_ = theirs._label_binarizer.classes_ = unique_labels(target)
    else:
        call([theirs], "fit", X, target, warns=[ConvergenceWarning])
    assert_same_model(pair, FEW_EPOCHS)
    assert pair[0].score(X, target) == pair[1].score(X, target)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_training_converges_by_tol_in_the_same_epoch(solver):
    pair = both(solver=solver, tol=0.01, n_iter_no_change=3, max_iter=100)
    call(pair, "fit", X, y)
    assert 4 < pair[0].n_iter_ < 100
    # FEW_EPOCHS is for ten.
    assert_same_model(pair, 10 * FEW_EPOCHS)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_a_loss_or_score_that_stays_the_same_is_progress_enough_for_tol_0(early_stopping):
    # Steps too short to change any parameter, and one batch in a fixed order: every epoch is like the first.
    still = {"learning_rate_init": 1e-300, "batch_size": N_ROWS, "shuffle": False}
    params = {"tol": 0, "n_iter_no_change": 1, "early_stopping": early_stopping, **still}
    warned = [UserWarning] * early_stopping  # the batch is larger than what is left of the rows
    pair = both(solver="sgd", **params)
    call(pair, "fit", X, y, warns=[*warned, ConvergenceWarning])
    assert len(set(pair[0].validation_scores_ if early_stopping else pair[0].loss_curve_)) == 1
    assert_same_model(pair, FEW_EPOCHS)


def test_training_converges_by_tol_in_the_same_iteration_of_lbfgs():
    pair = both(solver="lbfgs", tol=0.03, max_iter=200)
    call(pair, "fit", X, y)
    assert pair[0].n_iter_ > 4
    assert_same_model(pair, LBFGS)


def test_endless_patience_trains_until_max_iter_alike():
    pair = fit_until_max_iter(X, y, n_iter_no_change=np.inf, tol=1.0, max_iter=15)
    # FEW_EPOCHS is for ten.
    assert_same_model(pair, 10 * FEW_EPOCHS)


def test_max_fun_ends_lbfgs_alike():
    pair = fit_until_max_iter(X, y, solver="lbfgs", max_fun=6, max_iter=100)
    assert pair[0].n_iter_ < 7
    assert_same_model(pair, LBFGS)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_reaching_max_iter_is_told_in_the_same_words(solver):
    messages = []
    for clf in both(solver=solver):
        with pytest.warns(ConvergenceWarning) as caught:
            clf.fit(X, y)
        messages.append(str(caught[0].message))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_verbose_gives_the_same_reason_for_stopping(solver, early_stopping, capsys):
    params = {"tol": 0.02, "n_iter_no_change": 2, "max_iter": 50}
    pair = both(solver=solver, early_stopping=early_stopping, verbose=True, **params)
    verdicts = fit_with_verdicts(pair, capsys)
    assert verdicts[0] == verdicts[1]
    assert verdicts[0][0].endswith("Stopping.")


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_random_state_instance_is_drawn_from_alike(solver, early_stopping):
    pair = both(solver=solver, early_stopping=early_stopping)
    following = []
    for clf in pair:
        random_state = np.random.RandomState(11)
        clf.set_params(random_state=random_state)
        for _ in range(2):
            with pytest.warns(ConvergenceWarning):
                clf.fit(X, y)
        following.append(random_state.random_sample())
    assert following[0] == following[1]
    assert_same_model(pair, tolerance(solver))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array], ids=["dense", "CSR"])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_float32_rows_give_the_same_float32_model(solver, make):
    ours, theirs = fit_until_max_iter(make(X.astype(np.float32)), y, solver=solver)
    assert all(a.dtype == b.dtype == np.float32 for a, b in zip(ours.coefs_, theirs.coefs_))
    assert all(a.dtype == b.dtype == np.float32 for a, b in zip(ours.intercepts_, theirs.intercepts_))
    # An operation rounds to 6e-8; ten epochs of sums over rows and layers carry it to about 1e-6.
    assert_same_model((ours, theirs), 1e-5, make(X_new.astype(np.float32)))


def test_float32_rows_give_a_float32_model_by_lbfgs():
    ours, theirs = fit_until_max_iter(X.astype(np.float32), y, solver="lbfgs")
    assert {a.dtype for a in (*ours.coefs_, *ours.intercepts_)} == {np.dtype(np.float32)}
    # scikit-learn turns to float64 here; the gradient's float32 rounding grows as told at LBFGS.
    assert_same_model((ours, theirs), 1e-3)


def test_a_full_training_with_defaults_ends_in_the_same_epoch_with_the_same_predictions():
    table, target = load_breast_cancer(return_X_y=True)
    table = StandardScaler().fit_transform(table)
    pair = BCEMLPClassifier(random_state=0), MLPClassifier(random_state=0)
    call(pair, "fit", table, target, warns=[ConvergenceWarning])
    # 200 epochs are 600 steps of Adam: rounding grows from step to step.
    assert_same_model(pair, 1e-8, table)
