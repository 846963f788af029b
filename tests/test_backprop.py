"""The published equations as functions, against the NumPy twin, mpmath and the classifier."""

from itertools import pairwise

import mpmath
import numpy as np
import pytest

from skbce import BCEMLPClassifier
from skbce._parameters import ACTIVATIONS
from skbce.backprop import backward, bce_cost, forward, gradient_descent_step
from tests import numpy_twin as twin

# 0 to 4 hidden layers, odd sizes, width 1, one and several outputs; then rows.
NETWORKS = [
    ((3, 1), 7),
    ((5, 3), 1),
    ((3, 4, 1), 10),
    ((1, 1, 1), 3),
    ((7, 5, 3, 2), 13),
    ((2, 9, 4, 3, 1), 33),
    ((3, 5, 4, 3, 2, 3), 17),
]


def assert_close(actual, expected, ulps):
    """Within `ulps` of actual's precision at the largest expected entry, which is what sums of products round to."""
    assert actual.shape == expected.shape
    error, scale = np.abs(actual - expected).max(), np.abs(expected).max()
    assert error <= ulps * np.finfo(actual.dtype).eps * scale, f"{error / scale:.2e} of the largest entry"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize(("units", "rows"), NETWORKS)
def test_forward_is_the_twins_for_any_network(units, rows, f, dtype):
    X, _, _, W, b = twin.example(units, rows, dtype=dtype)
    Z, A = forward(X, W, b, f)
    Z_twin, A_twin = twin.forward(X, W, b, f)
    assert len(Z) == len(A) - 1 == len(W)
    for array, expected in zip([*Z, *A], [*Z_twin, *A_twin], strict=True):
        assert array.dtype == dtype
        # 5 layers of sums of up to 9 products, each layer passing on what the one before lost: 3 ulp were seen; 13 with
        # NumPy 1.26, where softplus's outputs of about 0.7 cancel to 0.08.
        assert_close(array, expected, 16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("units", "rows"), NETWORKS)
def test_backward_is_the_twins_for_any_network(units, rows, weighted, f, dtype):
    X, Y, weight, W, b = twin.example(units, rows, dtype=dtype)
    weight = weight if weighted else None
    Z, A = forward(X, W, b, f)
    dZ, dW, db = backward(Y, Z, A, W, f, weight)
    # From these very Z and A, so that only backward's own rounding counts.
    expected = twin.backward(Y, [z.astype(float) for z in Z], [a.astype(float) for a in A], W, f, weight)
    for arrays, arrays_twin, shaped_as in zip((dZ, dW, db), expected, (Z, W, b), strict=True):
        for array, array_twin, same in zip(arrays, arrays_twin, shaped_as, strict=True):
            assert array.dtype == dtype
            assert array.shape == same.shape
            # Sums over 33 rows and over layers, and 1 - A^2 near A = 1, where f' is small: 17 ulp were seen.
            assert_close(array, array_twin, 64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forward_and_backward_are_the_twins_for_layers_of_different_activations(dtype):
    f = ("mish", "relu", "gelu", "tanh")
    X, Y, weight, W, b = twin.example((3, 5, 4, 3, 2, 3), 17, dtype=dtype)
    Z, A = forward(X, W, b, f)
    Z_twin, A_twin = twin.forward(X, W, b, f)
    for array, expected in zip([*Z, *A], [*Z_twin, *A_twin], strict=True):
        assert_close(array, expected, 16)  # 5 layers, of which one loses up to 7 ulp
    expected = twin.backward(Y, [z.astype(float) for z in Z], [a.astype(float) for a in A], W, f, weight)
    for arrays, arrays_twin in zip(backward(Y, Z, A, W, f, weight), expected, strict=True):
        for array, array_twin in zip(arrays, arrays_twin, strict=True):
            assert_close(array, array_twin, 64)  # as above


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("units", "rows"), NETWORKS)
def test_bce_cost_is_the_twins_for_any_shape(units, rows, weighted):
    X, Y, weight, W, b = twin.example(units, rows)
    weight = weight if weighted else None
    Z = forward(X, W, b)[0][-1]
    # All terms are positive, so that their sum is as exact as they are, 2 ulp, and 100 additions.
    assert bce_cost(Y, Z, weight) == pytest.approx(twin.cost(Y, Z, weight), rel=1e-14, abs=0)


