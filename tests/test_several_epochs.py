"""Short epochs run several in one call of a kernel: what comes of them is what comes of a call for each."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.neural_network import MLPClassifier

from skbce import BCEMLPClassifier
from skbce._training import epochs, orders
from skbce.kernels import doors
from tests.model_checks import parameters_of

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")

VARIANTS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.5, "n_iter_no_change": 2},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.2},
    "schedule": {"learning_rate": "cosine"},
    "early stopping": {"early_stopping": True},
    "patience without end": {"n_iter_no_change": np.inf, "max_iter": 70},
    "tolerance": {"tol": 0.02, "n_iter_no_change": 1},
    "no shuffle": {"shuffle": False},
    "dropout": {"dropout": 0.3},
    "clipping and decay": {"max_grad_norm": 0.5, "weight_decay": 0.1},
    "whole batches, two threads": {"batch_size": 240, "hidden_layer_sizes": (300, 8), "n_threads": 2},
}


def table(dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((240, 8))
    return X.astype(dtype), (X[:, 0] - X[:, 1] + 0.3 * rng.standard_normal(240) > 0).astype(int)


def classifier(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (12, 6), "batch_size": 50, "max_iter": 40, "random_state": 0, **parameters}
    )


@pytest.fixture
def several(monkeypatch):
    """Lets so many epochs share a call, at most, and none for 0; returns how many did, call by call."""

    def let(most):
        calls = []

        def counted(*args, **kwargs):
            run_epochs(*args, **kwargs)
            calls.append(int(args[-1][0]))

        monkeypatch.setattr(epochs, "_SHORT_EPOCH_SECONDS", np.inf if most else 0.0)
        # As if each took so long that only so many can.
        seconds = property(lambda self: epochs._SEVERAL_EPOCHS_SECONDS / max(most, 1), lambda self, value: None)
        monkeypatch.setattr(epochs.StochasticTraining, "_epoch_seconds", seconds, raising=False)
        monkeypatch.setattr(doors, "run_epochs", counted)
        return calls

    run_epochs = doors.run_epochs
    monkeypatch.setattr(epochs, "_SEVERAL_EPOCHS_SECONDS", 30.0)
    monkeypatch.setattr("skbce._threads.Pace.choose", lambda self: (self._limit, 30.0))
    return let


def assert_same_course(clf, expected):
    for array, reference in zip(parameters_of(clf), parameters_of(expected), strict=True):
        np.testing.assert_array_equal(array, reference)
    for name in ("loss_curve_", "learning_rate_curve_", "n_iter_", "t_", "loss_", "best_loss_", "validation_scores_"):
        assert getattr(clf, name) == getattr(expected, name), name


@pytest.mark.usefixtures("all_threads")
@pytest.mark.parametrize("kind", ["dense", "sparse", "float32", "weights"])
@pytest.mark.parametrize("parameters", VARIANTS.values(), ids=VARIANTS)
def test_epochs_that_share_calls_leave_the_same_bits(several, parameters, kind):
    X, y = table(np.float32 if kind == "float32" else np.float64)
    X = sp.csr_array(X) if kind == "sparse" else X
    weight = np.linspace(0, 2, len(y)) if kind == "weights" else None
    states = [np.random.RandomState(0) for _ in range(4)]
    assert several(0) == []
    expected = classifier(**parameters, random_state=states[0]).fit(X, y, weight)
    for most, state in zip((1, 3, 1000), states[1:], strict=True):
        calls = several(most)
        clf = classifier(**parameters, random_state=state).fit(X, y, weight)
        assert_same_course(clf, expected)
        assert state_after(state) == state_after(states[0])
        assert_calls(calls, most, clf, parameters)


def state_after(state):
    """The next number of a generator that stays where it is."""
    copy = np.random.RandomState()
    copy.set_state(state.get_state())
    return copy.randint(2**31)


def assert_calls(calls, most, clf, parameters):
    """So many epochs at a time, where nobody looks on and the learning rate is one."""
    watched = parameters.get("early_stopping") or parameters.get("learning_rate") in ("invscaling", "cosine")
    assert sum(calls) == (0 if watched else clf.n_iter_)
    assert watched or 1 < max(calls) <= most or most == max(calls) == 1


@pytest.mark.parametrize("n_epochs", [1, 4, 9])
def test_ctrl_c_within_a_call_books_the_epochs_before_it(several, monkeypatch, n_epochs):
    X, y = table()
    several(0)
    expected = classifier(max_iter=n_epochs).fit(X, y)
    several(1000)
    inner = doors.run_epochs

    def struck(*args):
        *before, costs, done = args
        inner(*before, costs[:n_epochs], done)
        raise KeyboardInterrupt

    monkeypatch.setattr(doors, "run_epochs", struck)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf = classifier().fit(X, y)
    assert_same_course(clf, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rate", [20.0, 1e3, 1e5, 1e9])
def test_divergence_within_a_call_ends_as_it_does_alone(several, dtype, rate):
    X, y = table(dtype)
    parameters = {"solver": "sgd", "learning_rate_init": rate, "alpha": 1e-2, "activation": "identity", "max_iter": 200}
    courses, states = [], [np.random.RandomState(0) for _ in range(3)]
    for most, state in zip((0, 1000, 7), states, strict=True):
        several(most)
        clf = classifier(**parameters, random_state=state)
        with warnings.catch_warnings(record=True):
            try:
                clf.fit(X, y)
                error = None
            except ValueError as raised:
                error = str(raised)
        courses.append((clf, error))
    alone, expected_error = courses[0]
    for (together, error), state in zip(courses[1:], states[1:], strict=True):
        assert error == expected_error
        assert_same_course(together, alone)
        assert all(np.isfinite(array).all() for array in parameters_of(together))
        assert state_after(state) == state_after(states[0])


def test_ctrl_c_right_after_an_epoch_that_diverged_leaves_those_before(several, monkeypatch):
    X, y = table()
    parameters = {"solver": "sgd", "learning_rate_init": 5.0, "alpha": 1e-2, "activation": "identity"}
    several(0)
    alone = classifier(**parameters)
    with pytest.raises(ValueError, match="non-finite"):
        alone.fit(X, y)
    several(1000)
    inner = doors.run_epochs

    def struck(*args):
        inner(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(doors, "run_epochs", struck)
    together = classifier(**parameters)
    with pytest.raises(ValueError, match="non-finite"):
        together.fit(X, y)
    assert_same_course(together, alone)


def test_parameters_too_large_to_be_harmless_end_a_call_and_not_the_training(several, monkeypatch):
    X, y = table()
    several(0)
    state, other = np.random.RandomState(0), np.random.RandomState(0)
    expected = classifier(random_state=state).fit(X, y)
    calls = several(1000)
    begin = epochs.StochasticTraining.__init__

    def begin_wary(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        self._harmless = 1e-3

    monkeypatch.setattr(epochs.StochasticTraining, "__init__", begin_wary)
    clf = classifier(random_state=other).fit(X, y)
    assert_same_course(clf, expected)
    assert calls == [1] * clf.n_iter_
    assert state_after(other) == state_after(state)


def test_a_generator_of_the_users_shuffles_each_epoch(several):
    class Reverses(np.random.RandomState):
        def shuffle(self, x):
            x[...] = x[::-1].copy()

    X, y = table()
    several(0)
    expected = classifier(random_state=Reverses(0)).fit(X, y)
    calls = several(1000)
    clf = classifier(random_state=Reverses(0)).fit(X, y)
    assert calls == []  # it may draw what cannot be given back
    assert_same_course(clf, expected)
    assert clf.loss_curve_ != classifier().fit(X, y).loss_curve_


def test_a_bit_generator_of_another_kind_shuffles_each_epoch_as_scikit_learn_shuffles(several):
    X, y = table()
    calls = several(1000)
    state, other = (np.random.RandomState(np.random.PCG64(3)) for _ in range(2))
    clf = classifier(random_state=state).fit(X, y)
    expected = MLPClassifier((12, 6), batch_size=50, max_iter=40, random_state=other).fit(X, y)
    assert calls == []
    assert state.randint(2**31) == other.randint(2**31)
    # As in test_parity: sums in another order, over 200 steps.
    np.testing.assert_allclose(clf.loss_curve_, expected.loss_curve_, rtol=1e-9)


def test_a_twister_of_an_unknown_layout_shuffles_by_itself(several, monkeypatch):
    X, y = table()
    several(1000)
    state, other = np.random.RandomState(0), np.random.RandomState(0)
    expected = classifier(random_state=state).fit(X, y)
    calls = several(1000)
    monkeypatch.setattr(orders.doors, "twister_state", lambda generator: np.zeros(625, np.uint32))
    orders._is_known_twister.cache_clear()
    try:
        clf = classifier(random_state=other).fit(X, y)
    finally:
        orders._is_known_twister.cache_clear()
    assert calls == []
    assert_same_course(clf, expected)
    assert state_after(other) == state_after(state)


@pytest.mark.parametrize("strike_at", [0, 2])
def test_ctrl_c_while_draws_are_given_back_is_made_good_by_a_second_try(monkeypatch, strike_at):
    state, other = np.random.RandomState(0), np.random.RandomState(0)
    drawn = orders.Orders(SimpleNamespace(order=None, n_rows=50), state)
    drawn.ahead(5)
    drawn.take(3)
    ahead = state_after(state)
    shuffle, n_shuffles = doors.shuffle, iter(range(10))

    def struck(*args):
        if next(n_shuffles) == strike_at:
            raise KeyboardInterrupt
        shuffle(*args)

    with monkeypatch.context() as patched:
        patched.setattr(doors, "shuffle", struck)
        with pytest.raises(KeyboardInterrupt):
            drawn.give_back()
    assert state_after(state) == ahead
    drawn.give_back()
    for _ in range(3):
        other.shuffle(np.arange(50))
    assert state_after(state) == state_after(other)
    drawn.give_back()  # nothing is left to do
    assert state_after(state) == state_after(other)
