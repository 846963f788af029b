"""Claims that hold for every table, target and network; Hypothesis looks for one where they do not."""

from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression

from skbce import BCEMLPClassifier

# A few epochs are enough for every claim here, and none of them is about convergence.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Stochastic Optimizer. Maximum iterations:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:lbfgs failed to converge:sklearn.exceptions.ConvergenceWarning"),
]

# The same examples in every run, and no limit to their time: a busy machine changes nothing.
search = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=40)

SOLVERS = ("adam", "sgd", "lbfgs")
STOCHASTIC = ("adam", "sgd")

# Sums in another order round otherwise: 1e-16 an operation, about 1e-14 after three epochs. The rest is for Adam,
# which divides each gradient by its own size: where one nearly cancels, its rounding is scaled up to a step; and for
# L-BFGS, which learns the curvature from quotients of small differences.
ROUNDING = {"sgd": 1e-11, "adam": 1e-9, "lbfgs": 1e-6}


@dataclass(frozen=True)
class Problem:
    X: np.ndarray
    y: np.ndarray
    params: dict

    def fit(self, sample_weight=None, **params):
        return BCEMLPClassifier(**{**self.params, **params}).fit(self.X, self.y, sample_weight)

    def rows(self, rows):
        return replace(self, X=self.X[rows], y=self.y[rows])