@pytest.mark.parametrize(("rows", "n_outputs"), [(1, 1), (15, 1), (16, 1), (17, 1), (200, 1), (5, 3), (16, 3), (50, 3)])
def test_weights_of_one_change_no_bit_of_the_cost(rows, n_outputs):
    rng = np.random.default_rng(rows)
    Z, Y = rng.normal(size=(rows, n_outputs)), rng.integers(0, 2, (rows, n_outputs)).astype(float)
    assert bce_cost(Y, Z, np.ones(rows)) == bce_cost(Y, Z)


def test_cost_and_gradients_take_one_column_of_targets_as_a_vector_too():
    X, Y, _, W, b = twin.example((3, 4, 1), 9)
    Z, A = forward(X, W, b)
    assert bce_cost(Y[:, 0], Z[-1][:, 0]) == bce_cost(Y, Z[-1])
    for as_vector, as_column in zip(backward(Y[:, 0], Z, A, W), backward(Y, Z, A, W), strict=True):
        np.testing.assert_equal(as_vector, as_column)


def test_first_A_is_X_as_validated_whatever_X_is():  # noqa: N802
    X = np.arange(6).reshape(2, 3)
    W, b = [np.ones((3, 1))], [np.zeros(1)]
    read_only = X.astype(float)
    read_only.flags.writeable = False
    for given in (X, X.tolist(), X.astype(np.float32), np.asfortranarray(X, float), np.repeat(X, 2, 0)[::2], read_only):
        A = forward(given, W, b)[1]
        assert A[0].dtype == np.float64
        np.testing.assert_array_equal(A[0], X)


def test_arguments_are_left_as_they_were():
    X, Y, weight, W, b = twin.example((3, 4, 2), 5)
    arguments = [X, Y, weight, *W, *b]
    before = [array.copy() for array in arguments]
    Z, A = forward(X, W, b, "tanh")
    passed = [array.copy() for array in (*Z, *A)]
    _, dW, db = backward(Y, Z, A, W, "tanh", weight)
    bce_cost(Y, Z[-1], weight)
    gradient_descent_step(W, b, dW, db, 0.5)
    np.testing.assert_equal(arguments, before)
    np.testing.assert_equal([*Z, *A], passed)


def test_results_share_no_memory_with_each_other_or_with_parameters():
    X, Y, _, W, b = twin.example((2, 3, 2), 4)
    Z, A = forward(X, W, b, "identity")
    dZ, dW, db = backward(Y, Z, A, W, "identity")
    stepped = [array for arrays in gradient_descent_step(W, b, dW, db, 0.0) for array in arrays]
    arrays = [*Z, *A[1:], *dZ, *dW, *db, *W, *b, *stepped]
    for i, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[i + 1 :])


def test_dZ_of_the_output_is_Y_hat_minus_Y_times_the_weight():  # noqa: N802
    X, Y, weight, W, b = twin.example((3, 4, 2), 11)
    Z, A = forward(X, W, b)
    np.testing.assert_array_equal(backward(Y, Z, A, W)[0][-1], A[-1] - Y)
    np.testing.assert_array_equal(backward(Y, Z, A, W, sample_weight=weight)[0][-1], (A[-1] - Y) * weight[:, None])


