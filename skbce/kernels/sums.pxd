"""Sums in double. Those over many numbers run in lanes, so that they vectorise with their order fixed."""

from cython cimport floating

cdef enum:
    # Two vectors of AVX-512: in one, each addition would wait for the one before it.
    LANES = 16


cdef inline double sum_of(Py_ssize_t n, const double* x) noexcept nogil:
    """x_0 + .. + x_{n-1}, in this order"""
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += x[i]
    return total


cdef inline double sum_of_lanes(double* lanes) noexcept nogil:
    """lanes_0 + .. + lanes_15, halves on halves"""
    cdef Py_ssize_t k
    for k in range(8):
        lanes[k] += lanes[k + 8]
    for k in range(4):
        lanes[k] += lanes[k + 4]
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


cdef inline double sum_of_many(Py_ssize_t n, const floating* x) noexcept nogil:
    """sum x_i"""
    cdef double[LANES] lanes
    cdef double total = 0
    cdef Py_ssize_t i, k
    for k in range(LANES):
        lanes[k] = 0
    for i in range(n // LANES):
        for k in range(LANES):
            lanes[k] += x[i * LANES + k]
    for i in range(n - n % LANES, n):
        total += x[i]
    return total + sum_of_lanes(lanes)


cdef inline double weighted_sum(
    Py_ssize_t rows, Py_ssize_t n, const floating* weight, const floating* x
) noexcept nogil:
    """sum_i weight_i sum_k x[i, k], in the lanes of `sum_of_many`, so that weights of 1 change no bit"""
    cdef double[LANES] lanes
    cdef double total = 0
    cdef Py_ssize_t i, k, _k, at = 0, end_of_lanes = rows * n - rows * n % LANES
    for k in range(LANES):
        lanes[k] = 0
    for i in range(rows):
        for _k in range(n):
            if at < end_of_lanes:
                lanes[at % LANES] += <double>weight[i] * x[at]
            else:
                total += <double>weight[i] * x[at]
            at += 1
    return total + sum_of_lanes(lanes)


cdef inline double sum_of_squares(Py_ssize_t n, const floating* x) noexcept nogil:
    """sum x_i^2"""
    cdef double[LANES] lanes
    cdef double total = 0
    cdef Py_ssize_t i, k
    for k in range(LANES):
        lanes[k] = 0
    for i in range(n // LANES):
        for k in range(LANES):
            lanes[k] += <double>x[i * LANES + k] * x[i * LANES + k]
    for i in range(n - n % LANES, n):
        total += <double>x[i] * x[i]
    return total + sum_of_lanes(lanes)


cdef inline double sum_of_gradient_squares(
    double alpha, double scale, Py_ssize_t n, const floating* gradient, const floating* theta
) noexcept nogil:
    """sum g_i^2, g = (gradient + alpha theta) scale"""
    cdef double[LANES] lanes
    cdef double total = 0, g
    cdef floating decay = alpha
    cdef Py_ssize_t i, k
    for k in range(LANES):
        lanes[k] = 0
    for i in range(n // LANES):
        for k in range(LANES):
            g = (gradient[i * LANES + k] + decay * theta[i * LANES + k]) * scale
            lanes[k] += g * g
    for i in range(n - n % LANES, n):
        g = (gradient[i] + decay * theta[i]) * scale
        total += g * g
    return total + sum_of_lanes(lanes)
