"""The learning rate over the course of training: values, which step gets which, and what happens between calls."""

import math
import pickle

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skbce import BCEMLPClassifier, _threads
from skbce._training import SCHEDULES, schedules
from tests import numpy_twin as twin
from tests.model_checks import assert_same_bits, parameters_of

STOCHASTIC = ("sgd", "adam")


def table(n_rows=90):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 4))
    return X, (X[:, 0] - X[:, 1] + 0.5 * rng.standard_normal(n_rows) > 0).astype(int)


def classifier(learning_rate="cosine", **parameters):
    """A small one that goes through all its epochs."""
    parameters = {"hidden_layer_sizes": (5,), "batch_size": 20, "max_iter": 6, "random_state": 0, **parameters}
    parameters = {"learning_rate_init": 0.05, "n_iter_no_change": np.inf, **parameters}
    return BCEMLPClassifier(learning_rate=learning_rate, **parameters)


def half(progress):
    """A schedule that a pickle can hold."""
    return 0.5


KNOWN = {
    "cosine": {0: 1, 1 / 3: 3 / 4, 1 / 2: 1 / 2, 2 / 3: 1 / 4, 1: 0},
    # Peaks at 0.3; halfway up and halfway down it is halfway between its ends.
    "one_cycle": {0: 1 / 25, 0.15: 0.52, 0.3: 1, 0.65: (1 + 1 / 250_000) / 2, 1: 1 / 250_000},
    # 1 + 15 t is 1, 2, 4, 8, 16 at the ends of the cycles, and in the middle of each sqrt(2) times its beginning.
    "coslog4": {
        **dict.fromkeys([0, 1 / 15, 3 / 15, 7 / 15, 1], 0),
        **dict.fromkeys([(2 ** (k + 0.5) - 1) / 15 for k in range(4)], 1),
        (2**0.25 - 1) / 15: 1 / 2,
    },
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_has_the_values_of_its_formula(name):
    progress = np.array(list(KNOWN[name]))
    # Cosines of angles up to 8 pi, each right to 1e-15.
    np.testing.assert_allclose(SCHEDULES[name](progress), list(KNOWN[name].values()), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_stays_between_0_and_1_and_does_not_jump(name):
    factors = SCHEDULES[name](np.linspace(0, 1, 100_001))
    assert 0 <= factors.min() < 1e-5
    assert factors.max() == pytest.approx(1, abs=1e-6)  # the grid may miss the peak
    # The steepest is coslog4's first cycle: pi 15 / log 2 at most.
    assert np.abs(np.diff(factors)).max() <= math.pi * 15 / math.log(2) / 100_000


@pytest.mark.parametrize("n_steps", [10, 1000])
def test_one_cycle_is_torchs_but_for_one_step(n_steps):
    torch = pytest.importorskip("torch")
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=n_steps, cycle_momentum=False, base_momentum=0.9
    )
    expected = []
    for _ in range(n_steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    factors = schedules.factors("one_cycle", 0, n_steps, 1)
    # PyTorch counts progress from 0 to N - 1 and puts its peak a step sooner, so that its last step has the lowest
    # rate; here step k of N is at k / N. On the way up, the steeper one, a step is 1 / (0.3 N - 1) of half a cosine,
    # whose slope is pi / 2 at most.
    assert np.abs(factors - expected).max() <= math.pi / 2 / (0.3 * n_steps - 1)
    assert factors[0] == pytest.approx(expected[0], rel=1e-12)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_callable_gets_the_progress_of_every_step(early_stopping):
    X, y = table()
    seen = []
    clf = classifier(lambda t: seen.append(t) or 1.0, early_stopping=early_stopping).fit(X, y)
    n_steps = clf.max_iter * 5  # batches of 20, and one of 10, or of 1 where 9 rows are held out
    np.testing.assert_allclose(seen, np.arange(n_steps) / n_steps, rtol=1e-14)
    assert all(type(t) is float for t in seen)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_learning_rate_curve_has_the_rate_of_each_epochs_last_step(solver, name):
    X, y = table()
    clf = classifier(name, solver=solver).fit(X, y)
    progress = (np.arange(1, 7) * 5 - 1) / 30
    np.testing.assert_allclose(clf.learning_rate_curve_, 0.05 * SCHEDULES[name](progress), rtol=1e-12)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_learning_rate_curve_of_a_constant_rate_is_constant(solver):
    X, y = table()
    with pytest.warns(ConvergenceWarning):
        clf = classifier("constant", solver=solver).fit(X, y)
    assert clf.learning_rate_curve_ == [0.05] * 6


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_step_takes_its_own_rate(momentum, weighted, cut, monkeypatch):
    """A batch that is passed over, for its weights are zero, still counts: progress is that of the rows."""
    if cut:
        monkeypatch.setattr(_threads.Pace, "choose", lambda self: (1, -1.0))  # a step a run
    X, y = table()
    units = (4, 5, 1)
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    if weighted:
        weight[20:40] = 0
    clf = classifier("cosine", solver="sgd", shuffle=False, momentum=momentum, nesterovs_momentum=False, alpha=0.3)
    clf.fit(X, y, weight)
    W, b = twin.initial(units, "relu", np.random.RandomState(0))
    theta = twin.flat(W, b)
    velocity = np.zeros_like(theta)
    for k in range(30):
        rows = slice(k % 5 * 20, k % 5 * 20 + 20)
        part = None if weight is None else weight[rows]
        if part is not None and not part.any():
            continue
        g = twin.gradient_at(theta, units, "relu", X[rows], y[rows, None], part, 0.3)
        rate = 0.05 * (1 + math.cos(math.pi * k / 30)) / 2
        theta, velocity = twin.sgd(theta, g, velocity, learning_rate=rate, momentum=momentum, nesterov=False)
    # 30 steps of roundings of 1e-16.
    np.testing.assert_allclose(twin.flat(clf.coefs_, clf.intercepts_), theta, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", [*SCHEDULES, half])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_max_iter_on_a_schedule_warns_of_nothing(solver, name):
    X, y = table()
    assert classifier(name, solver=solver).fit(X, y).n_iter_ == 6  # warnings are errors here


@pytest.mark.parametrize("name", SCHEDULES)
def test_training_that_makes_no_progress_ends_before_its_schedule(name):
    X, y = table()
    clf = classifier(name, max_iter=50, tol=1.0, n_iter_no_change=3).fit(X, y)
    assert clf.n_iter_ == len(clf.learning_rate_curve_) == 5


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_partial_fit_goes_through_the_schedule_as_fit_does(solver, name):
    X, y = table()
    expected = classifier(name, solver=solver, shuffle=False).fit(X, y)
    clf = classifier(name, solver=solver, shuffle=False)
    for _ in range(6):
        clf.partial_fit(X, y, classes=[0, 1])
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.learning_rate_curve_ == expected.learning_rate_curve_


def test_partial_fit_after_the_schedule_stays_at_its_end():
    X, y = table()
    clf = classifier("one_cycle", max_iter=2)
    for _ in range(4):
        clf.partial_fit(X, y, classes=[0, 1])
    np.testing.assert_allclose(clf.learning_rate_curve_[2:], [0.05 / 250_000] * 2, rtol=1e-12)


@pytest.mark.parametrize("schedule", ["cosine", "coslog4", lambda t: 1 - t])
def test_partial_fit_warns_once_where_a_schedule_has_come_to_a_rate_of_0(schedule):
    X, y = table()
    clf = classifier(schedule, max_iter=2)
    for _ in range(2):
        clf.partial_fit(X, y, classes=[0, 1])
    with pytest.warns(UserWarning, match=r"has come to its end after max_iter=2 epochs, and partial_fit trains"):
        clf.partial_fit(X, y)
    clf.partial_fit(X, y)
    assert clf.learning_rate_curve_[2:] == [0, 0]


def test_partial_fit_after_fit_goes_on_behind_its_epochs():
    X, y = table()
    clf = classifier("cosine").fit(X, y)
    clf.set_params(max_iter=12).partial_fit(X, y)
    assert clf.learning_rate_curve_[-1] == pytest.approx(0.05 * SCHEDULES["cosine"]((7 * 5 - 1) / 60), rel=1e-12)


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_fit_with_warm_start_begins_the_schedule_anew(solver):
    X, y = table()
    clf = classifier("one_cycle", solver=solver, warm_start=True).fit(X, y)
    once = list(clf.learning_rate_curve_)
    clf.fit(X, y)
    assert clf.learning_rate_curve_ == once * 2
    assert len(clf.loss_curve_) == 12


@pytest.mark.parametrize("solver", STOCHASTIC)
def test_constant_rate_after_a_schedule_is_learning_rate_init(solver):
    X, y = table()
    clf = classifier("cosine", solver=solver).fit(X, y)
    clf.set_params(learning_rate="constant").partial_fit(X, y)
    assert clf.learning_rate_curve_[-1] == 0.05


NO_FACTORS = {
    "nan": np.nan,
    "infinite": np.inf,
    "negative": -0.5,
    "a str": "0.5",
    "None": None,
    "complex": 1j,
    "a list": [0.5],
    "an array": np.array([0.5]),
}


@pytest.mark.parametrize("factor", NO_FACTORS.values(), ids=NO_FACTORS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_callable_that_gives_no_factor_is_an_error_that_keeps_the_model(method, factor):
    X, y = table()
    clf = classifier(half).fit(X, y)
    bits = [array.copy() for array in parameters_of(clf)]
    attributes = {name: value for name, value in vars(clf).items() if name.endswith("_")}
    clf.set_params(learning_rate=lambda t: 1.0 if t < 0.5 else factor, max_iter=7)
    with pytest.raises(ValueError, match=r"learning_rate\(0\.\d+\) must be a finite factor >= 0, got"):
        getattr(clf, method)(X, y)
    assert_same_bits(parameters_of(clf), bits)
    assert {name: value for name, value in vars(clf).items() if name.endswith("_")} == attributes
    clf.set_params(learning_rate=half).partial_fit(X, y)
    assert len(clf.loss_curve_) == 7


def test_callable_that_gives_no_factor_leaves_a_new_estimator_unfitted():
    X, y = table()
    clf = classifier(lambda t: np.nan)
    with pytest.raises(ValueError, match="learning_rate"):
        clf.fit(X, y)
    assert not [name for name in vars(clf) if name.endswith("_") and not name.startswith("_")]


def test_error_of_a_callable_comes_through():
    X, y = table()
    with pytest.raises(ZeroDivisionError):
        classifier(lambda t: 1 / 0).fit(X, y)


FACTORS = {
    "int": lambda t: 1,
    "bool": lambda t: True,
    "float32": lambda t: np.float32(1),
    "array without dimensions": lambda t: np.where(t < 2, 1.0, 0.0),
    "int array without dimensions": lambda t: np.array(1),
}


@pytest.mark.parametrize("learning_rate", FACTORS.values(), ids=FACTORS)
def test_callable_may_give_any_real_number(learning_rate):
    X, y = table()
    with pytest.warns(ConvergenceWarning):
        expected = classifier("constant").fit(X, y)
    assert_same_bits(parameters_of(classifier(learning_rate).fit(X, y)), parameters_of(expected))


def test_rate_of_zero_moves_nothing():
    X, y = table()
    clf = classifier(lambda t: 0, weight_decay=0.5).fit(X, y)
    W, b = twin.initial((4, 5, 1), "relu", np.random.RandomState(0))
    assert_same_bits(parameters_of(clf), [*W, *b])


@pytest.mark.parametrize("name", [*SCHEDULES, half])
def test_lbfgs_refuses_a_schedule(name):
    X, y = table()
    with pytest.raises(ValueError, match=r"learning_rate=.*needs a solver .*not 'lbfgs'"):
        classifier(name, solver="lbfgs").fit(X, y)


def test_unknown_schedule_is_an_error_that_lists_the_known_ones():
    X, y = table()
    with pytest.raises(ValueError, match=r"'learning_rate' parameter .*'cosine'"):
        classifier("linear").fit(X, y)


def test_grid_search_compares_schedules_and_callables():
    X, y = table()
    grid = {"learning_rate": ["constant", *SCHEDULES, half]}
    with pytest.warns(ConvergenceWarning):
        search = GridSearchCV(classifier(), grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(np.unique(search.cv_results_["mean_test_score"])) == 5


def test_model_with_a_callable_schedule_goes_through_a_pickle():
    X, y = table()
    clf = classifier(half).fit(X, y)
    copy = pickle.loads(pickle.dumps(clf))
    for model in (clf, copy):
        model.partial_fit(X, y)
    assert_same_bits(parameters_of(copy), parameters_of(clf))