@pytest.mark.parametrize("copies", [2, 8])
def test_dW_and_db_are_means_while_dZ_is_each_rows_own(copies):  # noqa: N802
    X, Y, _, W, b = twin.example((3, 4, 2), 5)
    Z, A = forward(X, W, b)
    once = backward(Y, Z, A, W)
    Z, A = forward(np.tile(X, (copies, 1)), W, b)
    often = backward(np.tile(Y, (copies, 1)), Z, A, W)
    for l in range(len(W)):
        np.testing.assert_allclose(often[0][l], np.tile(once[0][l], (copies, 1)), rtol=1e-14)  # products' order
        assert_close(often[1][l], once[1][l], 4)  # the same terms, added in another order
        assert_close(often[2][l], once[2][l], 4)


def test_whole_weights_count_as_so_many_rows():
    X, Y, _, W, b = twin.example((3, 4, 2), 6)
    counts = np.array([1, 2, 0, 3, 1, 2])
    Z, A = forward(X, W, b, "tanh")
    weighted = backward(Y, Z, A, W, "tanh", counts)
    cost = bce_cost(Y, Z[-1], counts)
    X, Y = X.repeat(counts, axis=0), Y.repeat(counts, axis=0)
    Z, A = forward(X, W, b, "tanh")
    repeated = backward(Y, Z, A, W, "tanh")
    assert cost == pytest.approx(bce_cost(Y, Z[-1]), rel=1e-14, abs=0)  # 9 terms, all positive
    for actual, expected in zip([*weighted[1], *weighted[2]], [*repeated[1], *repeated[2]], strict=True):
        assert_close(actual, expected, 4)  # the same terms, added in another order


EXTREME_LOGITS = {
    np.float32: [0.0, 1e-45, 1e-38, 1e-8, 0.5, 1.0, 15.0, 16.7, 20.0, 87.0, 88.8, 103.0, 104.0, 1000.0, 3.4e38],
    np.float64: [0.0, 5e-324, 1e-300, 1e-17, 0.5, 1.0, 36.0, 36.8, 40.0, 708.0, 745.0, 745.2, 1000.0, 1e300, 1e308],
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("y", [0, 1])
def test_bce_cost_is_mpmaths_at_extreme_logits(y, sign, dtype):
    for logit in EXTREME_LOGITS[dtype]:
        z = dtype(sign * logit)
        cost = bce_cost(np.array([y], dtype), np.array([z]))
        with mpmath.workprec(200):
            exact = mpmath.log1p(mpmath.exp(mpmath.mpf(float(-z if y else z))))
            # 2 ulp of log1p, and a last one of the sum; below the normal numbers an ulp is the least subnormal.
            ulp = max(exact * float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_subnormal))
            assert np.isfinite(cost)
            assert abs(cost - exact) <= 3 * ulp, f"cost {cost} of logit {z}, exactly {exact}"


@pytest.mark.parametrize("y", [0.1, 0.5, 0.75, 1 - 1e-6, 1 - 1e-12, 1 - 2.0**-53])
@pytest.mark.parametrize("z", [-40.0, -3.0, 0.0, 0.5, 3.0, 40.0])
def test_bce_cost_is_mpmaths_for_targets_between_0_and_1(z, y):
    with mpmath.workprec(200):
        exact = (1 - mpmath.mpf(y)) * mpmath.log1p(mpmath.exp(z)) + mpmath.mpf(y) * mpmath.log1p(mpmath.exp(-z))
    # 1e-15 is 5 ulp: two of log1p, and a product and a sum of terms of one sign.
    assert bce_cost([y], [z]) == pytest.approx(float(exact), rel=1e-15, abs=0)


