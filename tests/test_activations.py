"""The hidden layers' activations and derivatives, one number at a time, against mpmath and PyTorch."""

import mpmath
import numpy as np
import pytest

from skbce._parameters import ACTIVATIONS, STORED
from skbce.kernels import doors

DTYPES = (np.float32, np.float64)
SELU_SCALE, SELU_ALPHA = "1.0507009873554804934193349852946", "1.6732632423543772848170429916717"


def sigmoid(z):
    return 1 / (1 + mpmath.exp(-z))


def tanh_softplus(z):
    return mpmath.tanh(mpmath.log1p(mpmath.exp(z)))


def held(z):
    """Hold z within 100: mpmath's normal distribution overflows beyond 1e150, and from 100 on is 0 or 1."""
    return min(max(z, mpmath.mpf(-100)), mpmath.mpf(100))


EXACT = {
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "elu": lambda z: z if z > 0 else mpmath.expm1(z),
    "selu": lambda z: mpmath.mpf(SELU_SCALE) * (z if z > 0 else mpmath.mpf(SELU_ALPHA) * mpmath.expm1(z)),
    "softplus": lambda z: mpmath.log1p(mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(held(z)),
    "silu": lambda z: z * sigmoid(z),
    "mish": lambda z: z * tanh_softplus(z),
}

EXACT_DERIVATIVE = {
    "leaky_relu": lambda z: mpmath.mpf(1) if z > 0 else mpmath.mpf("0.01"),
    "elu": lambda z: mpmath.mpf(1) if z > 0 else mpmath.exp(z),
    "selu": lambda z: mpmath.mpf(SELU_SCALE) * (1 if z > 0 else mpmath.mpf(SELU_ALPHA) * mpmath.exp(z)),
    "softplus": sigmoid,
    "gelu": lambda z: mpmath.ncdf(held(z)) + held(z) * mpmath.npdf(held(z)),
    "silu": lambda z: sigmoid(z) * (1 + z * sigmoid(-z)),
    "mish": lambda z: tanh_softplus(z) + z * (1 - tanh_softplus(z) ** 2) * sigmoid(z),
}

# Largest errors found, float32 and float64, over 15,000 numbers by each of the three instruction sets: of f in units in
# the last place of the exact result, of f' in units in the last place of 1. gelu's are those of its left tail, where
# exp and the fraction beside it each add 3.
LARGEST_ERRORS_FOUND = {
    "leaky_relu": (0.84, 0.68),
    "elu": (0.75, 1.02),
    "selu": (1.66, 1.47),
    "softplus": (1.38, 1.90),
    "gelu": (4.21, 6.91),
    "silu": (3.19, 4.50),
    "mish": (3.61, 3.89),
}
LARGEST_DERIVATIVE_ERRORS_FOUND = {
    "leaky_relu": (0.0, 0.0),
    "elu": (0.41, 0.42),
    "selu": (1.02, 1.03),
    "softplus": (0.57, 0.59),
    "gelu": (0.90, 1.16),
    "silu": (0.95, 1.78),
    "mish": (1.44, 1.87),
}

# Other compilers may fuse or order a multiplication and an addition otherwise.
ALLOWANCE = 0.5


def applied(name, z):
    """A = f(Z)."""
    A = np.array(z).reshape(1, -1)
    doors.apply_activation(ACTIVATIONS.index(name), A)
    return A[0]


def derivative(name, z):
    """f'(Z), as the forward pass leaves it for the backward pass."""
    D = np.empty((1, len(z)), z.dtype)
    doors.store_derivative(ACTIVATIONS.index(name), z.reshape(1, -1).copy(), D)
    return D[0]


def points(dtype):
    """Where the functions bend, where they end, at each of the magnitudes, and at their special points."""
    info, rng = np.finfo(dtype), np.random.default_rng(2)
    subnormal, end = (18, 125) if dtype == np.float32 else (42, 780)
    some = [rng.uniform(-4, 4, 300), rng.uniform(-subnormal, subnormal, 300), rng.uniform(-end, end, 100)]
    some += [rng.choice([-1, 1], 200) * 2.0 ** rng.uniform(info.minexp - info.nmant, 10, 200)]
    special = [0.0, info.smallest_subnormal, info.tiny, info.eps / 2, info.eps, 0.5, 1.0, 15.0, 39.0, 120.0, 760.0]
    special += [info.max / 1.1, 0.41421356237309503]
    return np.concatenate([*some, special, [-z for z in special]]).astype(dtype)


def exact(function, z):
    with mpmath.workprec(200):
        return function(mpmath.mpf(float(z)))


def errors_in_ulp(results, exacts):
    """How far results are off, in ulps of the exact ones."""
    info = np.finfo(results.dtype)
    errors = []
    with mpmath.workprec(200):
        for result, value in zip(results, exacts, strict=True):
            exponent = max(mpmath.frexp(value)[1] - 1 if value else info.minexp, int(info.minexp))
            errors.append(float(abs(mpmath.mpf(float(result)) - value) * mpmath.ldexp(1, int(info.nmant - exponent))))
    return np.array(errors)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_activation_is_within_its_ulps_of_mpmath(name, dtype):
    z = points(dtype)
    errors = errors_in_ulp(applied(name, z), [exact(EXACT[name], x) for x in z])
    worst = errors.argmax()
    assert errors[worst] <= LARGEST_ERRORS_FOUND[name][DTYPES.index(dtype)] + ALLOWANCE, (
        f"{name}({z[worst]!r}): {errors[worst]} ulp"
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT_DERIVATIVE)
def test_derivative_is_within_its_epsilons_of_mpmath(name, dtype):
    z = points(dtype)
    eps = float(np.finfo(dtype).eps)
    # In units of 1's last place: 1 + a of elu loses its tail's digits, and the others pass through 0.
    errors = np.array(
        [
            float(abs(mpmath.mpf(float(d)) - exact(EXACT_DERIVATIVE[name], x))) / eps
            for d, x in zip(derivative(name, z), z, strict=True)
        ]
    )
    worst = errors.argmax()
    assert errors[worst] <= LARGEST_DERIVATIVE_ERRORS_FOUND[name][DTYPES.index(dtype)] + ALLOWANCE, (
        f"{name}'({z[worst]!r})"
    )


AT_INFINITY = {
    "identity": (-np.inf, np.inf),
    "logistic": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "relu": (0.0, np.inf),
    "leaky_relu": (-np.inf, np.inf),
    "elu": (-1.0, np.inf),
    "selu": (-1.7580993408473769, np.inf),  # scale times alpha
    "softplus": (0.0, np.inf),
    "gelu": (0.0, np.inf),
    "silu": (0.0, np.inf),
    "mish": (0.0, np.inf),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_derivative_have_their_limits_at_infinity_and_at_the_largest_numbers(name, dtype):
    lowest, highest = AT_INFINITY[name]
    assert applied(name, np.array([-np.inf, np.inf], dtype)).tolist() == [dtype(lowest), highest]
    ends = derivative(name, np.array([-np.inf, np.inf, np.finfo(dtype).min, np.finfo(dtype).max], dtype))
    slopes = {"identity": (1, 1), "logistic": (0, 0), "tanh": (0, 0), "leaky_relu": (dtype(0.01), 1)}
    slopes["selu"] = (0, dtype(SELU_SCALE))
    # selu's two constants are rounded before their sum.
    assert np.abs(ends - [*slopes.get(name, (0, 1))] * 2).max() <= np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("size", [1, 19])
def test_nan_stays_nan_and_harms_no_neighbour(size, name, dtype):
    for at in range(size):
        z = np.full(size, 0.5, dtype)
        z[at] = np.nan
        assert np.isnan(applied(name, z)).nonzero()[0].tolist() == [at]
        assert not np.isnan(np.delete(derivative(name, z), at)).any()
        if name in STORED:
            assert np.isnan(derivative(name, z)[at])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_array_gives_what_its_elements_give_one_by_one_for_any_length(name, dtype):
    z = np.random.default_rng(3).uniform(-30, 30, 40).astype(dtype)
    for size in range(1, 41):  # vector loops treat what is left over apart
        for function in (applied, derivative):
            one_by_one = [function(name, z[i : i + 1])[0] for i in range(size)]
            np.testing.assert_array_equal(function(name, z[:size]), np.array(one_by_one, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", STORED)
def test_stored_derivative_comes_with_the_activation_itself(name, dtype):
    A = points(dtype).reshape(1, -1)
    expected = applied(name, A)
    doors.store_derivative(ACTIVATIONS.index(name), A, np.empty_like(A))
    # The two loops share all lines; a compiler may fuse a product and a sum in one of them.
    np.testing.assert_allclose(
        A[0], expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).smallest_subnormal
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_and_derivative_are_those_of_torch(name, dtype):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    z = np.random.default_rng(4).uniform(-12, 12, 1000).astype(dtype)
    z[:3] = 0.0, -1e-3, 1e-3
    at = torch.tensor(z, requires_grad=True)
    f = {
        "identity": lambda z: 1 * z,
        "logistic": torch.sigmoid,
        "softplus": lambda z: functional.softplus(z, threshold=40),  # beyond 20, PyTorch's is z itself by default
    }.get(name) or getattr(functional, name)
    A = f(at)
    A.sum().backward()
    # A few ulp on either side; PyTorch's own gelu in its left tail is a difference of numbers near 1.
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(applied(name, z), A.detach().numpy(), rtol=8 * eps, atol=8 * eps)
    np.testing.assert_allclose(derivative(name, z), at.grad.numpy(), rtol=8 * eps, atol=8 * eps)
