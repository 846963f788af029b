"""One step down the gradient: plain and with momentum (SGD), and Adam. Elementwise over the flat vector.

`gradient` holds sums over the batch; the mean's gradient with the L2 term is (gradient + alpha theta) scale, scale
being 1 / total, total the rows, or the sum of their weights; less where the gradient is clipped. Decay takes shrink
theta off theta, shrink being learning_rate weight_decay. It is taken from the step first: in float32, 1 - shrink
would round to 1 for a shrink below 3e-8, and the decay would be gone.
"""

from cython cimport floating
from libc.math cimport pow, sqrt, sqrtf
from libc.stdint cimport int64_t

# The order of skbce._training's rules.
cdef enum Solver:
    SGD = 0
    ADAM = 1

cdef struct UpdateRule:
    Solver solver
    double learning_rate   # of every step, where they have none of their own
    double alpha           # strength of the L2 term on W
    double weight_decay    # of W, apart from the gradient
    double max_grad_norm   # the gradient's longest length; inf for any
    double momentum        # SGD
    bint nesterov
    double beta1           # Adam
    double beta2
    double eps

# What differs from step to step, and between W and b.
cdef struct Step:
    int64_t t                  # 1, 2, ..
    double learning_rate
    double scale               # of the gradient's sums
    double adam_rate           # `adam_rate`, once for all chunks
    double alpha               # 0 for b
    double shrink              # 0 for b


cdef inline floating square_root(floating x) noexcept nogil:
    """sqrt(x)"""
    if floating is float:
        return sqrtf(x)
    else:
        return sqrt(x)


cdef inline void sgd(
    const UpdateRule* rule, const Step* step, Py_ssize_t n, const floating* gradient, floating* theta,
    floating* velocity,
) noexcept nogil:
    """u = momentum velocity - learning_rate g; theta += (u; Nesterov: momentum u - learning_rate g) - shrink theta"""
    cdef floating learning_rate = step.learning_rate, momentum = rule.momentum
    cdef floating decay = step.alpha, scale = step.scale, shrink = step.shrink
    cdef floating g, u
    cdef Py_ssize_t i
    if rule.nesterov:
        for i in range(n):
            g = (gradient[i] + decay * theta[i]) * scale
            u = momentum * velocity[i] - learning_rate * g
            velocity[i] = u
            theta[i] += momentum * u - learning_rate * g - shrink * theta[i]
    else:
        for i in range(n):
            g = (gradient[i] + decay * theta[i]) * scale
            u = momentum * velocity[i] - learning_rate * g
            velocity[i] = u
            theta[i] += u - shrink * theta[i]


cdef inline double rest_of_power(double beta, int64_t t) noexcept nogil:
    """1 - beta^t"""
    # beta^t <= exp(-t (1 - beta)) <= exp(-40) is less than half of what the difference could show.
    return 1 if t * (1 - beta) > 40 else 1 - pow(beta, t)


cdef inline double adam_rate(const UpdateRule* rule, const Step* step) noexcept nogil:
    """learning_rate sqrt(1 - beta2^t) / (1 - beta1^t)"""
    return step.learning_rate * sqrt(rest_of_power(rule.beta2, step.t)) / rest_of_power(rule.beta1, step.t)


cdef inline void adam(
    const UpdateRule* rule, const Step* step, Py_ssize_t n, const floating* gradient, floating* theta,
    floating* m, floating* v,
) noexcept nogil:
    """m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    theta -= adam_rate m / (sqrt(v) + eps) + shrink theta"""
    cdef floating step_size = step.adam_rate
    cdef floating beta1 = rule.beta1, rest1 = 1 - rule.beta1
    cdef floating beta2 = rule.beta2, rest2 = 1 - rule.beta2
    cdef floating eps = rule.eps, decay = step.alpha, scale = step.scale, shrink = step.shrink
    cdef floating g
    cdef Py_ssize_t i
    for i in range(n):
        g = (gradient[i] + decay * theta[i]) * scale
        m[i] = beta1 * m[i] + rest1 * g
        v[i] = beta2 * v[i] + rest2 * (g * g)
        theta[i] -= step_size * m[i] / (square_root(v[i]) + eps) + shrink * theta[i]


cdef inline void update(
    const UpdateRule* rule, const Step* step, Py_ssize_t n, const floating* gradient, floating* theta,
    floating* moment1, floating* moment2,
) noexcept nogil:
    """one step of the rule on n neighbouring parameters; SGD's velocity is moment1"""
    if rule.solver == ADAM:
        adam(rule, step, n, gradient, theta, moment1, moment2)
    else:
        sgd(rule, step, n, gradient, theta, moment1)