@pytest.mark.parametrize("y", [0, 1])
def test_bce_cost_is_finite_for_the_largest_logits_in_any_number(y):
    # Here every observation's loss is as large as a number can be; their mean is no larger.
    logits = np.full(3, 1.7e308 if y == 0 else -1.7e308)
    assert bce_cost(np.full(3, y), logits) == pytest.approx(1.7e308, rel=1e-15, abs=0)  # 3 additions and a division


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dZ_is_exact_where_probabilities_round_to_0_or_1(dtype):  # noqa: N802
    z = dtype(-40)
    Z, A = [np.array([[z]])], [np.ones((1, 1), dtype), np.zeros((1, 1), dtype)]
    dZ = backward([[0.0]], Z, A, [np.ones((1, 1), dtype)])[0]
    assert dZ[0][0, 0] == pytest.approx(np.exp(-40.0), rel=4 * float(np.finfo(dtype).eps), abs=0)  # sigmoid's own 3 ulp


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_descent_step_is_parameter_minus_rate_times_gradient(dtype):
    W = [np.array([[1, 2], [3, 4]], dtype), np.array([[5], [6]], dtype)]
    b = [np.array([1, 2], dtype), np.ones(1, dtype)]
    dW, db = [w * 2 for w in W], [np.full(2, 4, dtype), np.full(1, -4, dtype)]
    W_next, b_next = gradient_descent_step(W, b, dW, db, 0.25)  # all of this is exact in binary
    np.testing.assert_equal(W_next, [w / 2 for w in W])
    np.testing.assert_equal(b_next, [np.array([0, 1], dtype), np.array([2], dtype)])
    assert {array.dtype for array in (*W_next, *b_next)} == {np.dtype(dtype)}


def test_computation_is_in_float32_only_where_everything_is():
    X, _, _, W, b = twin.example((3, 4, 1), 5, dtype=np.float32)
    assert forward(X, W, b)[1][-1].dtype == np.float32
    assert forward(X.astype(float), W, b)[1][-1].dtype == np.float64
    assert forward(X, W, [b[0].astype(float), b[1]])[1][-1].dtype == np.float64


def trained(units, f, steps, learning_rate, W, b, X, Y):
    """Costs before each of the steps, and the parameters after them, with the public functions alone."""
    costs = []
    for _ in range(steps):
        Z, A = forward(X, W, b, f)
        costs.append(bce_cost(Y, Z[-1]))
        _, dW, db = backward(Y, Z, A, W, f)
        W, b = gradient_descent_step(W, b, dW, db, learning_rate)
    return costs, W, b


@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("units", [(3, 4, 1), (2, 5, 4, 3, 1)])
def test_training_with_the_functions_lowers_the_cost_as_the_twin_does_step_by_step(units, f):
    X, _, _, W, b = twin.example(units, 40, seed=3)
    Y = (X[:, :1] * X[:, 1:2] > 0).astype(float)
    costs, W_trained, b_trained = trained(units, f, 60, 0.1, W, b, X, Y)
    for cost in costs:
        Z, A = twin.forward(X, W, b, f)
        # Both round each step to 1e-16; 60 steps of a smooth descent do not make more of it than 1e-13.
        assert cost == pytest.approx(twin.cost(Y, Z[-1]), rel=1e-13, abs=0)
        W, b = twin.descend(W, b, *twin.backward(Y, Z, A, W, f)[1:], 0.1)
    for array, expected in zip([*W_trained, *b_trained], [*W, *b], strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-13)
    assert all(after < before for before, after in pairwise(costs))


