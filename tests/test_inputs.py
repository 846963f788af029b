"""What X, y and sample_weight may be, what becomes of them, and what errors say."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.lib.stride_tricks import as_strided
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.multiclass import OneVsRestClassifier
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.multiclass import type_of_target, unique_labels

from skbce import BCEMLPClassifier, check_gradients
from skbce._inputs import two_numbers
from tests import numpy_twin as twin
from tests.model_checks import assert_same_bits, parameters_of, peak_bytes

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SPARSE_TYPES = [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array]


def classifier(**parameters):
    return BCEMLPClassifier(**{"hidden_layer_sizes": (7, 4), "max_iter": 5, "random_state": 0, **parameters})


def table(n_rows=90, n_features=6, dtype=np.float64):
    X = np.random.default_rng(0).standard_normal((n_rows, n_features)).astype(dtype)
    return X, (X[:, 0] - X[:, 1] > 0.1).astype(int)


def counts(n_rows=90, n_features=6):
    """Like `table`, of whole numbers from 0 to 3, many of them 0: the same in every dtype."""
    X = np.random.default_rng(0).poisson(0.7, (n_rows, n_features)).clip(0, 3)
    return X, (X[:, 0] > X[:, 1]).astype(int)


def indicator(X, n_outputs=3):
    return (X[:, :n_outputs] > 0.2).astype(int)


LABELS = {
    "strings": np.array(["absent", "present in part"]),
    "object strings": np.array(["no", "yes"], dtype=object),
    "bools": np.array([False, True]),
    "negative ints": np.array([-7, -3]),
    "int8": np.array([-1, 1], dtype=np.int8),
    "uint8": np.array([3, 200], dtype=np.uint8),
    "floats": np.array([-1.0, 2.0]),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_predict_returns_the_labels_it_was_given_and_the_model_does_not_depend_on_them(labels):
    X, y = table()
    expected = classifier().fit(X, y)
    clf = classifier().fit(X, labels[y])
    # Strings come back from an object array as an array of strings, as from MLPClassifier.
    dtype = labels.astype(str).dtype if labels.dtype == object else labels.dtype
    np.testing.assert_array_equal(clf.classes_, labels)
    assert clf.classes_.dtype == dtype
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    predicted = clf.predict(X)
    assert predicted.dtype == dtype
    np.testing.assert_array_equal(predicted, labels[expected.predict(X)])
    assert clf.score(X, labels[y]) == expected.score(X, y)


def test_classes_are_sorted_and_the_second_is_the_one_predicted_as_positive():
    X, y = table()
    clf = classifier().fit(X, np.where(y == 1, "a", "b"))
    np.testing.assert_array_equal(clf.classes_, ["a", "b"])
    logits = clf.decision_function(X)
    np.testing.assert_array_equal(clf.predict(X), np.where(logits > 0, "b", "a"))
    np.testing.assert_array_equal(clf.predict_proba(X)[:, 1] > 0.5, logits > 0)


@pytest.mark.parametrize(
    "as_target",
    [list, tuple, pd.Series, lambda y: pd.Series(y, dtype="category"), lambda y: pd.Series(y, index=range(5, 95))],
    ids=["list", "tuple", "series", "categorical", "series with another index"],
)
def test_target_may_be_any_sequence_of_labels(as_target):
    X, y = table()
    y = np.where(y == 1, "yes", "no")
    clf = classifier().fit(X, as_target(y))
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, y)))
    np.testing.assert_array_equal(clf.classes_, ["no", "yes"])


@pytest.mark.parametrize("as_column", [np.asarray, sp.csr_matrix, pd.DataFrame], ids=["array", "csr", "frame"])
def test_target_of_one_column_is_taken_as_binary_with_a_warning(as_column):
    X, y = table()
    clf = classifier()
    with pytest.warns(DataConversionWarning, match="column-vector y was passed"):
        clf.fit(X, as_column(y.reshape(-1, 1)))
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, y)))
    assert clf.predict(X).shape == y.shape


@pytest.mark.parametrize(
    "as_indicator",
    [
        lambda Y: Y.astype(bool),
        lambda Y: Y.astype(np.float32),
        lambda Y: Y.astype(np.uint8),
        np.asfortranarray,
        np.ndarray.tolist,
        pd.DataFrame,
        sp.csr_matrix,
        sp.csr_array,
        sp.csc_matrix,
        sp.coo_matrix,
        sp.lil_matrix,
    ],
    ids=["bool", "float32", "uint8", "F-ordered", "lists", "frame", "csr", "csr array", "csc", "coo", "lil"],
)
def test_multilabel_target_trains_the_same_model_in_every_container(as_indicator):
    X, _ = table()
    Y = indicator(X)
    clf = classifier().fit(X, as_indicator(Y))
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, Y)))
    np.testing.assert_array_equal(clf.classes_, [0, 1, 2])
    assert clf.n_outputs_ == 3


@pytest.mark.parametrize("as_target", [sp.csr_matrix, sp.csc_matrix, sp.coo_array])
def test_multilabel_prediction_is_sparse_if_the_target_was(as_target):
    X, _ = table()
    Y = indicator(X)
    dense = classifier().fit(X, Y).predict(X)
    sparse = classifier().fit(X, as_target(Y)).predict(X)
    assert isinstance(dense, np.ndarray)
    assert sp.issparse(sparse)
    assert sparse.format == "csr"
    np.testing.assert_array_equal(sparse.toarray(), dense)


def test_multilabel_prediction_says_1_where_the_probability_is_above_a_half():
    X, _ = table()
    clf = classifier(max_iter=40).fit(X, indicator(X))
    Y_hat = clf.predict_proba(X)
    assert Y_hat.shape == clf.decision_function(X).shape == (len(X), 3)
    np.testing.assert_array_equal(clf.predict(X), (Y_hat > 0.5).astype(int))
    assert len(np.unique(clf.predict(X))) == 2


def test_multilabel_columns_may_lack_a_class():
    X, _ = table()
    Y = indicator(X)
    Y[:, 0], Y[:, 1] = 0, 1
    clf = classifier(max_iter=300, learning_rate_init=0.01).fit(X, Y)
    np.testing.assert_array_equal(clf.predict(X)[:, 0], 0)
    np.testing.assert_array_equal(clf.predict(X)[:, 1], 1)


@pytest.mark.parametrize("values", [(-1, 1), (1, 2)])
def test_multilabel_target_of_other_numbers_than_0_and_1_is_rejected(values):
    X, _ = table()
    Y = np.asarray(values)[indicator(X)]
    with pytest.raises(ValueError, match="0 and 1"):
        classifier().fit(X, Y)


@pytest.mark.parametrize("labels", [[0, 1, 2], ["a", "b", "c"], [-1.0, 0.0, 1.0]], ids=["ints", "strings", "floats"])
def test_multiclass_target_is_rejected(labels):
    X, _ = table()
    y = np.asarray(labels)[np.arange(len(X)) % 3]
    with pytest.raises(ValueError, match=r"Only binary classification is supported\."):
        classifier().fit(X, y)


def test_several_columns_of_labels_are_rejected():
    X, y = table()
    Y = np.column_stack((y, y + 5))
    with pytest.raises(ValueError, match=r"Only binary classification is supported\."):
        classifier().fit(X, Y)


def test_tags_say_what_targets_and_tables_it_takes():
    tags = get_tags(BCEMLPClassifier())
    assert tags.estimator_type == "classifier"
    assert tags.classifier_tags.multi_class is False
    assert tags.classifier_tags.multi_label is True
    assert tags.input_tags.sparse is True
    assert tags.input_tags.allow_nan is False
    assert tags.target_tags.required is True


def test_one_vs_rest_around_it_classifies_iris():
    X, y = load_iris(return_X_y=True)
    y = np.array(["se", "ve", "vi"])[y]
    clf = OneVsRestClassifier(classifier(hidden_layer_sizes=(20,), activation="tanh", solver="lbfgs", max_iter=300))
    clf.fit(X, y)
    assert clf.score(X, y) > 0.95
    assert clf.predict_proba(X).shape == (150, 3)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("multilabel", [False, True], ids=["binary", "multilabel"])
@pytest.mark.parametrize("as_table", [np.asarray, sp.csr_matrix, sp.csc_array], ids=["dense", "csr", "csc"])
def test_floats_are_computed_in_their_own_precision(solver, dtype, multilabel, as_table):
    X, y = table(dtype=dtype)
    clf = classifier(solver=solver).fit(as_table(X), indicator(X) if multilabel else y)
    results = [f(as_table(X)) for f in (clf.decision_function, clf.predict_proba, clf.predict_log_proba)]
    assert {array.dtype for array in [*parameters_of(clf), *results]} == {np.dtype(dtype)}
    assert isinstance(clf.loss_, float)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "u4", "?", "f2", ">f4", ">f8", ">i4", np.longdouble, object])
def test_other_dtypes_are_computed_in_float64(dtype):
    X, y = counts()
    X = X.astype(dtype)
    clf = classifier().fit(X, y)
    expected = classifier().fit(X.astype(np.float64), y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert_same_bits([clf.predict_proba(X)], [expected.predict_proba(X.astype(np.float64))])
    assert clf.coefs_[0].dtype == np.float64


@pytest.mark.parametrize("dtype", ["i1", "i8", "?", "f8", "f4"])
@pytest.mark.parametrize("as_table", SPARSE_TYPES)
def test_sparse_tables_train_the_model_of_the_dense_one(as_table, dtype):
    X, y = counts()
    X = X.astype(dtype)
    sparse = classifier().fit(as_table(X), y)
    dense = classifier().fit(X, y)
    # A row's products are summed in another order: a few ulps a step, over 5 steps.
    tolerance = 100 * np.finfo(dense.coefs_[0].dtype).eps
    for array, expected in zip(parameters_of(sparse), parameters_of(dense), strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(sparse.predict_proba(as_table(X)), dense.predict_proba(X), rtol=0, atol=tolerance)


def with_int64_indices(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def with_rows_reversed_inside(X):
    for start, stop in zip(X.indptr[:-1], X.indptr[1:]):
        X.indices[start:stop] = X.indices[start:stop][::-1].copy()
        X.data[start:stop] = X.data[start:stop][::-1].copy()
    X.has_sorted_indices = False
    return X


def with_every_entry_in_two_parts(X):
    return type(X)((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)


def with_explicit_zeros(X):
    X.data[::3] = 0
    return X


def with_every_second_place(X):
    """The arrays are every second element of longer ones, as where values and indices come interleaved."""
    X.data, X.indices, X.indptr = (np.repeat(array, 2)[::2] for array in (X.data, X.indices, X.indptr))
    X.data.base[1::2] = 9
    return X


def with_unaligned_places(X):
    """The arrays begin one byte after where their elements should, as in the middle of a file."""
    for name in ("data", "indices", "indptr"):
        array = getattr(X, name)
        unaligned = np.frombuffer(b"." + array.tobytes(), np.uint8)[1:].view(array.dtype)
        assert not unaligned.flags.aligned
        setattr(X, name, unaligned)
    return X


def with_spare_room(X):
    """The arrays are longer than indptr says, as after entries were taken away."""
    X.data = np.append(X.data, [5, 7]).astype(X.dtype)
    X.indices = np.append(X.indices, [0, 99]).astype(X.indices.dtype)
    return X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_table", SPARSE_TYPES)
@pytest.mark.parametrize(
    "changed",
    [
        with_int64_indices, with_rows_reversed_inside, with_every_entry_in_two_parts, with_explicit_zeros,
        with_every_second_place, with_unaligned_places,
    ],
)  # fmt: skip
def test_sparse_tables_mean_what_they_mean_to_scipy(changed, as_table, dtype):
    X, y = counts()
    X[10:13] = 0
    sparse = changed(as_table(X.astype(dtype)))
    trained, expected = classifier().fit(sparse, y), classifier().fit(sparse.toarray(), y)
    # As in the test above.
    tolerance = 100 * np.finfo(dtype).eps
    for array, reference in zip(parameters_of(trained), parameters_of(expected), strict=True):
        np.testing.assert_allclose(array, reference, rtol=0, atol=tolerance)
    np.testing.assert_allclose(
        trained.predict_proba(sparse), trained.predict_proba(sparse.toarray()), rtol=0, atol=tolerance
    )


def with_index(array, at, value):
    array = array.copy()
    array[at] = value
    return array


CORRUPTIONS = {
    "index too large": lambda X: setattr(X, "indices", with_index(X.indices, -1, X._swap(X.shape)[1])),
    "index negative": lambda X: setattr(X, "indices", with_index(X.indices, 0, -1)),
    "indptr decreases": lambda X: setattr(X, "indptr", with_index(X.indptr, 2, X.indptr[4] + 1)),
    "indptr past the end": lambda X: setattr(X, "indptr", with_index(X.indptr, -1, X.indptr[-1] + 1)),
    "indptr does not start at 0": lambda X: setattr(X, "indptr", with_index(X.indptr, 0, 1)),
}


@pytest.mark.parametrize("corrupt", CORRUPTIONS.values(), ids=CORRUPTIONS)
@pytest.mark.parametrize("method", ["fit", "predict", "predict in another precision"])
def test_corrupted_csr_table_is_rejected_rather_than_read_out_of_bounds(method, corrupt):
    X, y = table(n_rows=40)
    X[np.abs(X) < 0.5] = 0
    clf = classifier().fit(X.astype(np.float32) if method.endswith("precision") else X, y)
    broken = sp.csr_matrix(X)
    corrupt(broken)
    with pytest.raises(ValueError, match="ind"):
        clf.fit(broken, y) if method == "fit" else clf.predict_proba(broken)


CORRUPTED_CSC = """
import sys
import numpy as np
import scipy.sparse as sp
from skbce import BCEMLPClassifier

