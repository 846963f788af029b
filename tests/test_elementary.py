"""exp, sigmoid, tanh, log1p and log_sigmoid of the kernels against mpmath."""

import mpmath
import numpy as np
import pytest

from skbce.kernels import doors

DTYPES = (np.float32, np.float64)

# Largest errors found, in units in the last place of the exact result: float32 over every number with
# 2^-27 <= |x| <= 110, float64 over 40 million random ones.
LARGEST_ERROR_FOUND = {
    ("exp", np.float32): 1.03,
    ("exp", np.float64): 0.97,
    ("sigmoid", np.float32): 1.99,
    ("sigmoid", np.float64): 2.77,
    ("tanh", np.float32): 2.00,
    ("tanh", np.float64): 2.51,
    ("log1p", np.float32): 1.49,
    ("log1p", np.float64): 1.87,
    ("log_sigmoid", np.float32): 1.75,
    ("log_sigmoid", np.float64): 2.13,
}

# Other compilers may fuse or order a multiplication and an addition otherwise.
ALLOWANCE = 0.25

EXACT = {
    "exp": mpmath.exp,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "tanh": mpmath.tanh,
    "log1p": mpmath.log1p,
    "log_sigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
}


def applied(name, x):
    x = np.array(x)
    doors.elementwise(name, x)
    return x


def errors_in_ulp(name, x):
    """How far each result is off, in ulps of the exact one; inf where one of them is infinite and the other is not."""
    info = np.finfo(x.dtype)
    errors = []
    with mpmath.workprec(200):
        beyond = mpmath.mpf(float(info.max)) * (1 + mpmath.ldexp(1, -info.nmant - 2))  # from here on inf is nearer
        for argument, result in zip(x, applied(name, x), strict=True):
            exact = EXACT[name](mpmath.mpf(float(argument)))
            if abs(exact) >= beyond or np.isinf(result):
                right = abs(exact) >= beyond and np.isinf(result) and (result > 0) == (exact > 0)
                errors.append(0.0 if right else np.inf)
            else:
                exponent = max(mpmath.frexp(exact)[1] - 1, int(info.minexp))
                errors.append(float(abs(mpmath.mpf(float(result)) - exact) * mpmath.ldexp(1, info.nmant - exponent)))
    return np.array(errors)


def thresholds(dtype):
    """Where exp of it, or of minus it, leaves the normal numbers, the subnormal ones, and their rounding."""
    info = np.finfo(dtype)
    with mpmath.workprec(200):
        subnormal = mpmath.ldexp(1, int(info.minexp) - int(info.nmant))
        edges = [mpmath.mpf(float(info.max)), mpmath.mpf(float(info.tiny)), subnormal, subnormal / 2]
        return [float(mpmath.log(edge)) for edge in edges]


def special_points(dtype):
    info = np.finfo(dtype)
    points = [0.0, info.smallest_subnormal, 7 * info.smallest_subnormal, info.tiny, info.eps / 2, info.eps, 0.5, 1.0]
    # The largest remainders of the division by ln 2, and where the two branches of log1p meet.
    points += [0.41421356237309503, *(np.log(2) * (n + 0.5) for n in range(4)), 20.0, 40.0, info.max]
    points = np.array([*points, *np.abs(thresholds(dtype))], dtype)
    neighbours = [np.nextafter(points, dtype(end)) for end in (-1, info.max)]
    # Subnormal results, some dozens of them.
    rng = np.random.default_rng(1)
    normal, subnormal = thresholds(dtype)[1:3]
    points = np.concatenate([points, *neighbours, rng.uniform(subnormal, normal, 60).astype(dtype)])
    return np.concatenate([points, -points])


def random_points(dtype):
    """Numbers of every magnitude, by their bits, and as many again where the functions bend."""
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2 ** np.finfo(dtype).bits, 800, np.uint64).astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    bends = [rng.uniform(-3, 3, 400), rng.uniform(-40, 40, 300), 1.2 * thresholds(dtype)[0] * rng.uniform(-1, 1, 300)]
    return np.concatenate([bits[np.isfinite(bits)], *(part.astype(dtype) for part in bends)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("points", [special_points, random_points])
@pytest.mark.parametrize("name", EXACT)
def test_function_is_within_its_ulps_of_mpmath(name, points, dtype):
    x = points(dtype)
    if name == "log1p":  # the kernels' log1p is for 0 .. 1
        x = np.concatenate([np.abs(x[np.abs(x) <= 1]), np.abs(x) / np.finfo(dtype).max])
    errors = errors_in_ulp(name, x)
    worst = errors.argmax()
    assert errors[worst] <= LARGEST_ERROR_FOUND[name, dtype] + ALLOWANCE, f"{name}({x[worst]!r}): {errors[worst]} ulp"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "at_minus_infinity", "at_infinity"),
    [("exp", 0.0, np.inf), ("sigmoid", 0.0, 1.0), ("tanh", -1.0, 1.0), ("log_sigmoid", -np.inf, 0.0)],
)
def test_function_has_its_limits_at_infinity(name, at_minus_infinity, at_infinity, dtype):
    assert applied(name, np.array([-np.inf, np.inf], dtype)).tolist() == [at_minus_infinity, at_infinity]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("size", [1, 19])
def test_nan_stays_nan_and_harms_no_neighbour(name, size, dtype):
    for at in range(size):
        x = np.full(size, 0.5, dtype)
        x[at] = np.nan
        assert np.isnan(applied(name, x)).nonzero()[0].tolist() == [at]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "lowest"), [("sigmoid", 0), ("tanh", -1), ("exp", 0)])
def test_result_keeps_to_the_range_of_the_function_for_any_bits(name, lowest, dtype):
    results = applied(name, np.concatenate([special_points(dtype), random_points(dtype)]))
    assert (results >= lowest).all()
    if name != "exp":
        assert (results <= 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_tanh_is_odd_to_the_last_bit(dtype):
    x = np.concatenate([special_points(dtype), random_points(dtype)])
    x = x[x != 0]
    np.testing.assert_array_equal(applied("tanh", -x), -applied("tanh", x))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_tanh_keeps_the_sign_of_zero(zero, dtype):
    assert np.signbit(applied("tanh", np.array([zero], dtype))[0]) == np.signbit(zero)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_array_gives_what_its_elements_give_one_by_one_for_any_length(name, dtype):
    # Vector loops treat what is left over apart. The array begins one element off an aligned address, and has
    # neighbours that must stay as they are.
    rng = np.random.default_rng(3)
    for size in range(41):
        around = rng.uniform(0, 1, size + 2) if name == "log1p" else rng.uniform(-30, 30, size + 2)
        around = around.astype(dtype)
        x = around.copy()
        doors.elementwise(name, x[1:-1])
        one_by_one = np.array([applied(name, around[i : i + 1])[0] for i in range(1, size + 1)], dtype)
        np.testing.assert_array_equal(x[1:-1], one_by_one)
        np.testing.assert_array_equal(x[[0, -1]], around[[0, -1]])


def test_unknown_function_raises():
    with pytest.raises(ValueError, match="no elementary function is called 'sin'"):
        doors.elementwise("sin", np.zeros(1))
