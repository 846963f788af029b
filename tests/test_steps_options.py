"""Weight decay, clipping and label smoothing, from the kernels' numbers to the estimator, alone and all at once."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbce import BCEMLPClassifier, _threads, check_gradients
from skbce._parameters import Layout, Workspace
from skbce._training import SCHEDULES, CostFunction, Sample
from skbce.kernels import doors
from tests import numpy_twin as twin
from tests.model_checks import assert_same_bits, parameters_of

DTYPES = (np.float32, np.float64)
STOCHASTIC = ("sgd", "adam")
ignores_max_iter = pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")

ALL_OPTIONS = {
    "weight_decay": 0.3, "max_grad_norm": 0.2, "label_smoothing": 0.2, "learning_rate": "cosine", "alpha": 0.1,
}  # fmt: skip


def table(n_rows=90, n_outputs=1, sparse=False):
    X, Y, weight, _, _ = twin.example((4, n_outputs), n_rows)
    X[np.random.default_rng(1).random(X.shape) < 0.3] = 0
    return sp.csr_matrix(X) if sparse else X, Y.ravel() if n_outputs == 1 else Y, weight


def classifier(**parameters):
    parameters = {"hidden_layer_sizes": (5,), "batch_size": 20, "max_iter": 6, "random_state": 0, **parameters}
    return BCEMLPClassifier(**{"learning_rate_init": 0.05, "n_iter_no_change": np.inf, **parameters})


def twin_model(clf, X, y, weight):
    """Parameters and losses of the epochs, from the equations, where rows are not shuffled; smoothed labels."""
    units, p = (4, 5, 1), clf.get_params()
    Y = twin.smoothed(y[:, None], p["label_smoothing"])
    theta = twin.flat(*twin.initial(units, "relu", np.random.RandomState(0)))
    moments, n_steps, curve = [np.zeros_like(theta)] * 2, 0, []
    n_steps_all = p["max_iter"] * -(-len(X) // p["batch_size"])
    for _ in range(p["max_iter"]):
        costs = []
        for at in range(0, len(X), p["batch_size"]):
            rows = slice(at, at + p["batch_size"])
            part = (units, "relu", X[rows], Y[rows], weight[rows], p["alpha"])
            costs.append(twin.cost_at(theta, *part) * len(X[rows]))
            g = twin.clipped(twin.gradient_at(theta, *part), p["max_grad_norm"])
            rate = p["learning_rate_init"] * (1 + np.cos(np.pi * n_steps / n_steps_all)) / 2
            n_steps += 1
            theta = twin.shrunk(theta, units, rate * p["weight_decay"])
            if p["solver"] == "sgd":
                theta, moments[0] = twin.sgd(
                    theta, g, moments[0], learning_rate=rate, momentum=p["momentum"], nesterov=p["nesterovs_momentum"]
                )
            else:
                theta, *moments = twin.adam(
                    theta, g, *moments, n_steps, learning_rate=rate, beta1=p["beta_1"], beta2=p["beta_2"],
                    eps=p["epsilon"],
                )  # fmt: skip
        curve.append(sum(costs) / len(X))
    return theta, curve


@pytest.mark.parametrize("parameters", [{}, {"momentum": 0.0}, {"nesterovs_momentum": False}, {"solver": "adam"}])
def test_model_of_all_options_at_once_is_the_twins(parameters):
    X, y, weight = table()
    clf = classifier(**{"solver": "sgd", "shuffle": False, **ALL_OPTIONS, **parameters}).fit(X, y, weight)
    theta, curve = twin_model(clf, X, y, weight)
    # 30 steps of roundings of 1e-16; Adam divides by the gradient's size.
    np.testing.assert_allclose(twin.flat(clf.coefs_, clf.intercepts_), theta, rtol=0, atol=1e-12)
    np.testing.assert_allclose(clf.loss_curve_, curve, rtol=1e-12)


def rule(**changes):
    numbers = {"solver": 0, "learning_rate": 1.0, "alpha": 0.0, "weight_decay": 0.0, "max_grad_norm": np.inf}
    return numbers | {"momentum": 0.0, "nesterov": False, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8} | changes


def one_step(units, theta, X, Y, weight=None, n_threads=1, **changes):
    """Theta after one step of plain gradient descent, of size 1, on all rows."""
    layout, theta = Layout(units, "tanh"), theta.copy()
    work = Workspace(layout, len(X), theta.dtype, n_threads)
    doors.run_steps(
        layout.network, rule(**changes), 0, theta, np.zeros_like(theta), None, doors.Table(X), Y, weight, None, 0.0,
        None, 0, len(X), len(X), 60.0, 0.0, work.block_rows, work.blocks, work.gradients, work.partials, n_threads,
    )  # fmt: skip
    return theta


# 5 chunks of W and 2 of b, the last of each not full; one layer, and a first layer of one chunk.
WIDE = [(3, 1100, 1), (3, 7, 1), (2000, 3)]


@pytest.mark.parametrize("units", WIDE)
@pytest.mark.parametrize("alpha", [0.0, 30.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_is_that_of_every_weight_and_bias_with_the_l2_term(dtype, alpha, units):
    X, Y, weight, W, b = twin.example(units, 800, dtype=dtype)
    theta = twin.flat(W, b)
    g = twin.gradient_at(theta, units, "tanh", X, Y, weight, alpha)
    norm = np.linalg.norm(g)
    # float32: sums of 800 terms in float32, each to 6e-8.
    tolerance = 1e-5 if dtype == np.float32 else 1e-13
    free = one_step(units, theta, X, Y, weight, alpha=alpha)
    for longest in (0.5 * norm, 0.99 * norm):
        step = theta - one_step(units, theta, X, Y, weight, alpha=alpha, max_grad_norm=longest).astype(float)
        assert np.linalg.norm(step) == pytest.approx(longest, rel=tolerance)
        assert np.abs(step - g * (longest / norm)).max() <= tolerance * np.abs(g).max() + np.finfo(dtype).eps
    np.testing.assert_array_equal(one_step(units, theta, X, Y, weight, alpha=alpha, max_grad_norm=1.01 * norm), free)


@pytest.mark.parametrize("units", WIDE)
@pytest.mark.parametrize("dtype", DTYPES)
def test_clipped_step_has_the_same_bits_for_any_number_of_threads(dtype, units):
    X, Y, weight, W, b = twin.example(units, 800, dtype=dtype)
    assert Layout(units, "tanh").network.shards(800) == (1 if units == (3, 7, 1) else 8)
    changes = {"max_grad_norm": 0.01, "weight_decay": 0.1, "alpha": 0.3}
    expected = one_step(units, twin.flat(W, b), X, Y, weight, **changes)
    for n_threads in (2, 3, 4, 8):
        actual = one_step(units, twin.flat(W, b), X, Y, weight, n_threads, **changes)
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("factor", [1e-250, 1e-150, 1e150, 1e250])
def test_norm_does_not_depend_on_the_scale_of_the_weights(factor):
    units = (3, 4, 1)
    X, Y, weight, W, b = twin.example(units, 20)
    theta = twin.flat(W, b)
    expected = one_step(units, theta, X, Y, weight, max_grad_norm=0.1)
    actual = one_step(units, theta, X, Y, weight * factor, max_grad_norm=0.1)
    # The weights, scaled, are rounded anew.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-15)
    assert np.linalg.norm(actual - theta) == pytest.approx(0.1, rel=1e-12)


def test_gradient_of_zero_is_not_clipped():
    theta = np.zeros(2)
    X, Y = np.zeros((2, 1)), np.array([[0], [1]], np.uint8)
    np.testing.assert_array_equal(one_step((1, 1), theta, X, Y, max_grad_norm=1e-3), theta)


@ignores_max_iter
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_clipping_at_a_length_that_no_gradient_has_gives_the_bits_of_none(solver, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1700, 60)).astype(dtype)
    y = (X[:, 0] > 0).astype(int)
    parameters = {"hidden_layer_sizes": (64, 32), "batch_size": 800, "solver": solver, "max_iter": 3, "n_threads": 2}
    assert Layout((60, 64, 32, 1), "relu").network.shards(800) == 8
    expected = classifier(**parameters).fit(X, y)
    actual = classifier(max_grad_norm=1e30, **parameters).fit(X, y)
    assert_same_bits(parameters_of(actual), parameters_of(expected))


@ignores_max_iter
def test_clipping_lets_a_step_size_train_that_diverges_without():
    X, y, _ = table()
    parameters = {"solver": "sgd", "activation": "identity", "learning_rate_init": 1e3, "momentum": 0.0}
    with pytest.raises(ValueError, match="non-finite"):
        classifier(**parameters).fit(X * 1e100, y)
    clf = classifier(**parameters, max_grad_norm=1e-3).fit(X * 1e100, y)
    assert np.isfinite(clf.loss_curve_).all()
    assert min(clf.loss_curve_[1:]) < clf.loss_curve_[0]


@pytest.mark.parametrize("solver", STOCHASTIC)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("size", [1e200, 1e307], ids=["gradient finite, its squares not", "gradient not finite"])
def test_gradient_whose_norm_is_not_finite_is_an_error_and_not_clipped_to_nothing(size, early_stopping, solver):
    X, y, _ = table()
    clf = classifier(solver=solver, activation="identity", max_grad_norm=1.0, early_stopping=early_stopping)
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(X * size, y)
    assert all(np.isfinite(array).all() for array in parameters_of(clf))


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_weight_decay_far_below_the_precision_of_float32_shrinks_as_in_float64(solver):
    """1 - 1e-8 is 1 in float32; taken from a step that moves, the decay is felt."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 8))
    y = (X[:, 0] + rng.standard_normal(2000) > 0).astype(int)
    parameters = {"solver": solver, "hidden_layer_sizes": (), "alpha": 0.0, "momentum": 0.0, "beta_2": 0.9}
    parameters |= {"learning_rate": lambda t: 1.0, "learning_rate_init": 1e-3, "max_iter": 20, "batch_size": 2}
    taken = {}
    for dtype in ("float32", "float64"):
        W = [
            classifier(weight_decay=decay, dtype=dtype, **parameters).fit(X, y).coefs_[0].astype(float)
            for decay in (0.0, 1e-5)
        ]
        taken[dtype] = W[1] - W[0]
    # 20,000 steps that take 1e-8 each. In float32 each is rounded to 6e-8, either way: 3 % was seen of it in the sum.
    assert np.abs(taken["float64"]).max() > 1e-5
    assert np.abs(taken["float32"] - taken["float64"]).max() < 0.1 * np.abs(taken["float64"]).max()


