"""The kernels' gradient against differences of the kernels' cost, and against complex steps of the twin's."""

import copy

import numpy as np
import pytest
import scipy.sparse as sp

from skbce import BCEMLPClassifier, check_gradients
from skbce._parameters import ACTIVATIONS, Layout
from skbce._training import CostFunction, Sample
from skbce.kernels import doors
from tests import numpy_twin as twin

DEPTHS = {0: (), 1: (4,), 2: (4, 3), 3: (3, 3, 2), 4: (3, 2, 3, 2)}


def data(n_outputs, rows=15, n_features=3, seed=0):
    X, Y, weight, _, _ = twin.example((n_features, n_outputs), rows, seed)
    return X, Y[:, 0] if n_outputs == 1 else Y, weight


def estimator(activation="tanh", hidden=(4,), **parameters):
    return BCEMLPClassifier(hidden, activation, random_state=1, **parameters)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0, 0.1])
def test_gradient_is_the_costs_difference_for_any_network(alpha, weighted, n_outputs, depth, activation):
    X, y, weight = data(n_outputs)
    clf = estimator(activation, DEPTHS[depth], alpha=alpha)
    check = check_gradients(clf, X, y, weight if weighted else None)
    assert len(check.W) == len(check.b) == depth + 1
    # Differences of the cost are right to some 1e-13 of it, which is 1e-8 of a layer's gradient of 1e-5. Through four
    # logistic layers, each of which passes on less than a quarter, the first layer's gradient is smaller still.
    assert check.largest <= (1e-6 if (activation, depth) == ("logistic", 4) else 1e-8), str(check)


