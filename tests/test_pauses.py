"""Ctrl-C within a single step, evaluation or prediction that takes long: the kernels pause for it, and end there.

The signal comes 0.02 s after a call of the kernels began, which pauses 0.05 s after that and takes ten times as long.
That it was broken off shows in what it would have changed, not on a clock.
"""

import signal
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbce.ensemble
from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder
from skbce.kernels import doors
from tests.model_checks import assert_same_bits, blas_threads, parameters_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Training interrupted by user"),
    pytest.mark.filterwarnings("ignore:Got `batch_size`"),
]

each_number_of_threads = pytest.mark.parametrize("n_threads", [1, 2])

N_ROWS = 60_000


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N_ROWS, 256), dtype=np.float32)
    return X, (X[:, 0] > 0).astype(int)


def network(n_threads, **parameters):
    defaults = {"batch_size": N_ROWS, "max_iter": 4, "tol": 0, "random_state": 0}
    return BCEMLPClassifier((1024,), n_threads=n_threads, **defaults | parameters)


def handles(handler):
    """Of a timer's signal, which is as SIGINT; for the time of a test."""

    @contextmanager
    def handling():
        before = signal.signal(signal.SIGALRM, handler)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return handling()


@pytest.fixture
def ctrl_c():
    with handles(signal.default_int_handler):
        yield


def strike_in_call(monkeypatch, door, number=1):
    """Set the timer as a door's call of this number begins; return what comes of all of them."""
    inner, calls, outcomes = getattr(doors, door), iter(range(1, 1000)), []

    def struck(*args, **kwargs):
        if next(calls) == number:
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            result = inner(*args, **kwargs)
        except BaseException as error:
            outcomes.append(type(error))
            raise
        outcomes.append(None)
        return result

    monkeypatch.setattr(doors, door, struck)
    return outcomes


def thetas_of(monkeypatch, door, place):
    """Copies of theta, as each call of the door finds it."""
    inner, thetas = getattr(doors, door), []

    def noted(*args, **kwargs):
        thetas.append(args[place].copy())
        return inner(*args, **kwargs)

    monkeypatch.setattr(doors, door, noted)
    return thetas


@pytest.mark.usefixtures("ctrl_c", "all_threads")
@each_number_of_threads
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    "parameters", [{}, {"solver": "sgd", "max_grad_norm": 1.0}, {"solver": "lbfgs", "max_fun": 9}], ids=str
)
def test_ctrl_c_within_a_step_leaves_the_parameters_of_the_last_whole_one(
    monkeypatch, two_blas_threads, table, parameters, number, n_threads
):
    # One step an epoch and a call: what a call finds is what whole steps have made.
    monkeypatch.setattr(skbce._threads.Pace, "choose", lambda self: (self._limit, 0.0))
    door, place = ("cost_and_gradient", 2) if parameters.get("solver") == "lbfgs" else ("run_steps", 3)
    thetas = thetas_of(monkeypatch, door, place)
    outcomes = strike_in_call(monkeypatch, door, number)
    clf = network(n_threads, **parameters).fit(*table)
    assert outcomes == [None] * (number - 1) + [KeyboardInterrupt]
    theta = np.concatenate([array.ravel() for array in parameters_of(clf)])
    if door == "cost_and_gradient":  # it may try parameters that it does not accept
        assert any(np.array_equal(theta, tried.astype(np.float32)) for tried in thetas)
    else:
        np.testing.assert_array_equal(theta, thetas[-1])
    assert np.array_equal(theta, thetas[0]) == (number == 1 or door == "cost_and_gradient")
    assert clf.n_iter_ == (number - 1 if door == "run_steps" else 0)
    assert np.isfinite(clf.predict_proba(table[0][:100])).all()
    assert blas_threads() == two_blas_threads


@pytest.mark.usefixtures("ctrl_c", "all_threads")
@each_number_of_threads
def test_ctrl_c_within_a_call_of_several_steps_keeps_those_before(monkeypatch, table, n_threads):
    clf = network(n_threads, batch_size=N_ROWS // 6, max_iter=1, shuffle=False)
    started = time.perf_counter()
    states = thetas_of_steps(clf, table)
    half_way = (time.perf_counter() - started) / 2
    inner = doors.run_steps

    def struck(*args):
        signal.setitimer(signal.ITIMER_REAL, half_way)
        return inner(*args)

    monkeypatch.setattr(doors, "run_steps", struck)
    clf.fit(*table)
    theta = np.concatenate([array.ravel() for array in parameters_of(clf)])
    assert any(np.array_equal(theta, state) for state in states)


def thetas_of_steps(clf, table):
    """Before each step of an epoch, and behind the last one."""
    states, inner = [], doors.run_steps

    def step_by_step(*args):
        states.append(args[3].copy())
        return inner(*args[:15], 0.0, *args[16:])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doors, "run_steps", step_by_step)
        clf.fit(*table)
    return [*states, np.concatenate([array.ravel() for array in parameters_of(clf)])]


@pytest.mark.usefixtures("ctrl_c", "all_threads")
@each_number_of_threads
def test_ctrl_c_within_the_step_of_partial_fit_leaves_the_model_of_before(monkeypatch, table, n_threads):
    clf = network(n_threads).partial_fit(table[0][:100], table[1][:100], classes=[0, 1])
    before = [array.copy() for array in parameters_of(clf)]
    outcomes = strike_in_call(monkeypatch, "run_steps")
    clf.partial_fit(*table)
    assert outcomes == [KeyboardInterrupt]
    assert_same_bits(parameters_of(clf), before)
    assert np.isfinite(clf.predict_proba(table[0][:100])).all()