def test_weight_decay_leaves_biases_alone():
    X, y, _ = table()
    clf = classifier(hidden_layer_sizes=(), solver="sgd", alpha=0.0, momentum=0.0, weight_decay=5.0, batch_size=90)
    clf.set_params(max_iter=1, learning_rate_init=0.01, shuffle=False, learning_rate=lambda t: 1.0)
    with_decay = clf.fit(X, y)
    W, b = with_decay.coefs_[0], with_decay.intercepts_[0]
    without = classifier(**{**clf.get_params(), "weight_decay": 0.0}).fit(X, y)
    W_0 = twin.initial((4, 1), "relu", np.random.RandomState(0))[0][0]
    np.testing.assert_allclose(W, without.coefs_[0] - 0.01 * 5 * W_0, rtol=0, atol=1e-15)
    np.testing.assert_array_equal(b, without.intercepts_[0])


@ignores_max_iter
def test_weight_decay_without_any_gradient_is_a_geometric_series():
    """Of a table of zeros, only the bias has a gradient."""
    X, y = np.zeros((40, 4)), np.arange(40) % 2
    clf = classifier(hidden_layer_sizes=(), solver="adam", alpha=0.0, weight_decay=0.2).fit(X, y)
    W_0 = twin.initial((4, 1), "relu", np.random.RandomState(0))[0][0]
    # 6 epochs of 2 steps, each of which keeps 1 - 0.05 0.2.
    np.testing.assert_allclose(clf.coefs_[0], W_0 * (1 - 0.05 * 0.2) ** 12, rtol=1e-14)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("weight_decay", -0.1), ("weight_decay", None), ("weight_decay", np.nan), ("max_grad_norm", 0.0),
        ("max_grad_norm", -1.0), ("max_grad_norm", "1"), ("label_smoothing", 1.0), ("label_smoothing", -0.1),
        ("label_smoothing", np.nan),
    ],
)  # fmt: skip
def test_values_that_mean_nothing_are_errors_that_name_the_parameter(parameter, value):
    X, y, _ = table()
    with pytest.raises(ValueError, match=parameter):
        classifier(**{parameter: value}).fit(X, y)


