"""Binary cross-entropy from logits, and its derivative."""

from cython cimport floating

from skbce.kernels.elementary cimport absolute, exponential, log1p_exp_minus, sigmoid
from skbce.kernels.sums cimport sum_of_many, weighted_sum


cdef inline floating cross_entropy(floating z, floating y) noexcept nogil:
    """-[y log sigmoid(z) + (1 - y) log(1 - sigmoid(z))] = max(z, 0) - y z + log(1 + exp(-|z|))"""
    # max(z, 0) - y z without the difference, in which a y just below 1 would drown.
    cdef floating factor = <floating>1 - y if z > 0 else -y
    return factor * z + log1p_exp_minus(absolute(z))


cdef inline double loss_forward(
    Py_ssize_t rows, Py_ssize_t n, const floating* Z, const floating* Y,
    const floating* weight, floating* losses,
) noexcept nogil:
    """sum_i weight_i sum_k cross_entropy(Z[i, k], Y[i, k]); `losses` takes the rows x n terms.

    Terms are computed apart from their sum, so that both vectorise.
    """
    cdef Py_ssize_t i
    for i in range(rows * n):
        losses[i] = cross_entropy(Z[i], Y[i])
    return sum_of_many(rows * n, losses) if weight == NULL else weighted_sum(rows, n, weight, losses)


cdef inline void loss_backward(
    Py_ssize_t rows, Py_ssize_t n, const floating* Z, const floating* Y,
    const floating* weight, floating* dZ,
) noexcept nogil:
    """dZ = weight (sigmoid(Z) - Y), differentiates `loss_forward`; dZ may be Z"""
    cdef Py_ssize_t i, k
    for i in range(rows * n):
        dZ[i] = sigmoid(Z[i]) - Y[i]
    if weight != NULL:
        for i in range(rows):
            for k in range(n):
                dZ[i * n + k] *= weight[i]