@pytest.mark.usefixtures("ctrl_c")
@each_number_of_threads
def test_ctrl_c_within_a_prediction_is_raised(monkeypatch, two_blas_threads, table, n_threads):
    X, y = table
    clf = network(n_threads).fit(X[:100], y[:100])
    expected = clf.predict_proba(X[:100])
    for call, door in ((clf.predict_proba, "logits"), (clf.input_gradient, "input_gradients")):
        outcomes = strike_in_call(monkeypatch, door)
        with pytest.raises(KeyboardInterrupt):
            call(X)
        assert outcomes == [KeyboardInterrupt]
    assert blas_threads() == two_blas_threads
    np.testing.assert_array_equal(clf.predict_proba(X[:100]), expected)


@pytest.mark.usefixtures("ctrl_c")
@each_number_of_threads
def test_ctrl_c_within_an_encoding_is_raised(monkeypatch, table, n_threads):
    encoder = PiecewiseLinearEncoder(48, n_threads=n_threads).fit(table[0][:1000])
    outcomes = strike_in_call(monkeypatch, "encode_columns")
    with pytest.raises(KeyboardInterrupt):
        encoder.transform(table[0])
    assert outcomes == [KeyboardInterrupt]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_within_held_out_rows_keeps_the_best_of_before(monkeypatch, table):
    clf = network(1, batch_size=200, early_stopping=True)
    X, y = table
    outcomes = strike_in_call(monkeypatch, "logits", 3)
    clf.fit(X[:1000], y[:1000], X_val=X, y_val=y)
    assert outcomes == [None, None, KeyboardInterrupt]
    assert clf.n_iter_ == len(clf.validation_scores_) == len(clf.loss_curve_) == 2
    assert clf.score(X, y) == max(clf.validation_scores_)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_within_the_last_step_of_a_pipeline_ends_its_fit(monkeypatch, table):
    pipeline = make_pipeline(StandardScaler(), network(1))
    outcomes = strike_in_call(monkeypatch, "run_steps")
    pipeline.fit(*table)
    assert outcomes == [KeyboardInterrupt]
    assert np.isfinite(pipeline.predict_proba(table[0][:100])).all()


@pytest.mark.usefixtures("all_threads")
@each_number_of_threads
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_handlers_that_raise_nothing_run_within_a_step_and_change_no_bits(monkeypatch, table, solver, n_threads):
    X, y = table[0][:30_000], table[1][:30_000]
    parameters = {"solver": solver, "max_iter": 1}
    expected = network(n_threads, **parameters).fit(X, y)
    signals, within = [], []
    door = "cost_and_gradient" if solver == "lbfgs" else "run_steps"
    inner = getattr(doors, door)

    def watched(*args):
        before = len(signals)
        result = inner(*args)
        within.append(len(signals) - before)
        return result

    def keeps_subnormals(*args):
        signals.append(np.float32(1e-30) * np.float32(1e-10) > 0)

    monkeypatch.setattr(doors, door, watched)
    with handles(keeps_subnormals):
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        clf = network(n_threads, **parameters).fit(X, y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert any(within)
    assert all(signals)  # a step takes them as 0


def test_what_a_handler_raises_within_a_step_goes_on_up(monkeypatch, table):
    def too_late(*args):
        raise TimeoutError("too late")

    clf = network(1)
    before = dict(vars(clf))
    outcomes = strike_in_call(monkeypatch, "run_steps")
    with handles(too_late), pytest.raises(TimeoutError, match="too late"):
        clf.fit(*table)
    assert outcomes == [TimeoutError]
    assert vars(clf) == before


def ensemble(n_threads, **parameters):
    return BCEMLPEnsembleClassifier(network(None, **parameters), 3, random_state=0, n_threads=n_threads)


def member_threads():
    return [thread for thread in threading.enumerate() if thread.name == "skbce member" and thread.is_alive()]


@pytest.mark.usefixtures("ctrl_c")
@each_number_of_threads
def test_ctrl_c_within_the_first_steps_of_all_members_ends_them_and_is_raised(
    monkeypatch, two_blas_threads, table, n_threads
):
    monkeypatch.setattr(skbce.ensemble, "_PATIENCE", 0.0)
    clf = ensemble(n_threads)
    before = dict(vars(clf))
    outcomes = strike_in_call(monkeypatch, "run_steps")
    with pytest.raises(KeyboardInterrupt):
        clf.fit(*table)
    assert set(outcomes) == {KeyboardInterrupt}
    for thread in member_threads():
        thread.join(30)
    assert not member_threads()
    assert vars(clf) == before
    assert blas_threads() == two_blas_threads


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("number", "told", "n_members"),
    [
        (3, "2 of 3 members are left out, for Ctrl-C came before they began", 1),
        (4, "1 of 3 members are left out, .*; 1 of 3 members had not converged when Ctrl-C ended", 2),
    ],
)
def test_ctrl_c_within_a_step_of_a_member_keeps_those_that_have_an_epoch(monkeypatch, table, number, told, n_members):
    monkeypatch.setattr(skbce.ensemble, "_PATIENCE", 0.0)
    whole = ensemble(1, max_iter=2).fit(*table)
    outcomes = strike_in_call(monkeypatch, "run_steps", number)
    clf = ensemble(1, max_iter=2)
    with pytest.warns(UserWarning, match=told):
        clf.fit(*table)
    assert outcomes == [None] * (number - 1) + [KeyboardInterrupt]
    assert len(clf.estimators_) == n_members
    assert_same_bits(parameters_of(clf.estimators_[0]), parameters_of(whole.estimators_[0]))
    if n_members == 2:
        assert clf.estimators_[1].n_iter_ == 1
        assert clf.estimators_[1].validation_scores_ == whole.estimators_[1].validation_scores_[:1]
    assert np.isfinite(clf.predict_proba(table[0][:100])).all()