@pytest.mark.parametrize(
    ("parameter", "value"), [("weight_decay", 0.1), ("max_grad_norm", 1.0), ("max_grad_norm", 1e9)]
)
def test_lbfgs_refuses_what_belongs_to_single_steps(parameter, value):
    X, y, _ = table()
    clf = classifier(solver="lbfgs", **{parameter: value})
    with pytest.raises(ValueError, match=rf"{parameter}={value} needs a solver .*not 'lbfgs'"):
        clf.fit(X, y)
    assert not hasattr(clf, "coefs_")


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("sparse", [False, True])
def test_gradient_of_smoothed_labels_is_the_costs_difference(sparse, activation, n_outputs):
    X, y, weight = table(15, n_outputs, sparse)
    clf = BCEMLPClassifier((4, 3), activation, alpha=0.1, label_smoothing=0.3, random_state=1)
    check = check_gradients(clf, X, y, weight)
    assert check.largest <= 1e-8, str(check)  # as tests/test_gradients.py has it without smoothing
    dense = X.toarray() if sparse else X
    W, b = twin.initial((4, 4, 3, n_outputs), activation, np.random.RandomState(1))
    Z = twin.forward(dense, W, b, activation)[0][-1]
    expected = twin.cost(twin.smoothed(y.reshape(len(y), -1), 0.3), Z, weight, W, 0.1)
    assert check.cost == pytest.approx(expected, rel=1e-13)


