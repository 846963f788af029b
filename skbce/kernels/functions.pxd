"""Activations of one number, and f' beside f where it does not follow from a = f(z); without branches.

Large |z| are cut where a function has reached its limit, so that no infinity meets a 0. Where exp(-|z|) times |z| may
be subnormal, exp(-|z| / 2) comes in twice: the product then rounds once, at its end.
"""

from cython cimport floating

from skbce.kernels.elementary cimport (
    absolute, exp_minus_half_square, expm1_not_positive, exponential, log1p_exp_minus, normal_tail_ratio, with_sign,
)

cdef extern from *:
    """
    /* The slope that PyTorch takes by default. */
    #define SKBCE_LEAKY_SLOPE 0.01
    /* Under these, units of mean 0 and variance 1 have mean 0 and variance 1 again (Klambauer et al. 2017). */
    #define SKBCE_SELU_SCALE 1.0507009873554805
    #define SKBCE_SELU_SCALE_ALPHA 1.7580993408473769
    #define SKBCE_INVERSE_ROOT_2_PI 0.3989422804014327
    """
    const double LEAKY_SLOPE "SKBCE_LEAKY_SLOPE"
    const double SELU_SCALE "SKBCE_SELU_SCALE"
    const double SELU_SCALE_ALPHA "SKBCE_SELU_SCALE_ALPHA"
    const double INVERSE_ROOT_2_PI "SKBCE_INVERSE_ROOT_2_PI"


cdef inline floating at_most(floating x, floating limit) noexcept nogil:
    """min(x, limit); NaN stays NaN"""
    return limit if x > limit else x


cdef inline floating leaky_relu(floating z) noexcept nogil:
    """z, below 0 times the slope"""
    return <floating>LEAKY_SLOPE * z if z < 0 else z


cdef inline floating elu(floating z) noexcept nogil:
    """z, below 0 exp(z) - 1"""
    cdef floating t = expm1_not_positive(z if z < 0 else 0)
    return t if z < 0 else z


cdef inline floating selu(floating z) noexcept nogil:
    """scale z, below 0 scale alpha (exp(z) - 1)"""
    cdef floating t = expm1_not_positive(z if z < 0 else 0)
    return <floating>SELU_SCALE_ALPHA * t if z < 0 else <floating>SELU_SCALE * z


cdef inline floating softplus(floating z) noexcept nogil:
    """log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|))"""
    return (z if z > 0 else 0) + log1p_exp_minus(absolute(z))


cdef inline floating gelu(floating z, floating* derivative) noexcept nogil:
    """z Phi(z), with Phi(-x) = exp(-x^2/2) g(x) for x >= 0; derivative = Phi(z) + z phi(z)"""
    cdef floating limit
    if floating is float:
        limit = 15
    else:
        limit = 39
    cdef floating x = at_most(absolute(z), limit)
    cdef floating e = exp_minus_half_square(x)
    cdef floating g = normal_tail_ratio(x)
    cdef floating slope = (g - x * <floating>INVERSE_ROOT_2_PI) * e
    derivative[0] = slope if z < 0 else <floating>1 - slope
    return -(x * g) * e if z < 0 else z * (<floating>1 - g * e)


cdef inline floating half_decay(floating x) noexcept nogil:
    """exp(-x / 2)"""
    return exponential(<floating>-0.5 * x)


cdef inline floating cut_magnitude(floating z) noexcept nogil:
    """|z|, at most where |z| exp(-|z|) is 0"""
    cdef floating limit
    if floating is float:
        limit = 120
    else:
        limit = 760
    return at_most(absolute(z), limit)


cdef inline floating silu(floating z, floating* derivative) noexcept nogil:
    """z s, s = sigmoid(z); derivative = s (1 + z (1 - s))"""
    cdef floating x = cut_magnitude(z)
    cdef floating h = half_decay(x)
    cdef floating e = h * h
    cdef floating p = <floating>1 / (<floating>1 + e)
    cdef floating s = e * p if z < 0 else p
    cdef floating rest = p if z < 0 else e * p
    derivative[0] = s * (<floating>1 + with_sign(x, z) * rest)
    return -(x * h) * (h * p) if z < 0 else z * p


cdef inline floating mish(floating z, floating* derivative) noexcept nogil:
    """z w, w = tanh(softplus(z)); derivative = w + z w'. With e = exp(-|z|), w and w' are fractions of polynomials:

    w = e (2 + e) / (2 + 2 e + e^2) for z < 0, else (1 + 2 e) / (1 + 2 e + 2 e^2);
    w' = 4 e (1 + e), for z >= 0 another time e, / the same denominator squared.
    """
    cdef floating x = cut_magnitude(z)
    cdef floating h = half_decay(x)
    cdef floating e = h * h
    cdef floating one = 1, two = 2, four = 4
    cdef floating q = one / (two + e * (two + e) if z < 0 else one + two * e * (one + e))
    cdef floating v = (two + e) * q if z < 0 else (one + two * e) * q
    cdef floating w = e * v if z < 0 else v
    derivative[0] = w + with_sign(x, z) * (four * (e if z < 0 else e * e) * (one + e) * (q * q))
    return -(x * h) * v * h if z < 0 else z * v
