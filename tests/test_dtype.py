"""The parameter dtype: a precision asked for gives the model of a table in that precision, without a copy of it."""

import copy

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import estimator_checks_generator

from skbce import BCEMLPClassifier, check_gradients
from tests.model_checks import assert_same_bits, parameters_of, peak_bytes

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = ["adam", "sgd", "lbfgs"]
DTYPES = ["float32", "float64"]
OTHER = {"float32": "float64", "float64": "float32"}

AS_TABLE = {
    "dense": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "CSR": sp.csr_array,
    "CSC": sp.csc_matrix,
}


def classifier(**parameters):
    return BCEMLPClassifier(**{"hidden_layer_sizes": (7, 4), "max_iter": 5, "random_state": 0, **parameters})


def problem(n_rows=300, n_features=9):
    """Rows that float32 does not hold exactly, a third of them zeros, a target and weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features))
    X[np.abs(X) < 0.4] = 0
    return X, (X[:, 0] - X[:, 1] > 0.1).astype(int), rng.uniform(0.3, 3, n_rows)


def assert_same_model(clf, expected, dtype, X):
    """Equal parameters, losses and predictions to the last bit, all in dtype."""
    assert {array.dtype.name for array in parameters_of(clf)} == {dtype}
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.loss_ == expected.loss_
    for method in ("decision_function", "predict_proba", "predict_log_proba"):
        results = [getattr(model, method)(X) for model in (clf, expected)]
        assert results[0].dtype == dtype
        assert_same_bits(results[:1], results[1:])
    np.testing.assert_array_equal(clf.predict(X), expected.predict(X))


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early stopping"])
@pytest.mark.parametrize("as_table", AS_TABLE.values(), ids=AS_TABLE)
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_model_is_that_of_a_table_converted_before(dtype, solver, as_table, early_stopping, weighted):
    X, y, weight = problem()
    X = as_table(X.astype(OTHER[dtype]))
    sample_weight = weight if weighted else None
    parameters = {"solver": solver, "early_stopping": early_stopping}
    clf = classifier(dtype=dtype, **parameters).fit(X, y, sample_weight)
    expected = classifier(**parameters).fit(X.astype(dtype), y, sample_weight)
    assert_same_model(clf, expected, dtype, X)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_partial_fit_trains_the_model_of_tables_converted_before(dtype, solver):
    X, y, weight = problem()
    X = X.astype(OTHER[dtype])
    clf, expected = classifier(solver=solver, dtype=dtype), classifier(solver=solver)
    for _ in range(3):
        clf.partial_fit(X, y, weight, classes=[0, 1])
        expected.partial_fit(X.astype(dtype), y, weight, classes=[0, 1])
    assert_same_model(clf, expected, dtype, X)


@pytest.mark.parametrize("dtype", DTYPES)
def test_multilabel_model_is_that_of_a_table_converted_before(dtype):
    X, _, weight = problem()
    Y = (X[:, :3] > 0.2).astype(int)
    X = X.astype(OTHER[dtype])
    clf = classifier(dtype=dtype).fit(X, Y, weight)
    assert_same_model(clf, classifier().fit(X.astype(dtype), Y, weight), dtype, X)


@pytest.mark.parametrize("dtype", DTYPES)
def test_precision_that_the_table_has_changes_nothing(dtype):
    X, y, weight = problem()
    X = X.astype(dtype)
    assert_same_model(classifier(dtype=dtype).fit(X, y, weight), classifier().fit(X, y, weight), dtype, X)


# The first whole number that float32 does not hold.
BIG = 2**24 + 1


@pytest.mark.parametrize(
    "as_table",
    [
        lambda X: X,
        lambda X: X.astype(np.int32),
        np.asfortranarray,
        lambda X: X.tolist(),
        pd.DataFrame,
        lambda X: pd.DataFrame(X).astype("Int64"),
        sp.csr_matrix,
        sp.csc_array,
        sp.coo_matrix,
        lambda X: X.astype(object),
        lambda X: X.astype(">f8"),
    ],
    ids=["int64", "int32", "Fortran", "list", "frame", "Int64 frame", "CSR", "CSC", "COO", "objects", "other order"],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_other_tables_are_read_in_the_precision_asked_for(dtype, as_table):
    X = np.random.default_rng(0).integers(-2, 3, (90, 5)) * BIG
    y = (X[:, 0] > X[:, 1]).astype(int)
    # Without hidden units, which would saturate: a step is the error times X.
    parameters = {"hidden_layer_sizes": (), "solver": "sgd", "learning_rate_init": 1e-9, "dtype": dtype}
    clf = classifier(**parameters).fit(as_table(X), y)
    expected = classifier(**parameters).fit(X.astype(dtype), y)
    # Sparse rows are summed over what is stored only.
    rtol = {"float32": 1e-5, "float64": 1e-12}[dtype] if sp.issparse(as_table(X)) else 0
    for array, reference in zip(parameters_of(clf), parameters_of(expected), strict=True):
        assert array.dtype == dtype
        np.testing.assert_allclose(array, reference, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early stopping"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("given", ["float64", "int16"])
def test_table_is_not_copied_beside_what_float32_needs(given, solver, early_stopping):
    X = (10 * np.random.default_rng(0).standard_normal((200_000, 50), np.float32)).astype(given)
    y = X[:, 0] > 0
    clf = classifier(
        hidden_layer_sizes=(16,), max_iter=1, solver=solver, early_stopping=early_stopping, dtype="float32"
    )
    peak = peak_bytes(lambda: clf.fit(X, y, np.ones(len(y))))
    # Float64 rows: 2.7 MB, the order of the rows and the weights; L-BFGS works in 3 MB a thread; with early stopping
    # 17 MB, for scikit-learn splits row numbers in a dozen arrays. A copy of the rows in float32 would add 40 MB.
    # Whole numbers need that one copy; by way of float64 it would be 80 MB.
    assert peak < 24e6 + (0 if given == "float64" else 40e6)


def test_prediction_does_not_copy_the_table():
    X, y, _ = problem(n_rows=100_000, n_features=50)
    clf = classifier(dtype="float32", max_iter=1).fit(X[:100], y[:100])
    # A row has a logit and two probabilities, 12 bytes; in float32 it has 200 itself.
    assert peak_bytes(lambda: clf.predict_proba(X)) < len(X) * 64


@pytest.mark.parametrize("as_table", [np.asarray, sp.csr_matrix, lambda X: X.tolist()], ids=["dense", "CSR", "list"])
def test_numbers_too_large_for_float32_are_refused_and_the_model_is_kept(as_table):
    X, y, _ = problem()
    clf = classifier(dtype="float32")
    with pytest.raises(ValueError, match=r"too large for .*float32"):
        clf.fit(as_table(X * 1e300), y)
    assert not hasattr(clf, "coefs_")
    clf.fit(as_table(X), y)
    before = clf.predict_proba(X)
    for method in (clf.fit, clf.partial_fit):
        with pytest.raises(ValueError, match=r"too large for .*float32"):
            method(as_table(X * 1e300), y)
    with pytest.raises(ValueError, match=r"too large for .*float32"):
        clf.predict(as_table(X * 1e300))
    assert_same_bits([clf.predict_proba(X)], [before])


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_weights_that_float32_does_not_hold_are_refused(scale):
    X, y, weight = problem()
    for clf, table in ((classifier(dtype="float32"), X), (classifier(), X.astype(np.float32))):
        with pytest.raises(ValueError, match=r"sample_weight is too large or too small for float32"):
            clf.fit(table, y, weight * scale)
    classifier(dtype="float64", alpha=0).fit(X.astype(np.float32), y, weight * scale)


# Going on


def to_precision(clf, dtype):
    """The model by hand: all that training goes on from, in dtype."""
    clf.coefs_ = [W.astype(dtype) for W in clf.coefs_]
    clf.intercepts_ = [b.astype(dtype) for b in clf.intercepts_]
    clf._moments = [moment.astype(dtype) for moment in clf._moments]
    return clf


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_partial_fit_goes_on_in_the_precision_asked_for_with_parameters_and_moments(dtype, solver):
    X, y, weight = problem()
    models = [classifier(solver=solver).partial_fit(X.astype(OTHER[dtype]), y, classes=[0, 1]) for _ in range(2)]
    clf, expected = models[0].set_params(dtype=dtype), to_precision(models[1], dtype)
    assert {array.dtype.name for array in parameters_of(clf)} == {OTHER[dtype]}
    without_moments = copy.deepcopy(expected)
    without_moments._moments = []
    for model in (*models, without_moments):
        model.partial_fit(X.astype(dtype), y, weight)
    assert_same_model(clf, expected, dtype, X)
    assert (clf.coefs_[0] != without_moments.coefs_[0]).any()


@pytest.mark.parametrize("early_stopping", [False, True], ids=["", "early stopping"])
@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_warm_start_goes_on_in_the_precision_asked_for(dtype, solver, early_stopping):
    X, y, weight = problem()
    parameters = {"solver": solver, "early_stopping": early_stopping, "warm_start": True}
    models = [classifier(**parameters).fit(X.astype(OTHER[dtype]), y) for _ in range(2)]
    clf, expected = models[0].set_params(dtype=dtype), to_precision(models[1], dtype)
    for model in models:
        model.fit(X.astype(dtype), y, weight)
    assert_same_model(clf, expected, dtype, X)


@pytest.mark.parametrize("goes_on", ["warm_start", "partial_fit"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_without_dtype_a_model_that_goes_on_keeps_its_precision(dtype, goes_on):
    X, y, _ = problem()
    clf = classifier(warm_start=True, dtype=dtype).fit(X, y).set_params(dtype=None)
    method = clf.fit if goes_on == "warm_start" else clf.partial_fit
    method(X.astype(OTHER[dtype]), y)
    assert {array.dtype.name for array in parameters_of(clf)} == {dtype}


@pytest.mark.parametrize("solver", SOLVERS)
def test_parameters_too_large_for_float32_are_refused_and_the_model_is_kept(solver):
    X, y, _ = problem()
    clf = classifier(warm_start=True, solver=solver).fit(X, y)
    clf.coefs_[0][0, 0] = 1e300
    before = [array.copy() for array in parameters_of(clf)]
    with pytest.raises(ValueError, match="too large for dtype='float32'"):
        clf.set_params(dtype="float32").fit(X, y)
    assert_same_bits(parameters_of(clf), before)


def test_a_fitted_model_predicts_in_its_own_precision_whatever_dtype_is_set_later():
    X, y, _ = problem()
    clf = classifier().fit(X, y)
    before = clf.predict_proba(X)
    assert_same_bits([clf.set_params(dtype="float32").predict_proba(X)], [before])


# Around it


@pytest.mark.parametrize("dtype", ["float16", "double", np.float32, np.dtype("float64"), float, 32])
def test_other_values_are_refused_by_name(dtype):
    X, y, _ = problem()
    with pytest.raises(InvalidParameterError, match="'dtype' parameter of BCEMLPClassifier"):
        classifier(dtype=dtype).fit(X, y)


@pytest.mark.parametrize("as_table", [np.asarray, lambda X: X.astype(np.float32)], ids=DTYPES[::-1])
@pytest.mark.parametrize("fitted", [False, True], ids=["new", "fitted"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_gradient_check_is_of_the_precision_asked_for(dtype, tolerance, fitted, as_table):
    X, y, weight = problem(n_rows=60, n_features=4)
    clf = classifier(activation="tanh", dtype=dtype)
    if fitted:
        clf.fit(as_table(X), y)
    check = check_gradients(clf, as_table(X), y, weight)
    assert check.dtype == dtype
    # As the docstring of check_gradients tells.
    assert check.largest < tolerance


def checks():
    """scikit-learn's checks, but for those whose tolerance is below float32's rounding.

    Repeated rows and weights are compared to 1e-7 in all digits, which is one unit in float32's last place; and the
    logarithm of a probability, which is never 0, with a log-probability, which goes on below: L-BFGS gets to -1000,
    where the logarithm of float32's smallest number is -103.
    """
    for solver in SOLVERS:
        for estimator, check in estimator_checks_generator(BCEMLPClassifier(dtype="float32", solver=solver)):
            of_rounding = check.func.__name__.startswith("check_sample_weight_equivalence")
            of_logarithms = solver == "lbfgs" and check.func.__name__ == "check_classifiers_train"
            if not (of_rounding or of_logarithms):
                yield pytest.param(estimator, check, id=f"{solver}-{check.func.__name__}")


@pytest.mark.parametrize(("estimator", "check"), checks())
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_weights_of_a_column_of_zeros_never_become_subnormal(n_threads):
    # They have nothing but their L2 term. Subnormal numbers made each step of such a network ten times as long.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 20)).astype(np.float32)
    y = X[:, 0] > 0
    X[:, 3] = 0
    clf = BCEMLPClassifier((100,), alpha=1e-2, batch_size=40, learning_rate_init=0.03, max_iter=300,
                           n_iter_no_change=300, n_threads=n_threads, random_state=0).fit(X, y)  # fmt: skip
    assert (clf._moments[0] == 0).any()
    for array in (*clf.coefs_, *clf.intercepts_, *clf._moments):
        assert not np.any((array != 0) & (np.abs(array) < np.finfo(np.float32).tiny))


@pytest.mark.parametrize("n_threads", [1, 2])
def test_training_leaves_subnormal_numbers_to_others(n_threads):
    # In this thread, and in those that OpenMP keeps: blocks of rows are predicted on all of them.
    X = np.full((20_000, 1), 1e-40, np.float32)
    clf = BCEMLPClassifier((), batch_size=20_000, max_iter=3, n_threads=n_threads).fit(X, np.arange(len(X)) % 2)
    clf.coefs_[0][...], clf.intercepts_[0][...] = 1, 0
    np.testing.assert_array_equal(clf.decision_function(X), X[:, 0])
    assert np.float32(1e-40) * np.float32(1) != 0