def soft_targets_as_rows(X, y, weight, smoothing):
    """Each row twice: with its own label and most of the weight, and with the other one and the rest."""
    return (
        np.vstack([X, X]), np.r_[y, 1 - y], np.r_[weight * (1 - smoothing / 2), weight * smoothing / 2],
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.1, 0.999])
def test_cost_and_gradient_of_smoothed_labels_are_those_of_rows_with_either_label(smoothing, dtype):
    X, y, weight = table()
    layout = Layout((4, 5, 1), "tanh")
    theta = layout.initial(np.random.RandomState(0), dtype)
    results = []
    for data, smooth in (((X, y, weight), smoothing), (soft_targets_as_rows(X, y, weight, smoothing), 0.0)):
        rows, targets, weights = data
        sample = Sample(doors.Table(rows), targets[:, None].astype(np.uint8), weights.astype(dtype), smoothing=smooth)
        function = CostFunction(layout, sample, 0.3, dtype, 1)
        results.append((*function(theta), function.cost(theta)))
    (cost, gradient, cost_alone), (cost_rows, gradient_rows, _) = results
    eps = np.finfo(dtype).eps
    assert cost == pytest.approx(cost_rows, rel=float(8 * eps))
    assert cost_alone == pytest.approx(cost, rel=float(8 * eps))
    # Sums of 90 terms, and of 180 in another order.
    assert np.abs(gradient - gradient_rows).max() <= 64 * eps * np.abs(gradient_rows).max()


