"""Binary cross-entropy from logits, and its derivative."""

from cython cimport floating

from skbce.kernels.elementary cimport absolute, exponential, log1p_unit, sigmoid, sigmoid_from
from skbce.kernels.sums cimport sum_of_many, weighted_sum


cdef inline floating cross_entropy(floating z, floating y, floating e) noexcept nogil:
    """-[y log sigmoid(z) + (1 - y) log(1 - sigmoid(z))] = max(z, 0) - y z + log(1 + e), e = exp(-|z|)"""
    # max(z, 0) - y z without the difference, in which a y just below 1 would drown.
    cdef floating factor = <floating>1 - y if z > 0 else -y
    return factor * z + log1p_unit(e)


cdef inline double sum_of_losses(
    Py_ssize_t rows, Py_ssize_t n, const floating* weight, const floating* losses
) noexcept nogil:
    """sum_i weight_i sum_k losses[i, k]"""
    return sum_of_many(rows * n, losses) if weight == NULL else weighted_sum(rows, n, weight, losses)


cdef inline void weigh(Py_ssize_t rows, Py_ssize_t n, const floating* weight, floating* dZ) noexcept nogil:
    """dZ[i, k] *= weight_i"""
    cdef Py_ssize_t i, k
    for i in range(rows):
        for k in range(n):
            dZ[i * n + k] *= weight[i]


cdef inline double loss_forward(
    Py_ssize_t rows, Py_ssize_t n, const floating* Z, const floating* Y,
    const floating* weight, floating* losses,
) noexcept nogil:
    """sum_i weight_i sum_k cross_entropy(Z[i, k], Y[i, k]); `losses` takes the rows x n terms.

    Terms are computed apart from their sum, so that both vectorise.
    """
    cdef Py_ssize_t i
    for i in range(rows * n):
        losses[i] = cross_entropy(Z[i], Y[i], exponential(-absolute(Z[i])))
    return sum_of_losses(rows, n, weight, losses)


cdef inline void loss_backward(
    Py_ssize_t rows, Py_ssize_t n, const floating* Z, const floating* Y,
    const floating* weight, floating* dZ,
) noexcept nogil:
    """dZ = weight (sigmoid(Z) - Y), differentiates `loss_forward`; dZ may be Z"""
    cdef Py_ssize_t i
    for i in range(rows * n):
        dZ[i] = sigmoid(Z[i]) - Y[i]
    if weight != NULL:
        weigh(rows, n, weight, dZ)


cdef inline double loss_and_derivative(
    Py_ssize_t rows, Py_ssize_t n, const floating* Y, const floating* weight, floating* losses, floating* Z,
) noexcept nogil:
    """`loss_forward`, and `loss_backward` in Z's place, which have exp(-|z|) in common"""
    cdef floating e, z
    cdef Py_ssize_t i
    cdef double loss
    for i in range(rows * n):
        z = Z[i]
        e = exponential(-absolute(z))
        losses[i] = cross_entropy(z, Y[i], e)
        Z[i] = sigmoid_from(z, e) - Y[i]
    loss = sum_of_losses(rows, n, weight, losses)
    if weight != NULL:
        weigh(rows, n, weight, Z)
    return loss
