"""Tables of more than 2^31 elements: sizes and places in memory that 32 bits do not hold.

The rows lie in memory that was never written, and takes no room, but for the last ones.
"""

import numpy as np
import pytest
import scipy.sparse as sp

from skbce import BCEMLPClassifier, PiecewiseLinearEncoder
from skbce.backprop import forward

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

COLUMNS = 64
ROWS = 2**31 // COLUMNS + 1000
WRITTEN = 700  # rows at the end


@pytest.fixture(scope="module")
def far_rows():
    return np.random.default_rng(0).standard_normal((WRITTEN, COLUMNS), np.float32)


@pytest.fixture(scope="module")
def table(far_rows):
    X = np.zeros((ROWS, COLUMNS), np.float32)
    X[-WRITTEN:] = far_rows
    assert X.size > 2**31
    return X


def classifier(**parameters):
    return BCEMLPClassifier((4,), **{"max_iter": 1, "batch_size": 2**16, "random_state": 0, **parameters})


def fitted(far_rows):
    return classifier(max_iter=5, batch_size=50).fit(far_rows, far_rows[:, 0] > 0)


def test_rows_beyond_2_to_31_elements_are_predicted_as_in_a_small_table(table, far_rows):
    clf = fitted(far_rows)
    # Other blocks of rows, and so another rounding of float32's products.
    np.testing.assert_allclose(clf.decision_function(table)[-WRITTEN:], clf.decision_function(far_rows), atol=1e-5)
    far = clf.input_gradient(table[-ROWS // 4 :])[-WRITTEN:]
    np.testing.assert_allclose(far, clf.input_gradient(far_rows), atol=1e-5)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_rows_beyond_2_to_31_elements_are_trained_on_as_in_a_small_table(table, far_rows, solver):
    y = np.zeros(ROWS, np.int8)
    y[-WRITTEN:] = far_rows[:, 0] > 0
    # Rows without weight change nothing, whatever is in them: the last ones are all that is learned from.
    weight = np.zeros(ROWS, np.float32)
    weight[-WRITTEN:] = 1
    parameters = {"solver": solver, "shuffle": False, "alpha": 0.0, "max_fun": 2, "n_threads": 2}
    clf = classifier(batch_size=ROWS, **parameters).fit(table, y, weight)
    small = classifier(batch_size=WRITTEN, **parameters).fit(far_rows, y[-WRITTEN:])
    for W, expected in zip(clf.coefs_, small.coefs_, strict=True):
        # Gradients are summed in other blocks; Adam's first step has the size of the rate whatever the gradient.
        np.testing.assert_allclose(W, expected, atol=1e-4)


def test_shuffled_steps_and_partial_fit_reach_rows_beyond_2_to_31_elements(table, far_rows):
    y = np.zeros(ROWS, np.int8)
    y[-WRITTEN:] = far_rows[:, 0] > 0
    weight = np.zeros(ROWS, np.float32)
    weight[-WRITTEN:] = 1
    clf = classifier(learning_rate_init=0.01, n_threads=2)
    loss = [clf.partial_fit(table, y, weight, classes=[0, 1]).loss_ for _ in range(2)]
    # Only batches with some of the last rows are steps: some 500 of them.
    assert clf.score(far_rows, y[-WRITTEN:]) > 0.8
    assert loss[1] < loss[0] < 1


def test_csr_with_more_than_2_to_31_stored_values_is_read_to_the_end():
    n_rows, n_columns = 2**15 + 8, 2**16
    data = np.zeros(n_rows * n_columns, np.float32)
    indices = np.zeros(data.size, np.int64)  # SciPy wants both index arrays in the same type
    indptr = np.arange(n_rows + 1, dtype=np.int64) * n_columns
    last = np.random.default_rng(0).standard_normal(n_columns).astype(np.float32)
    data[-n_columns:] = last
    indices[-n_columns:] = np.arange(n_columns)
    X = sp.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns))
    assert X.nnz > 2**31
    rows = np.vstack([np.zeros_like(last), last])
    clf = classifier(max_iter=2, batch_size=2).fit(rows, [0, 1])
    # In float32 65536 products round by some 1e-5 of their size, which is about 1.
    np.testing.assert_allclose(clf.decision_function(X)[-2:], clf.decision_function(sp.csr_matrix(rows)), atol=1e-3)


def test_encoder_takes_rows_beyond_2_to_31_elements(table, far_rows):
    encoder = PiecewiseLinearEncoder(2, include_value=False).fit(far_rows[:, :1])
    wide = table.reshape(-1, 1)  # a column of more than 2^31 rows
    assert wide.shape[0] > 2**31
    some = wide[-WRITTEN * COLUMNS :: COLUMNS]
    np.testing.assert_array_equal(encoder.transform(some), encoder.transform(far_rows[:, :1]))


def test_more_rows_than_blas_counts_are_refused_by_backprop():
    X = np.broadcast_to(np.zeros((1, 1), np.float32), (2**31 + 8, 1))
    with pytest.raises(ValueError, match=r"X has the shape .2147483656, 1.; BLAS counts"):
        forward(X, [np.ones((1, 1), np.float32)], [np.zeros(1, np.float32)])