# Layers that take f' from A and layers that store it, above and below each other, and below one unit.
MIXED = [
    ("gelu",), ("relu", "gelu"), ("gelu", "relu"), ("mish", "silu"), ("leaky_relu", "logistic"),
    ("elu", "silu", "selu"), ("softplus", "mish", "tanh", "gelu"),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("activation", MIXED, ids=str)
def test_gradient_is_the_costs_difference_for_layers_of_different_activations(activation, n_outputs, sparse, dtype):
    X, y, weight = data(n_outputs, n_features=5)
    X[np.abs(X) < 0.5] = 0
    X = X.astype(dtype)
    clf = estimator(activation, DEPTHS[len(activation)], alpha=0.1)
    check = check_gradients(clf, sp.csr_matrix(X) if sparse else X, y, weight)
    assert check.largest <= (1e-8 if dtype == np.float64 else 4e-6), str(check)  # as above and below


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_gradient_is_the_costs_difference_where_a_fitted_network_was_perturbed(solver, n_outputs, activation):
    X, y, weight = data(n_outputs, rows=30)
    clf = estimator(activation, (4, 3), solver=solver, alpha=0.1, max_iter=4)
    with pytest.warns(UserWarning, match=r"[Ii]teration"):  # that four iterations are few
        clf.fit(X, y, weight)
    rng = np.random.default_rng(2)
    for arrays in (clf.coefs_, clf.intercepts_):
        for array in arrays:
            array += rng.uniform(-0.5, 0.5, array.shape)
    assert check_gradients(clf, X, y, weight).largest <= 1e-8  # differences, as above


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_gradient_is_the_costs_difference_for_a_sparse_table(n_outputs, activation):
    X, y, weight = data(n_outputs, n_features=5)
    X[np.abs(X) < 0.5] = 0
    X[4] = 0
    check = check_gradients(estimator(activation, (4, 3)), sp.csr_matrix(X), y, weight)
    assert check.largest <= 1e-8  # differences, as above
    dense = check_gradients(estimator(activation, (4, 3)), X, y, weight)
    assert check.cost == pytest.approx(dense.cost, rel=1e-14, abs=0)  # sums over 5 columns in another order


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_in_float32_is_the_costs_difference_in_float64(activation):
    X, y, weight = data(1)
    check = check_gradients(estimator(activation, (4, 3)), X.astype(np.float32), y, weight)
    assert check.dtype == "float32"
    # Sums over 15 rows of terms that partly cancel, at 6e-8 each: 2.2e-7 was seen. Far less would not be float32.
    assert 1e-9 < check.largest <= 2e-6


@pytest.mark.parametrize("seed", range(3))
def test_layer_that_relu_cut_off_has_no_gradient_and_no_error(seed):
    X, y, _ = data(1, seed=seed)
    clf = estimator("relu", (4, 3), alpha=0).partial_fit(X, y, classes=[0, 1])
    clf.intercepts_[1][:] = -100
    # The output's bias alone still acts.
    assert check_gradients(clf, X, y).largest <= 1e-8


def test_check_reports_the_cost_and_prints_a_line_for_each_layer():
    X, y, weight = data(1)
    check = check_gradients(estimator("tanh", (4, 3), alpha=0.1), X, y, weight)
    W, b = twin.initial((3, 4, 3, 1), "tanh", np.random.RandomState(1))
    Z, _ = twin.forward(X, W, b, "tanh")
    assert check.cost == pytest.approx(twin.cost(y[:, None], Z[-1], weight, W, 0.1), rel=1e-14, abs=0)  # positive terms
    assert check.largest == max(check.W + check.b)
    lines = str(check).splitlines()
    assert len(lines) == 2 + 3
    assert "float64" in lines[0]


@pytest.mark.parametrize("fitted", [False, True])
def test_check_leaves_the_estimator_as_it_was(fitted):
    X, y, _ = data(1)
    clf = estimator()
    if fitted:
        clf.partial_fit(X, y, classes=[0, 1])
    before = copy.deepcopy(vars(clf))
    check_gradients(clf, X, y)
    np.testing.assert_equal(vars(clf), before)


@pytest.mark.parametrize("part", ["W", "b"])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_check_finds_one_wrong_entry_and_its_layer(layer, part, monkeypatch):
    X, y, weight = data(1)
    right = CostFunction.__call__

    def wrong(self, theta):
        cost, gradient = right(self, theta)
        array = self.layout.views(gradient)[("W", "b").index(part)][layer]
        array.flat[np.abs(array).argmax()] *= 1 + 1e-6
        return cost, gradient

    monkeypatch.setattr(CostFunction, "__call__", wrong)
    check = check_gradients(estimator("tanh", (4, 3)), X, y, weight)
    # The entry is the largest of its array: its error is the array's, and all others are those of the differences.
    assert getattr(check, part)[layer] == pytest.approx(1e-6, rel=1e-2)
    assert sorted(check.W + check.b)[-2] <= 1e-8


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "gelu", "silu", "mish"])  # the analytic ones
@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
def test_gradient_is_the_complex_step_of_the_twins_cost(sparse, weighted, n_outputs, depth, activation):
    units = (3, *DEPTHS[depth], n_outputs)
    X, Y, weight, W, b = twin.example(units, 15)
    X[[2, -1]] = 0
    weight = weight if weighted else None
    theta = twin.flat(W, b)
    table = doors.Table(sp.csr_matrix(X) if sparse else X)
    _, gradient = CostFunction(Layout(units, activation), Sample(table, Y, weight), 0.1, np.float64, 1)(theta)
    steps = theta + 1e-40j * np.eye(len(theta))  # a step's square is nothing beside 1, so that no digit is lost
    derivatives = np.array([twin.cost_at(at, units, activation, X, Y, weight, 0.1).imag / 1e-40 for at in steps])
    # Both are right to sums of 15 terms of 1e-16.
    np.testing.assert_allclose(gradient, derivatives, rtol=0, atol=1e-12 * np.abs(derivatives).max())
    for part, part_twin in zip(twin.unflat(gradient, units), twin.unflat(derivatives, units), strict=True):
        for array, expected in zip(part, part_twin, strict=True):
            assert np.abs(array - expected).max() <= 1e-12 * np.abs(expected).max()
