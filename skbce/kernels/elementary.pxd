"""exp, expm1, log1p, sigmoid, tanh and the normal distribution's tail, of one number, without branches.

Loops over them vectorise. libm's functions are calls, and a loop around a call stays scalar: 2.9 ns an element
against 0.4.
Every function passes NaN on, and is right for infinities and subnormals. `floating` is float32 or
float64; constants that depend on it stand in `if floating is float`, which the compiler resolves.
"""

from cython cimport floating
from libc.math cimport copysign, copysignf, fabs, fabsf
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    static inline float skbce_float32_of(uint32_t bits) { float x; memcpy(&x, &bits, sizeof x); return x; }
    static inline double skbce_float64_of(uint64_t bits) { double x; memcpy(&x, &bits, sizeof x); return x; }
    static inline uint32_t skbce_bits32_of(float x) { uint32_t bits; memcpy(&bits, &x, sizeof bits); return bits; }
    static inline uint64_t skbce_bits64_of(double x) { uint64_t bits; memcpy(&bits, &x, sizeof bits); return bits; }
    """
    float float32_of "skbce_float32_of" (uint32_t bits) noexcept nogil
    double float64_of "skbce_float64_of" (uint64_t bits) noexcept nogil
    uint32_t bits32_of "skbce_bits32_of" (float x) noexcept nogil
    uint64_t bits64_of "skbce_bits64_of" (double x) noexcept nogil


cdef inline floating absolute(floating x) noexcept nogil:
    """|x|"""
    if floating is float:
        return fabsf(x)
    else:
        return fabs(x)


cdef inline floating with_sign(floating magnitude, floating sign) noexcept nogil:
    """|magnitude| with the sign of `sign`, zeros' too"""
    if floating is float:
        return copysignf(magnitude, sign)
    else:
        return copysign(magnitude, sign)


cdef inline floating clamped_exponent(floating x) noexcept nogil:
    """x held to where exp is neither 0 nor inf in the wider sense: beyond, exp(x) does not change."""
    cdef floating lowest, highest
    if floating is float:
        lowest, highest = -104, 89
    else:
        lowest, highest = -746, 710
    x = lowest if x < lowest else x
    return highest if x > highest else x


cdef inline floating shifted_quotient(floating x) noexcept nogil:
    """x / ln 2 + 1.5 * 2^(mantissa bits - 1): the sum's last bits are the nearest integer n."""
    if floating is float:
        return x * <float>1.4426950408889634 + <float>12582912.0
    else:
        return x * 1.4426950408889634 + 6755399441055744.0


cdef inline floating quotient(floating shifted) noexcept nogil:
    """n, as a number, from what `shifted_quotient` gave"""
    if floating is float:
        return shifted - <float>12582912.0
    else:
        return shifted - 6755399441055744.0


