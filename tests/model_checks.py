"""What tests of models look at: parameters, bits, memory, and BLAS's threads; and rows to compare threads on."""

import tracemalloc

import joblib
import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_info

from skbce import _threads


def parameters_of(clf):
    return [*clf.coefs_, *clf.intercepts_]


def assert_same_bits(arrays, expected):
    for array, reference in zip(arrays, expected, strict=True):
        assert array.dtype == reference.dtype
        np.testing.assert_array_equal(array, reference)


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def peak_bytes(call):
    """The most memory that `call` held at once beyond what was held before; NumPy reports to tracemalloc."""
    # Training asks for room for its threads, once a process, and gives it back untouched.
    _threads._check_room(joblib.cpu_count())
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def rows_for_threads(n_rows, n_features, dtype, sparse):
    """X, dense or CSR with a fifth of its entries, and the sign of a difference of two columns."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)).astype(dtype)
    y = (X[:, 0] - X[:, 1] > 0).astype(int)
    if sparse:
        X[rng.random(X.shape) < 0.8] = 0
        X = sp.csr_matrix(X)
    return X, y