X = np.random.default_rng(0).standard_normal((40, 6))
y = (X[:, 0] > 0).astype(int)
for dtype in (np.float32, np.float64):
    clf = BCEMLPClassifier((3,), solver="lbfgs", max_iter=10_000, random_state=0).fit(X.astype(dtype), y)
    for array, at, value in (("indices", -1, 40), ("indices", 0, -1), ("indptr", 2, 200), ("indptr", -1, 300)):
        broken = sp.csc_matrix(X)
        getattr(broken, array)[at] = value
        try:
            clf.fit(broken, y) if sys.argv[1] == "fit" else clf.predict(broken)
        except ValueError:
            print("rejected")
        else:
            print("accepted", array, at, value)
"""


@pytest.mark.parametrize("method", ["fit", "predict"])
def test_corrupted_csc_table_is_rejected_rather_than_written_out_of_bounds(method):
    # In a process of its own: turning such a table into CSR can bring the process down.
    process = subprocess.run([sys.executable, "-c", CORRUPTED_CSC, method], capture_output=True, text=True, check=False)
    assert process.stdout.splitlines() == ["rejected"] * 8
    assert process.returncode == 0, process.stderr


def memory_layouts(X):
    """X in arrays that lie in memory in different ways."""
    n_rows, n_columns = X.shape
    read_only = X.copy()
    read_only.flags.writeable = False
    wide = np.full((2 * n_rows, 3 * n_columns), np.nan, X.dtype)
    wide[::2, 1::3] = X
    at_odd_address = np.empty(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    at_odd_address[...] = X
    record = np.empty(n_rows, [("flag", "u1"), ("features", X.dtype, n_columns)])
    record["features"] = X
    return {
        "C-ordered": X.copy(),
        "read-only": read_only,
        "F-ordered": np.asfortranarray(X),
        "every second row, every third column": wide[::2, 1::3],
        "rows backwards": X[::-1].copy()[::-1],
        "columns backwards": X[:, ::-1].copy()[:, ::-1],
        "both backwards, F-ordered": np.asfortranarray(X[::-1, ::-1])[::-1, ::-1],
        "at an odd address": at_odd_address,
        "field of packed records": record["features"],
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
@pytest.mark.parametrize("layout", memory_layouts(np.zeros((2, 2))))
def test_dense_tables_train_the_same_model_however_they_lie_in_memory(layout, shuffle, dtype):
    X, y = table(dtype=dtype)
    expected = classifier(shuffle=shuffle, batch_size=32).fit(X, y)
    laid_out = memory_layouts(X)[layout]
    clf = classifier(shuffle=shuffle, batch_size=32).fit(laid_out, y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert_same_bits([clf.predict_proba(laid_out)], [expected.predict_proba(X)])


def test_rows_that_share_their_memory_are_read_as_so_many_rows():
    X, y = table()
    windows = as_strided(X.ravel(), (85, 12), (6 * X.itemsize, X.itemsize), writeable=False)
    clf, expected = classifier().fit(windows, y[:85]), classifier().fit(windows.copy(), y[:85])
    assert_same_bits(parameters_of(clf), parameters_of(expected))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_read_only_memmap_is_trained_and_predicted_on_without_a_whole_copy(tmp_path, dtype, order):
    shape = (150_000, 40)
    rng = np.random.default_rng(0)
    written = np.memmap(tmp_path / "X", dtype, "w+", shape=shape, order=order)
    written[:] = rng.standard_normal(shape, dtype=np.float32)
    written.flush()
    y = rng.integers(0, 2, shape[0])
    X = np.memmap(tmp_path / "X", dtype, "r", shape=shape, order=order)
    clf = classifier(max_iter=1)
    peak = peak_bytes(lambda: clf.fit(X, y).predict(X))
    # Labels, row numbers and logits are some 8 bytes a row each, of the 160 or 320 of X.
    assert peak < X.nbytes / 3
    np.testing.assert_array_equal(clf.predict(X[:1000]), clf.predict(np.array(X[:1000])))


def arrays_of(X):
    return [X.data, X.indices, X.indptr] if sp.issparse(X) else [X]


@pytest.mark.parametrize(
    "as_table",
    [
        np.array,
        np.asfortranarray,
        *SPARSE_TYPES,
        lambda X: with_rows_reversed_inside(sp.csr_matrix(X)),
        lambda X: with_every_entry_in_two_parts(sp.csr_matrix(X)),
        lambda X: with_int64_indices(sp.csr_matrix(X)),
    ],
    ids=["C", "F", "csr", "csr array", "csc", "csc array", "unsorted", "duplicates", "int64 indices"],
)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_arguments_are_not_modified(solver, as_table):
    X, y = counts()
    X = as_table(X.astype(float))
    Y = sp.csr_matrix(np.column_stack((y, 1 - y)))
    weight = np.random.default_rng(1).uniform(0, 2, len(y))
    kept = [*arrays_of(X), y, weight, *arrays_of(Y)]
    before = [array.copy() for array in kept]
    clf = classifier(solver=solver).fit(X, y, weight)
    clf.predict_proba(X), clf.predict(X)
    classifier(solver=solver).fit(X, Y, weight).predict(X)
    assert_same_bits(kept, before)


@pytest.mark.parametrize("method", ["fit", "predict"])
def test_arguments_keep_their_arrays_where_a_sparse_table_has_spare_room(method):
    X, y = counts()
    clf = classifier().fit(X, y)
    sparse = with_spare_room(sp.csr_matrix(X.astype(float)))
    data, indices, indptr = sparse.data, sparse.indices, sparse.indptr
    clf.fit(sparse, y) if method == "fit" else clf.predict(sparse)
    assert sparse.data is data
    assert sparse.indices is indices
    assert sparse.indptr is indptr


@pytest.mark.parametrize("as_table", [np.asarray, sp.csr_matrix, sp.csc_matrix], ids=["dense", "csr", "csc"])
@pytest.mark.parametrize(("trained", "given"), [("f4", "f8"), ("f8", "f4"), ("f4", "i8"), ("f8", "?")])
def test_prediction_is_in_the_precision_of_training_whatever_it_is_given(trained, given, as_table):
    X, y = counts()
    X = X.clip(0, 1)
    clf = classifier().fit(as_table(X.astype(trained)), y)
    given_results = [f(as_table(X.astype(given))) for f in (clf.predict_proba, clf.decision_function)]
    same_results = [f(as_table(X.astype(trained))) for f in (clf.predict_proba, clf.decision_function)]
    assert_same_bits(given_results, same_results)


def test_prediction_in_another_precision_is_the_same_in_many_blocks_of_rows():
    X, y = table(n_rows=1000, n_features=3000)
    clf = classifier(max_iter=1).fit(X[:50].astype(np.float32), y[:50])
    assert_same_bits([clf.predict_proba(X)], [clf.predict_proba(X.astype(np.float32))])


@pytest.mark.parametrize("as_table", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_prediction_rejects_numbers_too_large_for_the_models_precision(as_table):
    X, y = table(dtype=np.float32)
    clf = classifier().fit(X, y)
    with pytest.raises(ValueError, match="float32"):
        clf.predict_proba(as_table(X.astype(np.float64) * 1e300))


def wide_sparse_table():
    rng = np.random.default_rng(0)
    n_rows, n_columns, entries = 2000, 100_000, 10
    indices = rng.integers(0, n_columns, n_rows * entries)
    indptr = np.arange(n_rows + 1) * entries
    X = sp.csr_matrix((rng.random(len(indices)), indices, indptr), shape=(n_rows, n_columns))
    return X, rng.integers(0, 2, n_rows)


@pytest.mark.parametrize("as_table", [sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_table_is_not_made_dense_in_training(as_table, solver):
    X, y = wide_sparse_table()
    X = as_table(X)
    clf = classifier(hidden_layer_sizes=(4,), max_iter=1, solver=solver)
    if solver == "lbfgs":
        clf.set_params(hidden_layer_sizes=())
    peak = peak_bytes(lambda: clf.fit(X, y))
    # Dense it has 1.6 GB. The vectors of 400 000 parameters that a step needs have 3.2 MB each, those of L-BFGS,
    # which keeps 25 of them, 0.8 MB.
    assert peak < 60e6


@pytest.mark.parametrize("as_table", [sp.csr_matrix, sp.csc_matrix])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_table_is_not_made_dense_in_prediction(as_table, dtype):
    X, y = wide_sparse_table()
    clf = classifier(hidden_layer_sizes=(4,), max_iter=1).fit(X[:10].astype(dtype), y[:10])
    X = as_table(X)
    peak = peak_bytes(lambda: clf.predict_proba(X))
    # Dense it has 1.6 GB; its entries have 0.24 MB, and turning CSC into CSR takes one copy of them.
    assert peak < 10e6


def test_memory_of_prediction_grows_with_the_result_not_with_the_hidden_layer():
    X, y = table(n_rows=80_000, n_features=4)
    clf = classifier(hidden_layer_sizes=(1000,), max_iter=1).fit(X[:100], y[:100])
    few, many = (peak_bytes(lambda n=n: clf.predict_proba(X[:n])) for n in (20_000, 80_000))
    # A row's logit and two probabilities have 24 bytes, its hidden units 8000; 64 leave room for scikit-learn's checks.
    assert many - few < 60_000 * 64


@pytest.mark.parametrize("as_table", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_predictions_of_one_row_and_of_many_are_the_same(as_table):
    X, y = table(n_rows=300)
    clf = classifier().fit(as_table(X), y)
    whole = clf.decision_function(as_table(X))
    singly = np.concatenate([clf.decision_function(as_table(X[i : i + 1])) for i in range(len(X))])
    # BLAS may sum a single row in another order: a few ulps of logits around 1.
    np.testing.assert_allclose(singly, whole, rtol=0, atol=1e-14)


def frame(dtype=np.float64):
    X, y = table(dtype=dtype)
    return pd.DataFrame(X, columns=list("abcdef")), y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_frame_trains_the_model_of_its_values_and_gives_feature_names(dtype):
    X, y = frame(dtype)
    clf = classifier().fit(X, y)
    np.testing.assert_array_equal(clf.feature_names_in_, list("abcdef"))
    assert clf.n_features_in_ == 6
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X.to_numpy(), y)))
    assert_same_bits([clf.predict_proba(X)], [classifier().fit(X.to_numpy(), y).predict_proba(X.to_numpy())])


def test_frame_of_several_dtypes_is_computed_in_float64():
    X, y = frame()
    X["a"], X["b"] = X["a"].astype(np.float32), (X["b"] > 0).astype(int)
    clf = classifier().fit(X, y)
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X.to_numpy(np.float64), y)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (list("abcdfe"), "must be in the same order"),
        (list("abcdez"), "unseen at fit time"),
        (list("abcde"), "seen at fit time, yet now missing"),
    ],
    ids=["another order", "another name", "one missing"],
)
def test_frame_with_wrong_names_is_rejected(columns, message):
    X, y = frame()
    clf = classifier().fit(X, y)
    wrong = X.set_axis(columns, axis=1) if len(columns) == 6 else X[columns]
    with pytest.raises(ValueError, match=message):
        clf.predict(wrong)
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(wrong, y)


def test_table_without_names_warns_where_training_had_names():
    X, y = frame()
    clf = classifier().fit(X, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        predicted = clf.predict(X.to_numpy())
    np.testing.assert_array_equal(predicted, clf.predict(X))


def test_table_with_names_warns_where_training_had_none():
    X, y = frame()
    clf = classifier().fit(X.to_numpy(), y)
    assert not hasattr(clf, "feature_names_in_")
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        clf.predict(X)


def test_names_of_an_earlier_fit_are_forgotten():
    X, y = frame()
    clf = classifier().fit(X, y).fit(X.to_numpy()[:, :4], y)
    assert not hasattr(clf, "feature_names_in_")
    assert clf.predict(X.to_numpy()[:, :4]).shape == y.shape


X_GOOD, Y_GOOD = table()
X_NAN, X_INF = X_GOOD.copy(), X_GOOD.copy()
X_NAN[7, 2], X_INF[7, 2] = np.nan, np.inf
WEIGHT_NEGATIVE, WEIGHT_NAN = np.ones(len(Y_GOOD)), np.ones(len(Y_GOOD))
WEIGHT_NEGATIVE[3], WEIGHT_NAN[3] = -0.5, np.nan

BAD_ARGUMENTS = {
    "NaN in X": ((X_NAN, Y_GOOD), "Input X contains NaN"),
    "NaN in sparse X": ((sp.csr_matrix(X_NAN), Y_GOOD), "Input X contains NaN"),
    "infinity in X": ((X_INF, Y_GOOD), "Input X contains infinity"),
    "infinity in float32 X": ((X_INF.astype(np.float32), Y_GOOD), "Input X contains infinity"),
    "X of strings": ((np.full((90, 6), "one"), Y_GOOD), "could not convert string to float"),
    "complex X": ((X_GOOD + 1j, Y_GOOD), "Complex data not supported"),
    "1-D X": ((X_GOOD[:, 0], Y_GOOD), "Expected 2D array, got 1D array"),
    "3-D X": ((X_GOOD[:, :, None], Y_GOOD), "Found array with dim 3"),
    "no rows": ((X_GOOD[:0], Y_GOOD[:0]), r"Found array with 0 sample\(s\)"),
    "no columns": ((X_GOOD[:, :0], Y_GOOD), r"0 feature\(s\) \(shape=\(90, 0\)\)"),
    "no y": ((X_GOOD, None), "requires y to be passed"),
    "one class": ((X_GOOD, np.zeros(90)), "y needs two classes, and contains only one class"),
    "one class of strings": ((X_GOOD, np.full(90, "no")), "only one class: .*no"),
    "y of real numbers": ((X_GOOD, X_GOOD[:, 0]), "Unknown label type: continuous"),
    "y of real numbers in columns": ((X_GOOD, X_GOOD[:, :2]), "Unknown label type: continuous-multioutput"),
    "NaN in y": ((X_GOOD, np.where(Y_GOOD == 1, np.nan, 0)), "Input y contains NaN"),
    "y of other length": ((X_GOOD, Y_GOOD[:-1]), r"inconsistent numbers of samples: \[90, 89\]"),
    "indicator of other length": ((X_GOOD, indicator(X_GOOD)[:-1]), r"inconsistent numbers of samples: \[90, 89\]"),
    "negative weight": ((X_GOOD, Y_GOOD, WEIGHT_NEGATIVE), r"Negative values in data passed to `sample_weight`"),
    "NaN in weights": ((X_GOOD, Y_GOOD, WEIGHT_NAN), "Input sample_weight contains NaN"),
    "all weights zero": ((X_GOOD, Y_GOOD, np.zeros(90)), r"(?i)sample.weight.*zero"),
    "weights of other length": ((X_GOOD, Y_GOOD, np.ones(89)), r"sample_weight.shape == \(89,\), expected \(90,\)"),
    "2-D weights": ((X_GOOD, Y_GOOD, np.ones((90, 1))), "Sample weights must be 1D"),
}


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_fit_rejects_bad_arguments_and_names_them(arguments, message, solver):
    clf = classifier(solver=solver)
    with pytest.raises(ValueError, match=message):
        clf.fit(*arguments)
    with pytest.raises(NotFittedError):
        clf.predict(X_GOOD)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (X_NAN, "Input X contains NaN"),
        (X_INF.astype(np.float32), "Input X contains infinity"),
        (X_GOOD[:, :5], "X has 5 features, but BCEMLPClassifier is expecting 6"),
        (sp.csr_matrix(X_GOOD[:, :5]), "X has 5 features, but BCEMLPClassifier is expecting 6"),
        (X_GOOD[0], "Expected 2D array, got 1D array"),
        (X_GOOD[:0], r"Found array with 0 sample\(s\)"),
    ],
    ids=["NaN", "infinity", "too few features", "too few features in sparse", "1-D", "no rows"],
)
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_prediction_rejects_bad_tables_and_says_why(method, X, message):
    clf = classifier().fit(X_GOOD, Y_GOOD)
    with pytest.raises(ValueError, match=message):
        getattr(clf, method)(X)


@pytest.mark.parametrize("stray", [np.inf, -np.inf])
def test_infinity_where_relu_would_hide_it_is_rejected(stray):
    clf = classifier(hidden_layer_sizes=4, activation="relu").fit(X_GOOD, Y_GOOD)
    clf.coefs_[0][2] = -np.sign(stray)
    X = X_GOOD.copy()
    X[7, 2] = stray
    with pytest.raises(ValueError, match="Input X contains infinity"):
        clf.predict(X)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_prediction_before_fit_says_so(method):
    with pytest.raises(NotFittedError, match="BCEMLPClassifier instance is not fitted yet"):
        getattr(BCEMLPClassifier(), method)(X_GOOD)


VIOLATIONS = {
    "hidden_layer_sizes": 0,
    "activation": "softmax",
    "solver": "newton",
    "alpha": -1e-9,
    "batch_size": 0,
    "learning_rate": "linear",
    "learning_rate_init": 0.0,
    "power_t": -0.5,
    "max_iter": 0,
    "shuffle": "no",
    "random_state": "seed",
    "tol": -1e-4,
    "verbose": "loud",
    "warm_start": "yes",
    "momentum": 1.1,
    "nesterovs_momentum": None,
    "early_stopping": 2.5,
    "validation_fraction": 1.0,
    "beta_1": 1.0,
    "beta_2": 1.0,
    "epsilon": 0.0,
    "n_iter_no_change": 2.5,
    "max_fun": 0,
    "max_time": 0.0,
    "scoring": "fame",
    "class_weight": "even",
    "weight_decay": -1e-9,
    "max_grad_norm": 0.0,
    "label_smoothing": 1.0,
    "dropout": 1.0,
    "dtype": "float16",
    "n_threads": 0,
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name", BCEMLPClassifier().get_params())
def test_parameter_outside_its_range_is_named(name, method):
    if (name, method) == ("solver", "partial_fit"):
        with pytest.raises(AttributeError, match="partial_fit"):
            BCEMLPClassifier(solver="newton").partial_fit(X_GOOD, Y_GOOD)
        return
    clf = BCEMLPClassifier(**{name: VIOLATIONS[name]})
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of BCEMLPClassifier must be"):
        clf.fit(X_GOOD, Y_GOOD) if method == "fit" else clf.partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])


@pytest.mark.parametrize(
    "parameters",
    [
        {"solver": "sgd", "momentum": 0},
        {"solver": "sgd", "momentum": 1},
        {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0},
        {"beta_1": 0, "beta_2": 0},
        {"alpha": 0, "tol": 0},
        {"n_iter_no_change": np.inf},
        {"hidden_layer_sizes": 1},
        {"hidden_layer_sizes": ()},
        {"hidden_layer_sizes": []},
        {"hidden_layer_sizes": np.array([3, 2])},
        {"batch_size": 1},
    ],
    ids=str,
)
def test_parameter_at_the_end_of_its_range_is_accepted(parameters):
    clf = classifier(**parameters).fit(X_GOOD, Y_GOOD)
    assert all(np.isfinite(array).all() for array in parameters_of(clf))
    assert clf.n_iter_ == 5


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        (["relu"], r"activation as a sequence needs one entry for each hidden layer, which are 2, got 1: \['relu'\]"),
        (("relu", "tanh", "gelu"), "which are 2, got 3"),
        ((), "which are 2, got 0"),
        (["relu", "softmax"], "activation must be one of .* got 'softmax'"),
        ([["relu"], ["tanh"]], r"activation must be one of .* got \['relu'\]"),
        ([1, 2], "activation must be one of .* got 1"),
        (np.array([["relu"], ["tanh"]]), "activation must be one of .*relu"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "check_gradients"])
def test_activations_that_do_not_fit_the_layers_are_named(method, activation, message):
    clf = classifier(hidden_layer_sizes=(4, 3), activation=activation)
    call = {
        "fit": lambda: clf.fit(X_GOOD, Y_GOOD),
        "partial_fit": lambda: clf.partial_fit(X_GOOD, Y_GOOD, classes=[0, 1]),
        "check_gradients": lambda: check_gradients(clf, X_GOOD, Y_GOOD),
    }[method]
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("activation", ["tanh", ["relu"], "softmax"])
def test_activation_set_for_the_next_fit_leaves_the_fitted_network_alone(activation):
    clf = classifier(hidden_layer_sizes=(4, 3)).fit(X_GOOD, Y_GOOD)
    before = clf.predict_proba(X_GOOD)
    assert_same_bits([clf.set_params(activation=activation).predict_proba(X_GOOD)], [before])


@pytest.mark.parametrize("activation", [["gelu", "tanh"], ("gelu", "tanh"), np.array(["gelu", "tanh"])], ids=repr)
def test_activation_may_be_any_sequence_of_one_name_a_hidden_layer(activation):
    clf, other = (classifier(hidden_layer_sizes=(4, 3), activation=a) for a in (activation, ["gelu", "tanh"]))
    assert clf.get_params()["activation"] is activation
    assert_same_bits(parameters_of(clone(clf).fit(X_GOOD, Y_GOOD)), parameters_of(other.fit(X_GOOD, Y_GOOD)))
    Z = twin.forward(X_GOOD, other.coefs_, other.intercepts_, ("gelu", "tanh"))[0][-1]
    np.testing.assert_allclose(other.decision_function(X_GOOD), Z[:, 0], rtol=1e-12, atol=1e-14)  # sums of some terms


def test_partial_fit_goes_on_with_another_activation():
    clf = classifier(hidden_layer_sizes=(4, 3), activation="tanh").fit(X_GOOD, Y_GOOD)
    clf.set_params(activation=["relu", "mish"]).partial_fit(X_GOOD, Y_GOOD)
    Z = twin.forward(X_GOOD, clf.coefs_, clf.intercepts_, ("relu", "mish"))[0][-1]
    np.testing.assert_allclose(clf.decision_function(X_GOOD), Z[:, 0], rtol=1e-12, atol=1e-14)  # as above


@pytest.mark.parametrize("sizes", [-1, 2.5, (5, 0), (5, -3), (5, 2.0), (5, None), ("5",), [[3, 4]], "100"], ids=str)
def test_hidden_layer_sizes_that_are_not_positive_integers_are_rejected(sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        BCEMLPClassifier(hidden_layer_sizes=sizes).fit(X_GOOD, Y_GOOD)


def test_batch_size_beyond_the_rows_warns_and_is_clipped():
    with pytest.warns(UserWarning, match=r"larger than sample size\. It is going to be clipped to 90"):
        clf = classifier(batch_size=91).fit(X_GOOD, Y_GOOD)
    assert_same_bits(parameters_of(clf), parameters_of(classifier(batch_size=90).fit(X_GOOD, Y_GOOD)))


@pytest.mark.parametrize(
    ("fraction", "message"),
    [(0.0, "validation_fraction=0.0"), (0.005, "validation_fraction"), (0.999, "validation_fraction=0.999")],
)
@pytest.mark.parametrize("multilabel", [False, True], ids=["binary", "multilabel"])
def test_validation_fraction_that_leaves_too_few_rows_is_named(fraction, message, multilabel):
    clf = classifier(early_stopping=True, validation_fraction=fraction)
    with pytest.raises(ValueError, match=message):
        clf.fit(X_GOOD, indicator(X_GOOD) if multilabel else Y_GOOD)


def test_early_stopping_rejects_weights_that_are_zero_in_the_whole_validation_set():
    weight = np.zeros(len(Y_GOOD))
    weight[0] = 1
    with pytest.raises(ValueError, match="sample_weight is zero for every row of the"):
        classifier(early_stopping=True).fit(X_GOOD, Y_GOOD, weight)


def test_partial_fit_needs_the_classes_in_the_first_call():
    clf = classifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit"):
        clf.partial_fit(X_GOOD, Y_GOOD)
    assert not hasattr(clf, "classes_")


def test_partial_fit_takes_a_batch_that_lacks_a_class():
    clf = classifier().partial_fit(X_GOOD[:5], np.full(5, "no"), classes=["yes", "no"])
    np.testing.assert_array_equal(clf.classes_, ["no", "yes"])
    clf.partial_fit(X_GOOD[:5], np.full(5, "yes"))
    assert clf.t_ == 10


def test_partial_fit_rejects_labels_that_are_not_among_the_classes():
    with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
        classifier().partial_fit(X_GOOD, Y_GOOD + 1, classes=[0, 1])
    clf = classifier().partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])
    with pytest.raises(ValueError, match=r"`y` has classes not in `self\.classes_`"):
        clf.partial_fit(X_GOOD, 2 * Y_GOOD)


def test_partial_fit_rejects_other_classes_than_those_of_the_first_call():
    clf = classifier().partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])
    with pytest.raises(ValueError, match="is not the same as on last call to partial_fit"):
        clf.partial_fit(X_GOOD, Y_GOOD, classes=[0, 2])


@pytest.mark.parametrize("classes", [[0], [0, 1, 2]])
def test_partial_fit_rejects_another_number_of_classes_than_two(classes):
    with pytest.raises(ValueError, match="class"):
        classifier().partial_fit(X_GOOD, np.zeros(len(X_GOOD), int), classes=classes)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_partial_fit_rejects_classes_that_are_not_the_numbers_of_the_columns(n_classes):
    with pytest.raises(ValueError, match="class"):
        classifier().partial_fit(X_GOOD, indicator(X_GOOD), classes=np.arange(n_classes))


def test_partial_fit_rejects_another_kind_of_target_than_before():
    binary = classifier().partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])
    with pytest.raises(ValueError, match="y has 3 columns; the network was trained with 1"):
        binary.partial_fit(X_GOOD, indicator(X_GOOD))
    multilabel = classifier().partial_fit(X_GOOD, indicator(X_GOOD), classes=[0, 1, 2])
    with pytest.raises(ValueError, match="y has one column; the network was trained with 3"):
        multilabel.partial_fit(X_GOOD, Y_GOOD)
    with pytest.raises(ValueError, match="y has 2 columns; the network was trained with 3"):
        multilabel.partial_fit(X_GOOD, indicator(X_GOOD, 2))


def test_partial_fit_rejects_another_number_of_features():
    clf = classifier().partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])
    with pytest.raises(ValueError, match="X has 5 features, but BCEMLPClassifier is expecting 6"):
        clf.partial_fit(X_GOOD[:, :5], Y_GOOD)


def test_partial_fit_rejects_early_stopping():
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        classifier(early_stopping=True).partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])


def test_partial_fit_is_absent_with_lbfgs():
    clf = BCEMLPClassifier(solver="lbfgs")
    assert not hasattr(clf, "partial_fit")
    assert hasattr(clf.set_params(solver="sgd"), "partial_fit")


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_warm_start_rejects_other_classes(solver):
    clf = classifier(solver=solver, warm_start=True).fit(X_GOOD, Y_GOOD)
    with pytest.raises(ValueError, match="same classes as in the previous call to fit"):
        clf.fit(X_GOOD, Y_GOOD + 1)
    with pytest.raises(ValueError, match="y has 3 columns; the network was trained with 1"):
        clf.fit(X_GOOD, indicator(X_GOOD))


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@pytest.mark.parametrize("sizes", [(7, 5), (7,), (7, 4, 4), ()], ids=str)
def test_warm_start_rejects_other_hidden_layer_sizes(sizes, solver):
    clf = classifier(solver=solver, warm_start=True).fit(X_GOOD, Y_GOOD)
    with pytest.raises(ValueError, match="hidden_layer_sizes="):
        clf.set_params(hidden_layer_sizes=sizes).fit(X_GOOD, Y_GOOD)
    with pytest.raises(ValueError, match="X has 5 features"):
        clf.set_params(hidden_layer_sizes=(7, 4)).fit(X_GOOD[:, :5], Y_GOOD)


@pytest.mark.parametrize(
    ("arguments", "classes", "message"),
    [
        ((X_NAN, Y_GOOD), [0, 1], "NaN"),
        ((X_GOOD, Y_GOOD + 1), [0, 1], "classes not in"),
        ((X_GOOD, Y_GOOD), [0, 1, 2], "Only binary classification is supported"),
        ((X_GOOD, Y_GOOD, np.zeros(90)), [0, 1], r"(?i)sample.weight.*zero"),
        ((X_GOOD, Y_GOOD[:-1]), [0, 1], "inconsistent numbers of samples"),
    ],
    ids=["NaN in X", "unseen label", "three classes", "zero weights", "y of other length"],
)
def test_failed_first_partial_fit_leaves_it_unfitted(arguments, classes, message):
    clf = classifier()
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(*arguments, classes=classes)
    assert not hasattr(clf, "classes_")
    with pytest.raises(NotFittedError):
        clf.predict(X_GOOD)
    clf.partial_fit(X_GOOD[:, :3], np.where(Y_GOOD == 1, "yes", "no"), classes=["no", "yes"])
    expected = classifier().partial_fit(X_GOOD[:, :3], Y_GOOD, classes=[0, 1])
    assert_same_bits(parameters_of(clf), parameters_of(expected))


NARROW = pd.DataFrame(X_GOOD[:, :4], columns=list("abcd"))
BAD_FITS = {
    "NaN in X": ((X_NAN, Y_GOOD), {}, "NaN"),
    "one class": ((X_GOOD, np.zeros(90)), {}, "one class"),
    "three classes": ((X_GOOD, np.arange(90) % 3), {}, "Only binary"),
    "y of other length": ((X_GOOD, Y_GOOD[:-1]), {}, "inconsistent"),
    "zero weights": ((X_GOOD, Y_GOOD, np.zeros(90)), {}, r"(?i)sample.weight.*zero"),
    "other width, one class": ((X_GOOD[:, :4], np.zeros(90)), {}, "one class"),
    "other width, zero weights": ((X_GOOD[:, :4], Y_GOOD, np.zeros(90)), {}, r"(?i)sample.weight.*zero"),
    "other width, bad layers": ((X_GOOD[:, :4], Y_GOOD), {"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes"),
    "other width, no validation rows": (
        (X_GOOD[:, :4], Y_GOOD),
        {"early_stopping": True, "validation_fraction": 0.0},
        "validation_fraction",
    ),
    "frame, one class": ((NARROW, np.zeros(90)), {}, "one class"),
    "frame, NaN": ((NARROW.replace(NARROW.iloc[0, 0], np.nan), Y_GOOD), {}, "NaN"),
    "other width, corrupted": (
        (sp.csr_matrix((np.ones(90), np.full(90, 9), np.arange(91)), (90, 4)), Y_GOOD),
        {},
        "indices|index values",  # SciPy's words, of 1.15 and of 1.11
    ),
    "bad parameter": ((X_GOOD[:, :4], Y_GOOD), {"alpha": -1}, "alpha"),
}


@pytest.mark.parametrize(("arguments", "parameters", "message"), BAD_FITS.values(), ids=BAD_FITS)
def test_failed_second_fit_keeps_the_model(arguments, parameters, message):
    clf = classifier().fit(X_GOOD, np.where(Y_GOOD == 1, "yes", "no"))
    before = clf.predict_proba(X_GOOD)
    clf.set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit(*arguments)
    assert clf.n_features_in_ == 6
    assert not hasattr(clf, "feature_names_in_")
    np.testing.assert_array_equal(clf.classes_, ["no", "yes"])
    assert_same_bits([clf.predict_proba(X_GOOD)], [before])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X_NAN, Y_GOOD), "NaN"),
        ((X_GOOD, Y_GOOD + 1), "classes not in"),
        ((X_GOOD[:, :4], Y_GOOD), "X has 4 features"),
        ((X_GOOD, Y_GOOD, np.zeros(90)), r"(?i)sample.weight.*zero"),
    ],
    ids=["NaN in X", "unseen label", "other width", "zero weights"],
)
def test_failed_partial_fit_changes_nothing(arguments, message):
    clf = classifier().partial_fit(X_GOOD, Y_GOOD, classes=[0, 1])
    with pytest.raises(ValueError, match=message):
        clf.partial_fit(*arguments)
    clf.partial_fit(X_GOOD, Y_GOOD)
    expected = classifier().partial_fit(X_GOOD, Y_GOOD, classes=[0, 1]).partial_fit(X_GOOD, Y_GOOD)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.loss_curve_ == expected.loss_curve_


@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("as_table", [np.asarray, sp.csr_matrix], ids=["dense", "csr"])
def test_batch_whose_weights_are_all_zero_is_passed_over(as_table, dtype, solver):
    X, y = table(n_rows=100, dtype=dtype)
    weight = np.random.default_rng(1).uniform(0.5, 2, 100)
    weight[40:80] = 0
    rest = weight > 0
    clf = classifier(solver=solver, shuffle=False, batch_size=20)
    clf.fit(as_table(X), y, weight)
    expected = classifier(solver=solver, shuffle=False, batch_size=20).fit(as_table(X[rest]), y[rest], weight[rest])
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.loss_curve_ == expected.loss_curve_


def test_weights_of_1_train_the_model_without_weights():
    X, y = table()
    for weight in (np.ones(len(y)), 1.0, np.ones(len(y), int).tolist()):
        clf = classifier().fit(X, y, weight)
        assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, y)))


def test_weights_are_a_rows_multiplicity_where_every_row_is_in_every_step():
    X, y = table()
    weight = np.random.default_rng(2).integers(0, 4, len(y))
    one_batch = {"solver": "lbfgs", "hidden_layer_sizes": (), "alpha": 1.0, "tol": 1e-10, "max_iter": 1000}
    weighted = classifier(**one_batch).fit(X, y, weight)
    repeated = classifier(**one_batch).fit(X.repeat(weight, axis=0), y.repeat(weight))
    # Both end where no gradient entry is above 1e-10, and the cost's curvature is at least alpha / 135 = 0.007.
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=0, atol=1e-7)


def test_one_sparse_table_may_be_predicted_by_many_threads_at_once():
    X, y = counts(n_rows=500)
    sparse = sp.csr_matrix(X.astype(float))
    clf = classifier().fit(sparse, y)
    expected = clf.predict_proba(sparse)
    with ThreadPoolExecutor(8) as pool:
        for result in pool.map(lambda _: clf.predict_proba(sparse), range(40)):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("labels", [[True, False], [3, -1]], ids=["bools", "ints"])
def test_labels_of_one_type_in_an_object_array_keep_their_type(labels):
    y = np.array(labels * 45, object)
    clf = classifier().fit(X_GOOD, y)
    assert clf.classes_.tolist() == sorted(labels)
    assert type(clf.predict(X_GOOD).tolist()[0]) is type(labels[0])


@pytest.mark.parametrize("dtype", [bool, "i1", "u1", "i4", "i8", "u8", "f2", "f4", "f8", ">i4", ">f8"])
@pytest.mark.parametrize("values", [(0, 1), (1, 1), (1, 0, 1), (5, 3, 3)])
def test_two_numbers_are_the_labels_that_scikit_learn_finds(values, dtype):
    y = np.array(values, dtype)
    found, expected = two_numbers(y), unique_labels(y)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert type_of_target(y) == "binary"


@pytest.mark.parametrize(
    "y",
    [
        [0, 1, 2],
        [0.0, 1e19],
        [0.5, 1.5],
        [np.nan, 1.0],
        [np.inf, 1.0],
        [-np.inf, 1.0],
        ["a", "b"],
        [[0, 1]],
        [1 + 0j, 0],
    ],
    ids=str,
)  # fmt: skip
def test_other_labels_are_left_to_scikit_learn(y):
    assert two_numbers(np.array(y)) is None
    assert two_numbers(sp.csr_array(np.eye(2))) is None