@st.composite
def problems(draw, solver, dtypes=(np.float64,), max_outputs=3):
    """A table, a binary or multilabel target, and a network, to be trained for a few epochs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_rows, n_features = draw(st.integers(4, 40)), draw(st.integers(1, 6))
    n_outputs = draw(st.integers(1, max_outputs))
    X = rng.normal(size=(n_rows, n_features)).astype(draw(st.sampled_from(dtypes)))
    y = rng.integers(0, 2, (n_rows, n_outputs))
    y[:4] = [[0], [1], [0], [1]]  # both classes, in a tenth held out too
    params = {
        "hidden_layer_sizes": draw(st.lists(st.integers(1, 9), max_size=3)),
        "activation": draw(st.sampled_from(["identity", "logistic", "tanh", "relu"])),
        "solver": solver,
        "alpha": draw(st.sampled_from([0.0, 1e-4, 2.0])),
        "batch_size": draw(st.integers(1, n_rows)),
        "shuffle": draw(st.booleans()),
        # Four times this makes sgd diverge now and then: single rows through deep networks.
        "learning_rate_init": 0.005,
        "max_iter": 3,
        "random_state": draw(st.integers(0, 99)),
    }
    return Problem(X, y.ravel() if n_outputs == 1 else y, params)


def full_batch(problem, **params):
    return {**params, "batch_size": len(problem.X), "shuffle": False}


def loss_curve(clf):
    return clf.loss_ if clf.solver == "lbfgs" else clf.loss_curve_


def assert_same_model(a, b):
    """Equal parameters and losses, to rounding."""
    rtol = ROUNDING[a.solver]
    for x, y in zip((*a.coefs_, *a.intercepts_), (*b.coefs_, *b.intercepts_), strict=True):
        # Relative to an array's largest: single entries may be as near to zero as they like.
        assert_allclose(x, y, rtol=0, atol=rtol * max(1.0, np.abs(y).max()))
    assert_allclose(loss_curve(a), loss_curve(b), rtol=rtol)


def assert_same_bits(a, b):
    """Equal parameters to the last bit, and equal losses to rounding."""
    for x, y in zip((*a.coefs_, *a.intercepts_), (*b.coefs_, *b.intercepts_), strict=True):
        assert x.dtype == y.dtype
        assert_array_equal(x, y)
    # Means over at most a few hundred batches.
    assert_allclose(loss_curve(a), loss_curve(b), rtol=1e-13)


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_integer_weights_equal_repeated_rows_in_full_batches(solver, data):
    problem = data.draw(problems(solver))
    weight = data.draw(hnp.arrays(int, len(problem.X), elements=st.integers(0, 3)))
    weight[:2] += 1  # rows of both classes are repeated at least once
    repeated = problem.rows(np.repeat(np.arange(len(weight)), weight))
    weighted_model = problem.fit(weight, **full_batch(problem))
    assert_same_model(weighted_model, repeated.fit(**full_batch(repeated)))


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_rows_without_weight_change_nothing_in_full_batches(solver, data):
    problem = data.draw(problems(solver))
    n_rows = len(problem.X)
    order = data.draw(st.permutations(range(n_rows)))
    weight = data.draw(hnp.arrays(float, n_rows, elements=st.floats(0.1, 3)))
    # Rows far from all others and on the wrong side, mixed among them.
    strangers = Problem(-100 * problem.X, 1 - problem.y, problem.params)
    where = np.argsort([*range(n_rows), *order], kind="stable")
    mixed = Problem(
        np.concatenate((problem.X, strangers.X))[where],
        np.concatenate((problem.y, strangers.y))[where],
        problem.params,
    )
    mixed_model = mixed.fit(np.concatenate((weight, np.zeros(n_rows)))[where], **full_batch(mixed))
    assert_same_model(mixed_model, problem.fit(weight, **full_batch(problem)))


@pytest.mark.parametrize("solver", STOCHASTIC)
@search
@given(st.data())
def test_batches_without_weight_are_passed_over(solver, data):
    problem = data.draw(problems(solver))
    batch_size = problem.params["batch_size"]
    weight = data.draw(hnp.arrays(float, len(problem.X), elements=st.floats(0.1, 3)))
    # Two batches, so that the rows behind them keep their place to 16 bytes: OpenBLAS 0.3.21 rounds by it.
    at = [batch_size * data.draw(st.integers(0, len(problem.X) // batch_size))] * (2 * batch_size)
    longer = Problem(
        np.insert(problem.X, at, 1e3, axis=0),
        np.insert(problem.y, at, 1, axis=0),
        problem.params,
    )
    longer_model = longer.fit(np.insert(weight, at, 0), shuffle=False)
    assert_same_bits(longer_model, problem.fit(weight, shuffle=False))


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_scaling_all_weights_changes_nothing_without_alpha(solver, data):
    problem = data.draw(problems(solver))
    weight = data.draw(hnp.arrays(float, len(problem.X), elements=st.floats(0.1, 3)))
    # A power of two scales without rounding.
    scaled = weight * 2.0 ** data.draw(st.integers(-60, 60))
    assert_same_bits(problem.fit(scaled, alpha=0), problem.fit(weight, alpha=0))


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_equal_weights_equal_none(solver, data):
    problem = data.draw(problems(solver))
    assert_same_bits(problem.fit(np.ones(len(problem.X))), problem.fit())


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_swapping_labels_and_the_sign_of_the_last_layer_mirrors_training(solver, data):
    problem = data.draw(problems(solver))
    clf = problem.fit(warm_start=True)
    mirrored = deepcopy(clf)
    mirrored.coefs_[-1] *= -1
    mirrored.intercepts_[-1] *= -1
    clf.fit(problem.X, problem.y)
    mirrored.fit(problem.X, 1 - problem.y)
    assert_allclose(mirrored.decision_function(problem.X), -clf.decision_function(problem.X), atol=ROUNDING[solver])
    mirrored.coefs_[-1] *= -1
    mirrored.intercepts_[-1] *= -1
    assert_same_model(mirrored, clf)


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_order_of_features_units_and_outputs_does_not_matter(solver, data):
    problem = data.draw(problems(solver))
    clf = problem.fit(warm_start=True)
    units = [problem.X.shape[1], *problem.params["hidden_layer_sizes"], clf.n_outputs_]
    orders = [data.draw(st.permutations(range(n))) for n in units]
    renamed = deepcopy(clf)

    def rename(model):
        model.coefs_ = [W[np.ix_(*pair)] for W, pair in zip(model.coefs_, pairwise(orders))]
        model.intercepts_ = [b[order] for b, order in zip(model.intercepts_, orders[1:])]

    rename(renamed)
    renamed.fit(problem.X[:, orders[0]], problem.y if problem.y.ndim == 1 else problem.y[:, orders[-1]])
    clf.fit(problem.X, problem.y)
    rename(clf)
    assert_same_model(renamed, clf)


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_same_random_state_gives_the_same_bits(solver, data):
    problem = data.draw(problems(solver, dtypes=(np.float32, np.float64)))
    assert_same_bits(problem.fit(), problem.fit())


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", STOCHASTIC)
@search
@given(st.data())
def test_model_and_losses_do_not_depend_on_how_time_cuts_an_epoch_into_calls(solver, early_stopping, data):
    problem = data.draw(problems(solver, max_outputs=1))
    problem = problem.rows(np.tile(np.arange(len(problem.X)), 5))
    params = {"early_stopping": early_stopping, "batch_size": min(3, problem.params["batch_size"])}
    models = []
    # A call whose time is over from the start takes one step.
    for call_seconds in (-1.0, 60.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skbce._threads._RUN_SECONDS", call_seconds)
            models.append(problem.fit(**params))
    assert_same_bits(*models)
    # Stopping hangs on them: rounding by the clock would make it a matter of chance.
    assert models[0].loss_curve_ == models[1].loss_curve_


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_model_does_not_depend_on_how_rows_are_cut_into_blocks(solver, data):
    problem = data.draw(problems(solver))
    expected = problem.fit()
    with pytest.MonkeyPatch.context() as patch:
        elements = data.draw(st.integers(1, 200))
        patch.setattr("skbce._parameters._BLOCK_ELEMENTS", elements)
        patch.setattr("skbce._parameters._MIN_BLOCK_ROWS", 1)
        patch.setattr("skbce._prediction._BLOCK_ELEMENTS", elements)
        clf = problem.fit()
        assert_same_model(clf, expected)
        logits = clf.decision_function(problem.X)
    assert_allclose(
        logits, clf.decision_function(problem.X), rtol=1e-12, atol=1e-12
    )  # sums of up to 10 terms of size 1


STORED = {
    "CSR": sp.csr_array,
    "CSC": sp.csc_array,
    "CSR matrix": sp.csr_matrix,
    "CSC matrix": sp.csc_matrix,
    "unsorted columns": lambda X: _with_shuffled_entries(X),
    "an entry in two parts": lambda X: _with_split_entries(X),
    "zeros stored": lambda X: _with_zeros(X),
}


def _with_shuffled_entries(X):
    X = sp.csr_array(X)
    for start, stop in zip(X.indptr, X.indptr[1:]):
        X.indices[start:stop] = X.indices[start:stop][::-1]
        X.data[start:stop] = X.data[start:stop][::-1]
    X.has_sorted_indices = False
    return X


def _with_split_entries(X):
    X = sp.csr_array(X)
    return sp.csr_array((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)


def _with_zeros(X):
    n_rows, n_columns = X.shape
    indices = np.tile(np.arange(n_columns), n_rows)
    return sp.csr_array((X.ravel(), indices, np.arange(n_rows + 1) * n_columns), shape=X.shape)


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_sparse_rows_give_the_model_and_predictions_of_dense_rows(solver, stored, data):
    problem = data.draw(problems(solver))
    problem = replace(problem, X=problem.X * data.draw(hnp.arrays(bool, problem.X.shape)))
    sparse = replace(problem, X=STORED[stored](problem.X))
    before = sparse.X.copy()
    clf = problem.fit()
    assert_same_model(sparse.fit(), clf)
    # Sums of up to 10 terms of size 1.
    assert_allclose(clf.decision_function(sparse.X), clf.decision_function(problem.X), rtol=1e-12, atol=1e-12)
    for name in ("data", "indices", "indptr"):
        assert_array_equal(getattr(sparse.X, name), getattr(before, name))


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _every_second(X):
    wide = np.full((2 * X.shape[0], 3 * X.shape[1]), np.nan, X.dtype)
    wide[::2, ::3] = X
    return wide[::2, ::3]


def _left_part(X):
    wide = np.full((X.shape[0], X.shape[1] + 3), np.nan, X.dtype)
    wide[:, : X.shape[1]] = X
    return wide[:, : X.shape[1]]


def _from_bytes(X):
    raw = np.empty(X.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(X.dtype).reshape(X.shape)
    unaligned[...] = X
    return unaligned


def _record_field(X):
    records = np.empty(X.shape, [("x", X.dtype), ("padding", np.int16)])
    records["x"] = X
    return records["x"]


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "strided": _every_second,
    "left part of a wider table": _left_part,
    "rows reversed": lambda X: X[::-1].copy()[::-1],
    "columns reversed": lambda X: X[:, ::-1].copy()[:, ::-1],
    "unaligned": _from_bytes,
    "field of a record": _record_field,
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_layout_of_rows_in_memory_does_not_matter(solver, layout, data):
    problem = data.draw(problems(solver))
    laid_out = replace(problem, X=LAYOUTS[layout](problem.X))
    assert_array_equal(laid_out.X, problem.X)
    clf = problem.fit()
    assert_same_model(laid_out.fit(), clf)
    # Sums of up to 10 terms of size 1.
    assert_allclose(clf.decision_function(laid_out.X), clf.decision_function(problem.X), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_one_row_repeated_without_copies_is_read_as_often(solver, data):
    problem = data.draw(problems(solver))
    repeated = replace(problem, X=np.broadcast_to(problem.X[0], problem.X.shape))
    assert_same_model(repeated.fit(), replace(problem, X=repeated.X.copy()).fit())


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
@search
@given(st.data())
def test_inputs_are_not_changed(solver, early_stopping, data):
    problem = data.draw(problems(solver, dtypes=(np.float32, np.float64)))
    problem = problem.rows(np.tile(np.arange(len(problem.X)), 5))
    weight = data.draw(hnp.arrays(problem.X.dtype, len(problem.X), elements=st.floats(0.5, 4, width=32)))
    before = deepcopy((problem.X, problem.y, weight))
    clf = problem.fit(weight, early_stopping=early_stopping)
    for method in (clf.predict, clf.predict_proba, clf.predict_log_proba, clf.decision_function):
        method(problem.X)
    for now, then in zip((problem.X, problem.y, weight), before, strict=True):
        assert_array_equal(now, then)


# Predictions are computed in float32 or float64; sums of up to 10 terms round to a few units in the last place.
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@search
@given(st.data())
def test_rows_are_predicted_the_same_alone_together_and_in_any_order(dtype, data):
    problem = data.draw(problems("adam", dtypes=(dtype,)))
    clf = problem.fit()
    order = data.draw(st.permutations(range(len(problem.X))))
    together = clf.predict_proba(problem.X)
    # Sums of up to 10 terms of size 1, through up to four layers.
    atol = 100 * np.finfo(dtype).eps
    assert_allclose(clf.predict_proba(problem.X[order]), together[order], rtol=0, atol=atol)
    alone = np.concatenate([clf.predict_proba(row) for row in problem.X[:, np.newaxis]])
    assert_allclose(alone, together, rtol=0, atol=atol)


@st.composite
def predictions(draw, dtype):
    """A trained classifier and rows that it has not seen, some of them far outside."""
    problem = draw(problems("sgd", dtypes=(dtype,)))
    size = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)
    elements = st.one_of(st.floats(-4, 4, width=32, allow_subnormal=False), size)
    rows = draw(st.integers(1, 8))
    return problem.fit(), draw(hnp.arrays(dtype, (rows, problem.X.shape[1]), elements=elements))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@search
@given(st.data())
def test_probabilities_lie_strictly_between_0_and_1_and_add_to_1(dtype, data):
    clf, X = data.draw(predictions(dtype))
    probabilities = clf.predict_proba(X)
    assert probabilities.dtype == dtype
    assert (probabilities > 0).all()
    assert (probabilities < 1).all()
    if clf.n_outputs_ == 1:
        # Each is rounded by itself.
        assert_allclose(probabilities.sum(axis=1), 1, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@search
@given(st.data())
def test_predict_agrees_with_probabilities_and_logits(dtype, data):
    clf, X = data.draw(predictions(dtype))
    labels = clf.predict(X)
    probabilities = clf.predict_proba(X)
    positive = probabilities[:, 1] if clf.n_outputs_ == 1 else probabilities
    assert_array_equal(labels, clf.decision_function(X) > 0)
    undecided = positive == 0.5  # where a logit is so small that its probability rounds to this
    assert_array_equal(labels[~undecided], positive[~undecided] > 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@search
@given(st.data())
def test_log_probabilities_are_finite_and_the_logarithms_of_probabilities(dtype, data):
    clf, X = data.draw(predictions(dtype))
    log_probabilities = clf.predict_log_proba(X)
    assert np.isfinite(log_probabilities).all()
    probabilities = clf.predict_proba(X)
    precise = probabilities >= np.finfo(dtype).tiny  # subnormal numbers have fewer digits
    eps = np.finfo(dtype).eps
    # A probability near 1 is rounded by eps / 2, and so is its logarithm near 0.
    assert_allclose(log_probabilities[precise], np.log(probabilities[precise]), rtol=4 * eps, atol=4 * eps)


@search
@given(problems("lbfgs", max_outputs=1), st.floats(0.1, 10))
def test_network_without_hidden_layers_is_logistic_regression(problem, alpha):
    clf = problem.fit(hidden_layer_sizes=(), alpha=alpha, tol=1e-10, max_iter=1000)
    witness = LogisticRegression(C=1 / alpha, tol=1e-10, solver="newton-cholesky").fit(problem.X, problem.y)
    losses = np.logaddexp(0, np.where(problem.y == 1, -1, 1) * witness.decision_function(problem.X))
    least = losses.mean() + alpha / 2 * (witness.coef_**2).sum() / len(problem.X)
    # L-BFGS also stops where an iteration lowers the cost by less than 2e-9.
    assert_allclose(clf.loss_, least, rtol=0, atol=1e-7)
    # The cost is flat at its minimum: logits are off by the root of that.
    assert_allclose(clf.decision_function(problem.X), witness.decision_function(problem.X), rtol=0, atol=1e-2)