def test_lbfgs_on_smoothed_labels_finds_the_minimum_of_rows_with_either_label():
    X, y, weight = table()
    # Without a hidden layer, and with the L2 term, there is one minimum.
    parameters = {"hidden_layer_sizes": (), "solver": "lbfgs", "alpha": 1.0, "tol": 1e-9, "max_iter": 1000}
    smoothed = classifier(label_smoothing=0.4, **parameters).fit(X, y, weight)
    rows = classifier(**parameters).fit(*soft_targets_as_rows(X, y, weight, 0.4))
    assert smoothed.loss_ == pytest.approx(rows.loss_, rel=1e-12)  # to second order in the distance from the minimum
    for array, expected in zip(parameters_of(smoothed), parameters_of(rows), strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-5)
    hard = classifier(**parameters).fit(X, y, weight)
    assert np.abs(hard.coefs_[0]).max() > 1.2 * np.abs(smoothed.coefs_[0]).max()


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_losses_of_training_are_of_smoothed_labels_and_validation_losses_of_hard_ones(n_outputs):
    X, y, weight = table(n_outputs=n_outputs)
    X_val, y_val = X[:40], y[:40]
    # One step, of rate 0, on all rows: the loss is that of the start, and so of the model.
    clf = classifier(learning_rate=lambda t: 0.0, label_smoothing=0.3, batch_size=90, max_iter=1, alpha=0.0)
    clf.fit(X, y, weight, X_val=X_val, y_val=y_val)
    Y = y.reshape(len(y), -1)
    Z = twin.forward(X, clf.coefs_, clf.intercepts_, "relu")[0][-1]
    assert clf.loss_curve_ == [pytest.approx(twin.cost(twin.smoothed(Y, 0.3), Z, weight), rel=1e-13)]
    assert clf.validation_loss_curve_ == [pytest.approx(twin.cost(Y[:40], Z[:40]), rel=1e-13)]
    if n_outputs == 1:
        assert clf.validation_loss_curve_[0] == pytest.approx(log_loss(y_val, clf.predict_proba(X_val)), rel=1e-12)


@ignores_max_iter
def test_smoothing_keeps_logits_of_a_separable_table_finite():
    """The least loss is at p = smoothing / 2 and 1 - smoothing / 2."""
    X, y = np.array([[1.0], [-1.0]] * 20), np.array([1, 0] * 20)
    clf = classifier(hidden_layer_sizes=(), label_smoothing=0.2, alpha=0.0, learning_rate="cosine", max_iter=300)
    clf.fit(X, y)
    np.testing.assert_allclose(clf.predict_proba([[1.0], [-1.0]])[:, 1], [0.9, 0.1], atol=1e-3)


WAYS = {
    "dense": {},
    "CSR": {"sparse": True},
    "multilabel": {"n_outputs": 3},
    "multilabel CSR": {"n_outputs": 3, "sparse": True},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_all_options_at_once_train_alike_from_the_same_seed(solver, early_stopping, schedule, way, monkeypatch):
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (self._limit, 60.0))
    X, y, weight = table(**WAYS[way])
    parameters = {**ALL_OPTIONS, "learning_rate": schedule, "solver": solver, "early_stopping": early_stopping}
    models = []
    for n_threads in (1, 2):
        clf = classifier(**parameters, warm_start=True, n_threads=n_threads).fit(X, y, weight)
        first = clf.loss_curve_[0]
        clf.fit(X, y, weight)
        if not early_stopping:
            clf.partial_fit(X, y, weight)
        models.append(clf)
    assert_same_bits(parameters_of(models[0]), parameters_of(models[1]))
    assert models[0].loss_curve_ == models[1].loss_curve_
    assert np.isfinite(models[0].loss_curve_).all()
    assert len(models[0].loss_curve_) == 12 + (not early_stopping)
    assert min(models[0].loss_curve_) < first
    assert np.isfinite(models[0].predict_proba(X)).all()


def test_grid_search_in_a_pipeline_tries_weight_decay_and_learning_rate():
    X, y, _ = table()
    model = make_pipeline(StandardScaler(), classifier(**ALL_OPTIONS))
    grid = {
        "bcemlpclassifier__weight_decay": [0.0, 0.1, 10.0],
        "bcemlpclassifier__learning_rate": ["constant", "cosine", "one_cycle"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        search = GridSearchCV(model, grid, cv=3, scoring="neg_log_loss").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) == 9
    assert np.isfinite(search.predict_proba(X)).all()


@pytest.mark.parametrize("rows", [15, 90])
def test_weight_decay_is_alpha_divided_by_the_rows_of_a_batch_where_steps_are_plain(rows):
    X, y, _ = table()
    plain = {"solver": "sgd", "momentum": 0.0, "learning_rate": "cosine", "batch_size": rows}
    decay = classifier(alpha=0.0, weight_decay=0.3, **plain).fit(X, y)
    penalty = classifier(alpha=0.3 * rows, weight_decay=0.0, **plain).fit(X, y)
    for array, expected in zip(parameters_of(decay), parameters_of(penalty), strict=True):
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-13)  # up to 36 steps of roundings of 1e-16
