"""What tests of models look at: parameters, bits, and BLAS's threads."""

import numpy as np
from threadpoolctl import threadpool_info


def parameters_of(clf):
    return [*clf.coefs_, *clf.intercepts_]


def assert_same_bits(arrays, expected):
    for array, reference in zip(arrays, expected, strict=True):
        assert array.dtype == reference.dtype
        np.testing.assert_array_equal(array, reference)


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