@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("units", [(3, 1), (3, 4, 1), (4, 5, 3, 2)])
@pytest.mark.parametrize("weighted", [False, True])
def test_training_with_the_functions_is_what_the_classifier_does_with_plain_full_batch_sgd(units, weighted, f):
    X, Y, weight, _, _ = twin.example(units, 25, seed=4)
    weight = weight if weighted else None
    W, b = twin.initial(units, f, np.random.RandomState(7))
    clf = BCEMLPClassifier(
        units[1:-1], f, solver="sgd", momentum=0, alpha=0, learning_rate_init=0.3, batch_size=25, shuffle=False,
        random_state=7,
    )  # fmt: skip
    classes = [0, 1] if units[-1] == 1 else np.arange(units[-1])
    costs = []
    for _ in range(10):
        clf.partial_fit(X, Y[:, 0] if units[-1] == 1 else Y, sample_weight=weight, classes=classes)
        Z, A = forward(X, W, b, f)
        costs.append(bce_cost(Y, Z[-1], weight))
        _, dW, db = backward(Y, Z, A, W, f, weight)
        W, b = gradient_descent_step(W, b, dW, db, 0.3)
    # 10 steps, equal but for the order in which sums over rows are rounded.
    for array, expected in zip([*W, *b], [*clf.coefs_, *clf.intercepts_], strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(costs, clf.loss_curve_, rtol=1e-12)


def parts():
    """Sound arguments of all functions, by name."""
    X, Y, weight, W, b = twin.example((3, 4, 2), 5)
    Z, A = forward(X, W, b)
    _, dW, db = backward(Y, Z, A, W)
    return {"X": X, "Y": Y.astype(float), "weight": weight, "W": W, "b": b, "Z": Z, "A": A, "dW": dW, "db": db}


def call(function, p):
    if function == "forward":
        forward(p["X"], p["W"], p["b"])
    elif function == "bce_cost":
        bce_cost(p["Y"], p["Z"][-1], p["weight"])
    elif function == "backward":
        backward(p["Y"], p["Z"], p["A"], p["W"], sample_weight=p["weight"])
    else:
        gradient_descent_step(p["W"], p["b"], p["dW"], p["db"], 0.1)


CHECKED = [
    ("forward", "X", None, "X"),
    ("forward", "W", 0, r"weights\[0\]"),
    ("forward", "W", 1, r"weights\[1\]"),
    ("forward", "b", 1, r"biases\[1\]"),
    ("bce_cost", "Y", None, "Y"),
    ("bce_cost", "Z", 1, "logits"),
    ("bce_cost", "weight", None, "sample_weight"),
    ("backward", "Y", None, "Y"),
    ("backward", "Z", 0, r"Z\[0\]"),
    ("backward", "Z", 1, r"Z\[1\]"),
    ("backward", "A", 0, r"A\[0\]"),
    ("backward", "A", 2, r"A\[2\]"),
    ("backward", "W", 1, r"weights\[1\]"),
    ("backward", "weight", None, "sample_weight"),
    ("gradient_descent_step", "W", 0, r"weights\[0\]"),
    ("gradient_descent_step", "b", 1, r"biases\[1\]"),
    ("gradient_descent_step", "dW", 1, r"gradient of weights\[1\]"),
    ("gradient_descent_step", "db", 0, r"gradient of biases\[0\]"),
]


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(("function", "argument", "index", "name"), CHECKED)
def test_value_that_is_not_finite_raises_an_error_that_names_the_argument(function, argument, index, name, value):
    p = parts()
    array = p[argument] if index is None else p[argument][index]
    array[(-1,) * array.ndim] = value
    with pytest.raises(ValueError, match=f"{name} contains NaN or infinity"):
        call(function, p)


# X and A[0] may have any number of rows; it is the others that do not fit them then.
WRONG_SHAPES = [
    (*entry, spoil)
    for entry in CHECKED
    for spoil in ("longer", "more dimensions", "empty")
    if not (spoil == "longer" and entry[-1] in ("X", r"A\[0\]"))
]


@pytest.mark.parametrize(("function", "argument", "index", "name", "spoil"), WRONG_SHAPES)
def test_wrong_shape_raises_an_error_that_names_the_argument(function, argument, index, name, spoil):
    p = parts()
    array = p[argument] if index is None else p[argument][index]
    spoilt = {"longer": np.concatenate([array, array]), "more dimensions": array[None, ..., None], "empty": array[:0]}
    if index is None:
        p[argument] = spoilt[spoil]
    else:
        p[argument] = [*p[argument][:index], spoilt[spoil], *p[argument][index + 1 :]]
    with pytest.raises(ValueError, match=name):
        call(function, p)


def test_layers_that_do_not_fit_raise_an_error_that_names_the_weights():
    X, _, _, W, b = twin.example((3, 4, 2), 5)
    with pytest.raises(ValueError, match=r"weights\[0\] must have the shape \(2, None\), got \(3, 4\)"):
        forward(X[:, :2], W, b)
    with pytest.raises(ValueError, match=r"weights\[1\] must have the shape \(4, None\), got \(3, 2\)"):
        forward(X, [W[0], W[1][:3]], b)
    with pytest.raises(ValueError, match=r"biases\[1\] must have the shape \(2,\), got \(1,\)"):
        forward(X, W, [b[0], b[1][:1]])


def test_wrong_number_of_layers_raises_an_error_that_names_the_arguments():
    p = parts()
    for W, b in ((p["W"], p["b"][:1]), ([], [])):
        with pytest.raises(ValueError, match="weights and biases need one entry a layer"):
            forward(p["X"], W, b)
    for Z, A, W in ((p["Z"][:1], p["A"], p["W"]), (p["Z"], p["A"][1:], p["W"]), ([], [p["X"]], [])):
        with pytest.raises(ValueError, match=r"Z, A and weights need L, L \+ 1 and L entries"):
            backward(p["Y"], Z, A, W)
    with pytest.raises(ValueError, match="weights has 2 entries and its gradient 1"):
        gradient_descent_step(p["W"], p["b"], p["dW"][:1], p["db"], 0.1)
    with pytest.raises(ValueError, match="biases has 2 entries and its gradient 1"):
        gradient_descent_step(p["W"], p["b"], p["dW"], p["db"][:1], 0.1)


@pytest.mark.parametrize("function", ["bce_cost", "backward"])
@pytest.mark.parametrize("value", [-1e-9, 1 + 1e-9, 2.0])
def test_target_outside_0_and_1_raises_an_error_that_names_it(function, value):
    p = parts()
    p["Y"][2, 1] = value
    with pytest.raises(ValueError, match=r"Y must lie in \[0, 1\]"):
        call(function, p)


@pytest.mark.parametrize("function", ["bce_cost", "backward"])
@pytest.mark.parametrize("weight", [[1, 1, -1e-9, 1, 1], [0, 0, 0, 0, 0]])
def test_weights_negative_or_all_zero_raise_an_error_that_names_them(function, weight):
    with pytest.raises(ValueError, match="sample_weight must not be negative, nor zero for every row"):
        call(function, parts() | {"weight": np.array(weight, float)})


def test_unknown_activation_raises_an_error_that_lists_the_known():
    p = parts()
    with pytest.raises(ValueError, match=r"activation must be one of \('identity', .*got 'softmax'"):
        forward(p["X"], p["W"], p["b"], "softmax")
    with pytest.raises(ValueError, match=r"activation must be one of \('identity', .*got 'softmax'"):
        backward(p["Y"], p["Z"], p["A"], p["W"], "softmax")


@pytest.mark.parametrize("f", [(), ("relu", "relu")])
def test_wrong_number_of_activations_raises_an_error_that_says_how_many_are_needed(f):
    p = parts()
    with pytest.raises(ValueError, match=r"activation .* each hidden layer, which are 1"):
        forward(p["X"], p["W"], p["b"], f)
    with pytest.raises(ValueError, match=r"activation .* each hidden layer, which are 1"):
        backward(p["Y"], p["Z"], p["A"], p["W"], f)


@pytest.mark.parametrize("learning_rate", [np.nan, np.inf])
def test_learning_rate_that_is_not_finite_raises_an_error_that_names_it(learning_rate):
    p = parts()
    with pytest.raises(ValueError, match="learning_rate must be finite"):
        gradient_descent_step(p["W"], p["b"], p["dW"], p["db"], learning_rate)