cdef inline floating reduced(floating x, floating n) noexcept nogil:
    """r = x - n ln 2, |r| <= ln 2 / 2. ln 2 in two parts, the first short enough that n times it is exact
    (Cody and Waite 1980)."""
    if floating is float:
        return (x - n * <float>0.693359375) - n * <float>-2.12194440e-4
    else:
        return (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10


cdef inline floating expm1_reduced(floating r) noexcept nogil:
    """exp(r) - 1 for |r| <= ln 2 / 2: Taylor's series, to where the next term is below half an ulp of r"""
    cdef floating p
    if floating is float:
        p = <float>(1.0 / 5040)
        p = p * r + <float>(1.0 / 720)
        p = p * r + <float>(1.0 / 120)
        p = p * r + <float>(1.0 / 24)
        p = p * r + <float>(1.0 / 6)
        p = p * r + <float>0.5
    else:
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
    return r + r * r * p


cdef inline floating scaled(floating p, floating shifted) noexcept nogil:
    """2^n p, with n in `shifted`. 2^n in two factors, so that subnormal results round once and 2^1024 is reached."""
    cdef uint32_t n32, half32
    cdef uint64_t n64, half64
    if floating is float:
        n32 = bits32_of(shifted) - <uint32_t>0x4B400000 + 256  # n + 256, positive: n >= -150
        half32 = n32 >> 1
        return p * float32_of((half32 - 1) << 23) * float32_of((n32 - half32 - 1) << 23)
    else:
        n64 = bits64_of(shifted) - <uint64_t>0x4338000000000000 + 2048  # n + 2048, positive: n >= -1076
        half64 = n64 >> 1
        return p * float64_of((half64 - 1) << 52) * float64_of((n64 - half64 - 1) << 52)


cdef inline floating exponential(floating x) noexcept nogil:
    """exp(x) = 2^n exp(r)"""
    cdef floating clamped = clamped_exponent(x)
    cdef floating shifted = shifted_quotient(clamped)
    return scaled(<floating>1 + expm1_reduced(reduced(clamped, quotient(shifted))), shifted)


cdef inline floating leading_half(floating x) noexcept nogil:
    """x cut to the first half of its mantissa's bits, so that its square is exact"""
    if floating is float:
        return float32_of(bits32_of(x) & <uint32_t>0xFFFFF000)
    else:
        return float64_of(bits64_of(x) & <uint64_t>0xFFFFFFFFF8000000)


cdef inline floating exp_minus_half_square(floating x) noexcept nogil:
    """exp(-x^2/2) for 0 <= x <= 39, in float32 15: beyond, it is 0.

    A rounded x^2 = 1000 would be off by 6e-14, and so would be the result, relatively. Here x = u + v with u^2 exact,
    x^2 = u^2 + v (u + x), and the second term, at most 4e-5 (float32: 0.06), joins what `reduced` leaves of the first.
    """
    cdef floating u = leading_half(x)
    cdef floating clamped = clamped_exponent(<floating>-0.5 * (u * u))
    cdef floating shifted = shifted_quotient(clamped)
    cdef floating r = reduced(clamped, quotient(shifted)) - <floating>0.5 * ((x - u) * (x + u))
    return scaled(<floating>1 + expm1_reduced(r), shifted)


cdef inline floating normal_tail_ratio(floating x) noexcept nogil:
    """g(x) = exp(x^2/2) Phi(-x) for 0 <= x <= 39, in float32 15; Phi is the normal distribution function.

    A fraction of polynomials whose coefficients are all positive, so that nothing cancels. They are the least squares
    of the relative error at 120 Chebyshev points of (x - 2) / (x + 2), with Lawson's weights, which even the largest
    errors out, computed with mpmath in 60 digits. As rounded here they are off by 2.4e-8 and 9.3e-17 at most.
    """
    cdef floating p, q
    if floating is float:
        p = <float>0.00415294509
        p = p * x + <float>0.0408793003
        p = p * x + <float>0.183963864
        p = p * x + <float>0.439276547
        p = p * x + <float>0.500000003
        q = <float>0.0104097779
        q = q * x + <float>0.102475328
        q = q * x + <float>0.471394733
        q = q * x + <float>1.20552675
        q = q * x + <float>1.6764381
        q = q * x + <float>1
    else:
        p = 1.3851425940295634e-6
        p = p * x + 3.7241806698148536e-5
        p = p * x + 0.00049028293509914316
        p = p * x + 0.004088392495508004
        p = p * x + 0.023618121282929853
        p = p * x + 0.097685350093777098
        p = p * x + 0.28930161351053888
        p = p * x + 0.59400306577752694
        p = p * x + 0.77484428857870304
        p = p * x + 0.49999999999999997
        q = 3.4720375906005645e-6
        q = q * x + 9.3351365665782336e-5
        q = q * x + 0.0012324291054788349
        q = q * x + 0.010341431581491246
        q = q * x + 0.06042386402004808
        q = q * x + 0.25492222632510604
        q = q * x + 0.78195050553379323
        q = q * x + 1.7142391251148125
        q = q * x + 2.5610984936894026
        q = q * x + 2.3475731379602614
        q = q * x + 1
    return p / q


cdef inline floating expm1_not_positive(floating x) noexcept nogil:
    """exp(x) - 1 for x <= 0, exact to rounding near 0 too: 2^n (exp(r) - 1) + (2^n - 1)"""
    # Below these, exp(x) is under half an ulp of 1 and the result is -1; n then stays a normal exponent.
    cdef floating lowest
    if floating is float:
        lowest = -20
    else:
        lowest = -40
    cdef floating clamped = lowest if x < lowest else x
    cdef floating shifted = shifted_quotient(clamped)
    cdef floating q = expm1_reduced(reduced(clamped, quotient(shifted)))
    cdef floating power
    if floating is float:
        power = float32_of((bits32_of(shifted) - <uint32_t>0x4B400000 + 127) << 23)
    else:
        power = float64_of((bits64_of(shifted) - <uint64_t>0x4338000000000000 + 1023) << 52)
    return power * q + (power - <floating>1)


cdef inline floating log1p_unit(floating e) noexcept nogil:
    """log(1 + e) for 0 <= e <= 1, relatively exact near 0: 2 artanh(s), s = f / (2 + f), by its series.

    Above sqrt(2) - 1 one ln 2 is taken out: 1 + e = 2 (1 + f) with f = (e - 1) / 2; then |s| <= 0.172.
    """
    cdef floating threshold = <floating>0.41421356237309503
    cdef floating f = (e - <floating>1) * <floating>0.5 if e > threshold else e
    cdef floating base = <floating>0.6931471805599453 if e > threshold else 0
    cdef floating s = f / (<floating>2 + f)
    cdef floating s2 = s * s
    cdef floating p
    if floating is float:
        p = <float>(2.0 / 11)
        p = p * s2 + <float>(2.0 / 9)
        p = p * s2 + <float>(2.0 / 7)
        p = p * s2 + <float>(2.0 / 5)
        p = p * s2 + <float>(2.0 / 3)
    else:
        p = 2.0 / 21
        p = p * s2 + 2.0 / 19
        p = p * s2 + 2.0 / 17
        p = p * s2 + 2.0 / 15
        p = p * s2 + 2.0 / 13
        p = p * s2 + 2.0 / 11
        p = p * s2 + 2.0 / 9
        p = p * s2 + 2.0 / 7
        p = p * s2 + 2.0 / 5
        p = p * s2 + 2.0 / 3
    # 2 s = f - s f keeps f's own bits: s alone carries the rounding of a division.
    return base + (f - s * (f - s2 * p))


cdef inline floating sigmoid_from(floating z, floating e) noexcept nogil:
    """1 / (1 + exp(-z)), from e = exp(-|z|), which never overflows"""
    cdef floating p = <floating>1 / (<floating>1 + e)
    return e * p if z < 0 else p


cdef inline floating sigmoid(floating z) noexcept nogil:
    """1 / (1 + exp(-z))"""
    return sigmoid_from(z, exponential(-absolute(z)))


cdef inline floating tanh_(floating z) noexcept nogil:
    """tanh(z) = |t| / (2 + t), t = exp(-2 |z|) - 1, with the sign of z"""
    cdef floating t = expm1_not_positive(<floating>-2 * absolute(z))
    return with_sign(absolute(t) / (<floating>2 + t), z)


cdef inline floating log1p_exp_minus(floating magnitude) noexcept nogil:
    """log(1 + exp(-magnitude)) for magnitude >= 0"""
    return log1p_unit(exponential(-magnitude))


cdef inline bint are_finite(Py_ssize_t n, const floating* x) noexcept nogil:
    """whether no x_i is infinite or NaN, which have all bits of the exponent set"""
    cdef bint strays = False
    cdef Py_ssize_t i
    for i in range(n):
        if floating is float:
            strays |= (bits32_of(x[i]) & <uint32_t>0x7F800000) == <uint32_t>0x7F800000
        else:
            strays |= (bits64_of(x[i]) & <uint64_t>0x7FF0000000000000) == <uint64_t>0x7FF0000000000000
    return not strays
