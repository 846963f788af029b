"""Dropout: its masks, the gradient under a mask, and training with them."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from skbce import BCEMLPClassifier, _threads, check_gradients
from skbce._parameters import Layout, Workspace, known_dropout
from skbce.kernels import doors
from tests import numpy_twin as twin
from tests.model_checks import assert_same_bits, parameters_of, rows_for_threads

DTYPES = (np.float32, np.float64)

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:Got `batch_size`.*clipped:UserWarning"
)


def mask(p, rows, units, seed=1, step=1, layer=1, first_row=0, dtype=np.float64):
    """The mask of some rows in a layer."""
    A, D = np.ones((2, rows, units), dtype)
    doors.apply_dropout(p, seed, step, layer, first_row, A, D)
    np.testing.assert_array_equal(A, D)
    return A


def table(n_rows=1800, n_features=60, dtype=np.float64, sparse=False):
    return rows_for_threads(n_rows, n_features, dtype, sparse)


def classifier(**parameters):
    # A batch of 800 rows and 6,000 parameters is 8 shards.
    parameters = {"hidden_layer_sizes": (64, 32), "batch_size": 800, "max_iter": 3, "random_state": 0, **parameters}
    return BCEMLPClassifier(**parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.9])
def test_share_kept_is_1_minus_p_and_kept_units_are_divided_by_it(p, dtype):
    M = mask(p, 1000, 333, dtype=dtype)
    assert set(np.unique(M)) == {0, dtype(1 / (1 - p))}
    n, kept = M.size, np.count_nonzero(M)
    # A binomial number; 5 of its standard deviations are exceeded once in 2 million.
    assert abs(kept - n * (1 - p)) <= 5 * np.sqrt(n * p * (1 - p))
    for axis, size in ((0, 1000), (1, 333)):
        # Each unit and each row by itself; of 1333 numbers one beyond 5.5 is seen once in 20,000.
        counts = np.count_nonzero(M, axis=axis)
        assert np.abs(counts - size * (1 - p)).max() <= max(5.5 * np.sqrt(size * p * (1 - p)), 12)


def test_probability_0_keeps_everything_and_one_near_1_almost_nothing():
    np.testing.assert_array_equal(mask(0.0, 9, 7), 1)
    assert np.count_nonzero(mask(1 - 1e-9, 1000, 100)) == 0  # 1e-4 expected


PAIRS = {
    "units next to each other": lambda: (mask(0.5, 2000, 500)[:, 1:], mask(0.5, 2000, 500)[:, :-1]),
    "units 16 apart": lambda: (mask(0.5, 2000, 500)[:, 16:], mask(0.5, 2000, 500)[:, :-16]),
    "rows next to each other": lambda: (mask(0.5, 2001, 500)[1:], mask(0.5, 2000, 500)),
    "steps": lambda: (mask(0.5, 2000, 500, step=1), mask(0.5, 2000, 500, step=2)),
    "layers": lambda: (mask(0.5, 2000, 500, layer=1), mask(0.5, 2000, 500, layer=2)),
    "seeds": lambda: (mask(0.5, 2000, 500, seed=1), mask(0.5, 2000, 500, seed=2)),
    "seed and step exchanged": lambda: (mask(0.5, 2000, 500, seed=2, step=3), mask(0.5, 2000, 500, seed=3, step=2)),
    "layer and row exchanged": lambda: (
        np.vstack([mask(0.5, 1, 500, layer=2, first_row=r, step=s) for s in range(2000) for r in (3,)]),
        np.vstack([mask(0.5, 1, 500, layer=3, first_row=r, step=s) for s in range(2000) for r in (2,)]),
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_masks_are_not_correlated(pair):
    one, other = PAIRS[pair]()
    # 1 and -1 in place of kept and dropped: the mean of n products has a standard deviation of 1 / sqrt(n).
    products = (one - 1) * (other - 1)
    assert abs(products.mean()) <= 5 / np.sqrt(products.size)


def test_mask_of_rows_does_not_depend_on_where_a_block_begins():
    whole = mask(0.3, 50, 40)
    parts = [mask(0.3, n, 40, first_row=at) for at, n in ((0, 1), (1, 20), (21, 29))]
    np.testing.assert_array_equal(np.vstack(parts), whole)
    np.testing.assert_array_equal(mask(0.3, 50, 17), whole[:, :17])
    np.testing.assert_array_equal(mask(0.3, 50, 40, dtype=np.float32) > 0, whole > 0)


def cost_and_gradient(layout, theta, X, Y, weight=None, seed=1, step=1, alpha=0.0, block_rows=None):
    """The door, under the masks of a step."""
    work = Workspace(layout, len(Y), theta.dtype, 1)
    gradient = np.empty_like(theta)
    cost = doors.cost_and_gradient(
        layout.network, alpha, theta, gradient, doors.Table(X), Y, weight, 0.0, block_rows or work.block_rows,
        work.blocks, work.gradients, work.partials, 1, dropout=layout.dropout, dropout_seed=seed, dropout_step=step,
    )  # fmt: skip
    return cost, gradient


def masked_twin(units, f, dropout, theta, X, Y, weight=None, alpha=0.0, step=1):
    """Cost and gradient from the equations, with the masks that the door for them gives."""
    W, b = twin.unflat(theta.astype(float), units)
    A, D, Z = [X.astype(float)], [], None
    for l in range(len(W)):
        Z = A[l] @ W[l] + b[l]
        if l < len(W) - 1:
            M = mask(dropout[l], len(X), units[l + 1], step=step, layer=l + 1)
            A.append(twin.activate(f[l], Z) * M)
            D.append(twin.derivative(f[l], Z) * M)
    total = twin.total_weight(X, weight)
    dZ = (twin.sigmoid(Z) - Y) * (1 if weight is None else weight[:, None])
    dW, db = [], []
    for l in reversed(range(len(W))):
        dW.insert(0, (A[l].T @ dZ + alpha * W[l]) / total)
        db.insert(0, dZ.sum(axis=0) / total)
        if l:
            dZ = (dZ @ W[l].T) * D[l - 1]
    return twin.cost(Y, Z, weight, W, alpha), twin.flat(dW, db)


CASES = [
    ((6, 5, 1), ("relu",), 0.5),
    ((6, 7, 1), ("gelu",), [0.3]),
    ((6, 5, 4, 1), ("tanh", "relu"), [0.5, 0.2]),
    ((6, 5, 4, 3), ("leaky_relu", "mish"), 0.4),
    ((6, 5, 4, 2), ("identity", "silu"), [0.0, 0.5]),
    ((6, 5, 4, 1), ("logistic", "elu"), [0.5, 0.0]),
    ((6, 5, 7, 4, 1), ("selu", "softplus", "relu"), 0.3),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(("units", "f", "p"), CASES)
def test_cost_and_gradient_under_masks_are_the_twins(units, f, p, sparse, dtype):
    X, Y, weight, W, b = twin.example(units, 23, dtype=dtype)
    theta, layout = twin.flat(W, b), Layout(units, f, sparse, p)
    cost, gradient = masked_twin(units, f, known_dropout(p, len(f)), theta, X, Y, weight, 0.3)
    for block_rows in (23, 5):
        result = cost_and_gradient(layout, theta, sp.csr_matrix(X) if sparse else X, Y, weight, 1, 1, 0.3, block_rows)
        eps = float(np.finfo(dtype).eps)
        # Sums over 23 rows, layer after layer, of numbers twice as large under p = 0.5.
        assert result[0] == pytest.approx(cost, rel=16 * eps, abs=0)
        assert np.abs(result[1] - gradient).max() <= 64 * eps * np.abs(gradient).max()


@pytest.mark.parametrize(("units", "f", "p"), CASES)
def test_gradient_under_masks_held_is_the_costs_difference(units, f, p):
    X, Y, weight, W, b = twin.example(units, 15)
    theta, layout = twin.flat(W, b), Layout(units, f, False, p)
    gradient = cost_and_gradient(layout, theta, X, Y, weight)[1]
    h = 1e-4
    for i in range(0, theta.size, 3):
        values = []
        for step in (-2, -1, 1, 2):
            moved = theta.copy()
            moved[i] += step * h
            values.append(cost_and_gradient(layout, moved, X, Y, weight)[0])
        difference = (8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * h)
        # Rounding of a cost of 1, 1e-16, over h.
        assert difference == pytest.approx(gradient[i], rel=0, abs=1e-11 * 10)


def test_steps_of_a_run_have_masks_of_their_own_counted_from_the_batchs_first_row():
    units, f, p = (4, 6, 3, 1), ("relu", "gelu"), [0.5, 0.2]
    X, Y, _, W, b = twin.example(units, 25)
    rule = {"solver": 0, "learning_rate": 0.1, "alpha": 0.0, "momentum": 0.0, "nesterov": False}
    rule |= {"beta1": 0.0, "beta2": 0.0, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": np.inf}
    layout, theta = Layout(units, f, False, p), twin.flat(W, b)
    work, expected = Workspace(layout, 10, float, 1), theta.copy()
    for start, stop, t in ((0, 20, 7), (20, 25, 9)):
        doors.run_steps(
            layout.network, rule, t, theta, np.zeros_like(theta), None, doors.Table(X), Y, None, None,
            0.0, None, start, stop, 10, 60.0, 0.0, work.block_rows, work.blocks, work.gradients, work.partials, 1,
            dropout=layout.dropout, dropout_seed=1,
        )  # fmt: skip
    for t, rows in ((8, slice(0, 10)), (9, slice(10, 20)), (10, slice(20, 25))):
        expected -= 0.1 * masked_twin(units, f, p, expected, X[rows], Y[rows], step=t)[1]
    np.testing.assert_allclose(theta, expected, rtol=0, atol=1e-14)  # three steps of sums of 10 terms of size 1


def test_mean_over_many_masks_is_the_layer_without():
    # With W_2 = 0, dW_2 = A_1 M (sigmoid(b_2) - y) for a single row: it shows the masked units of a linear layer.
    units, p, n = (3, 40, 1), 0.4, 4000
    X, _, _, W, b = twin.example(units, 1)
    W[1][:] = 0
    layout, theta = Layout(units, "identity", False, p), twin.flat(W, b)
    A = (X @ W[0] + b[0])[0] * twin.sigmoid(b[1])
    Y, seen = np.zeros((1, 1), np.uint8), np.zeros((n, 40))
    for step in range(n):
        seen[step] = layout.views(cost_and_gradient(layout, theta, X, Y, step=step)[1])[0][1][:, 0]
    # A M has the standard deviation |A| sqrt(p / (1 - p)); 40 means of n stay within 5 of theirs.
    assert (np.abs(seen.mean(axis=0) - A) <= 5 * np.abs(A) * np.sqrt(p / (1 - p) / n)).all()
    assert set(np.unique((seen / A).round(9))) == {0, round(1 / (1 - p), 9)}


PARAMETERS = {
    "adam": {"dropout": 0.3},
    "sgd, by layer": {"solver": "sgd", "dropout": [0.0, 0.5], "activation": ["relu", "gelu"]},
    "early stopping": {"dropout": [0.2, 0.0], "early_stopping": True},
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_any_number_of_threads_gives_the_same_bits(all_threads, parameters, sparse, dtype):
    X, y = table(dtype=dtype, sparse=sparse)
    models = [classifier(n_threads=n, **parameters).fit(X, y) for n in (1, 2, 3, 4, 8)]
    for clf in models[1:]:
        assert_same_bits(parameters_of(clf), parameters_of(models[0]))
        assert clf.loss_curve_ == models[0].loss_curve_
    without = classifier(**parameters | {"dropout": 0.0}).fit(X, y)
    assert without.loss_curve_ != models[0].loss_curve_


def test_bits_do_not_depend_on_where_an_epoch_is_cut_into_runs(monkeypatch):
    X, y = table()
    expected = classifier(dropout=0.5, batch_size=100).fit(X, y)
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (1, -1.0))  # a step a run
    assert_same_bits(parameters_of(classifier(dropout=0.5, batch_size=100).fit(X, y)), parameters_of(expected))


@pytest.mark.parametrize("dropout", [0, 0.0, [0.0, 0], (0, 0), np.zeros(2)], ids=repr)
def test_dropout_of_0_gives_the_bits_of_a_model_without(dropout):
    X, y = table(400)
    expected = classifier().fit(X, y)
    clf = classifier(dropout=dropout).fit(X, y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert Layout((60, 64, 32, 1), "relu", False, dropout).dropout is None


def test_prediction_and_validation_use_all_units():
    X, y = table(400)
    clf = classifier(dropout=0.5, early_stopping=True).fit(X, y)
    Z = twin.forward(X, clf.coefs_, clf.intercepts_, "relu")[0][-1][:, 0]
    # Three layers of sums of up to 64 terms of size 1.
    np.testing.assert_allclose(clf.decision_function(X), Z, rtol=0, atol=1e-12)
    # As found without dropout by a model with these parameters: the score of the kept epoch.
    held_out = np.isin(np.arange(400), split_of(400, y, clf))
    assert clf.score(X[held_out], y[held_out]) == clf.best_validation_score_


def split_of(n_rows, y, clf):
    """The rows that fit held out: the first draw after the parameters and the seed of the masks."""
    from sklearn.model_selection import train_test_split

    random_state = np.random.RandomState(0)
    Layout((60, 64, 32, 1), "relu").initial(random_state, np.float64)
    random_state.randint(2**63 - 1, dtype=np.int64)
    return train_test_split(np.arange(n_rows), test_size=0.1, random_state=random_state, stratify=y)[1]


def test_start_is_that_of_a_model_without_dropout():
    X, y = table(400)
    start = [parameters_of(classifier(dropout=p, learning_rate_init=1e-300, max_iter=1).fit(X, y)) for p in (0.0, 0.5)]
    assert_same_bits(start[1], start[0])


def test_partial_fit_goes_on_with_other_masks(monkeypatch, all_threads):
    X, y = table(800)
    seen, run_steps = [], doors.run_steps

    def recorded(*args, **masks):
        seen.append((args[2], masks["dropout_seed"]))
        return run_steps(*args, **masks)

    monkeypatch.setattr(doors, "run_steps", recorded)
    clf = classifier(dropout=0.5, shuffle=False, batch_size=400)
    for _ in range(3):
        clf.partial_fit(X, y, classes=[0, 1])
    assert [t for t, _ in seen] == [0, 2, 4]
    assert len(set(seen)) == 3
    state = clone(clf).set_params(random_state=np.random.RandomState(0))
    for _ in range(3):
        state.partial_fit(X, y, classes=[0, 1])
    assert len({seed for _, seed in seen[3:]}) == 3  # a generator goes on, too


def test_check_gradients_leaves_dropout_out():
    X, y = table(30, 4)
    clf = classifier(dropout=0.5, hidden_layer_sizes=(4, 3), activation="tanh")
    assert check_gradients(clf, X, y).cost == check_gradients(clf.set_params(dropout=0.0), X, y).cost


def test_dropout_with_lbfgs_raises_an_error_that_says_what_it_needs():
    X, y = table(50, 4)
    for dropout in (0.5, [0.0, 0.1]):
        with pytest.raises(ValueError, match=r"dropout=.* needs a solver that goes batch by batch"):
            classifier(dropout=dropout, solver="lbfgs").fit(X, y)
    classifier(dropout=0.0, solver="lbfgs").fit(X, y)


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        ([0.5], r"dropout as a sequence needs one entry for each hidden layer, which are 2, got 1: \[0.5\]"),
        ([0.5, 0.5, 0.5], "which are 2, got 3"),
        ([0.5, 1.0], r"dropout must lie in \[0, 1\), .* got \[0.5, 1.0\]"),
        ([-0.1, 0.5], r"dropout must lie in \[0, 1\)"),
        ([np.nan, 0.5], r"dropout must lie in \[0, 1\)"),
        (["0.5", 0.5], r"dropout must lie in \[0, 1\)"),
        ([[0.5], 0.5], r"dropout must lie in \[0, 1\)"),
        (1.0, "The 'dropout' parameter of BCEMLPClassifier must be"),
        (-0.5, "The 'dropout' parameter of BCEMLPClassifier must be"),
        ("half", "The 'dropout' parameter of BCEMLPClassifier must be"),
    ],
)
def test_dropout_that_is_no_probability_for_each_hidden_layer_is_named(dropout, message):
    X, y = table(50, 4)
    with pytest.raises(ValueError, match=message):
        classifier(dropout=dropout).fit(X, y)


def test_dropout_of_a_network_without_hidden_layers_changes_nothing():
    X, y = table(200, 4)
    expected = classifier(hidden_layer_sizes=()).fit(X, y)
    assert_same_bits(parameters_of(classifier(hidden_layer_sizes=(), dropout=0.5).fit(X, y)), parameters_of(expected))


def test_dropout_holds_back_a_model_that_would_learn_its_rows_by_heart():
    rng = np.random.default_rng(0)
    X, X_new = rng.standard_normal((2, 150, 40))
    y, y_new = ((table[:, 0] + 1.5 * rng.standard_normal(150) > 0).astype(int) for table in (X, X_new))
    losses = {}
    for p in (0.0, 0.5):
        clf = BCEMLPClassifier((100,), dropout=p, max_iter=150, random_state=0).fit(X, y)
        Z = clf.decision_function(X_new)
        losses[p] = np.logaddexp(0, np.where(y_new == 1, -Z, Z)).mean()
    assert losses[0.5] < losses[0.0]
