"""How training is watched, stopped and interrupted, and what it leaves of the process it ran in."""

import builtins
import multiprocessing
import re
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split

from skbce import BCEMLPClassifier
from skbce._training.progress import Progress
from skbce.kernels import doors
from tests.model_checks import blas_threads

ignores_max_iter = pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")

STOCHASTIC = {
    "adam": {"solver": "adam"},
    "sgd": {"solver": "sgd"},
    "sgd invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.2},
}
every_stochastic = pytest.mark.parametrize("parameters", STOCHASTIC.values(), ids=STOCHASTIC)


def classifier(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (12, 6), "batch_size": 10, "max_iter": 30, "random_state": 0, **parameters}
    )


def table(n_rows=400, n_features=8, noise=0.5, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features))
    y = (X[:, 0] - X[:, 1] + noise * rng.standard_normal(n_rows) > 0).astype(int)
    return X.astype(dtype), y


def parameters_of(clf):
    return [*clf.coefs_, *clf.intercepts_]


def assert_same_parameters(clf, expected):
    for array, reference in zip(parameters_of(clf), parameters_of(expected), strict=True):
        np.testing.assert_array_equal(array, reference)


def assert_usable(clf, X):
    assert all(np.isfinite(array).all() for array in parameters_of(clf))
    Y_hat = clf.predict_proba(X)
    assert np.isfinite(Y_hat).all()
    assert ((Y_hat > 0) & (Y_hat < 1)).all()
    assert np.isin(clf.predict(X), clf.classes_).all()


def after_calls(n, function, action):
    """`function`, that calls `action` before its call number n + 1."""
    calls = iter(range(n))

    def wrapped(*args, **kwargs):
        if next(calls, None) is None:
            action()
        return function(*args, **kwargs)

    return wrapped


def press_ctrl_c():
    raise KeyboardInterrupt


@pytest.fixture
def an_epoch_a_call(monkeypatch):
    """Short epochs, too: else several of them share a call (test_several_epochs.py)."""
    monkeypatch.setattr("skbce._training.epochs._SHORT_EPOCH_SECONDS", 0.0)


@pytest.fixture
def ctrl_c_after_epochs(monkeypatch, an_epoch_a_call):
    """Makes training see Ctrl-C after so many epochs, at the start of the next one."""

    def press_after(n_epochs):
        run_steps, epochs = doors.run_steps, iter(range(n_epochs))

        def run_steps_until_ctrl_c(*args):
            start = args[12]
            if start == 0 and next(epochs, None) is None:
                raise KeyboardInterrupt
            return run_steps(*args)

        monkeypatch.setattr(doors, "run_steps", run_steps_until_ctrl_c)

    yield press_after
    monkeypatch.undo()


@ignores_max_iter
@pytest.mark.parametrize("n_epochs", [1, 2, 5])
@every_stochastic
def test_ctrl_c_between_epochs_leaves_the_model_of_the_finished_epochs(ctrl_c_after_epochs, parameters, n_epochs):
    X, y = table()
    finished = classifier(max_iter=n_epochs, **parameters).fit(X, y)
    clf = classifier(**parameters)
    ctrl_c_after_epochs(n_epochs)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(X, y)
    assert_same_parameters(clf, finished)
    assert clf.loss_curve_ == finished.loss_curve_
    assert clf.loss_ == finished.loss_
    assert clf.n_iter_ == n_epochs
    assert clf.t_ == n_epochs * len(X)
    assert_usable(clf, X)


@every_stochastic
def test_ctrl_c_before_the_first_epoch_leaves_the_initial_model(ctrl_c_after_epochs, parameters):
    X, y = table()
    clf = classifier(**parameters)
    ctrl_c_after_epochs(0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(X, y)
    rng = np.random.RandomState(0)
    for W, b in zip(clf.coefs_, clf.intercepts_, strict=True):
        bound = np.sqrt(6 / sum(W.shape))
        np.testing.assert_array_equal(W, rng.uniform(-bound, bound, W.shape))
        np.testing.assert_array_equal(b, rng.uniform(-bound, bound, b.shape))
    assert clf.n_iter_ == clf.t_ == 0
    assert clf.loss_curve_ == []
    assert_usable(clf, X)


@pytest.mark.usefixtures("an_epoch_a_call")
@ignores_max_iter
@pytest.mark.parametrize("n_calls", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("early_stopping", [False, True])
@every_stochastic
def test_ctrl_c_within_an_epoch_leaves_a_usable_model(monkeypatch, parameters, early_stopping, n_calls):
    X, y = table(n_rows=2000)
    clf = classifier(early_stopping=early_stopping, **parameters)
    with monkeypatch.context() as patch:
        patch.setattr(doors, "run_steps", after_calls(n_calls, doors.run_steps, press_ctrl_c))
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            clf.fit(X, y)
    assert_usable(clf, X)
    assert len(clf.loss_curve_) == clf.n_iter_ < 30
    clf.set_params(warm_start=True, max_iter=2).fit(X, y)
    assert clf.n_iter_ == 2
    assert_usable(clf, X)


@ignores_max_iter
@every_stochastic
def test_ctrl_c_within_a_first_epoch_keeps_the_steps_taken(monkeypatch, parameters):
    X, y = table()
    clf = classifier(shuffle=False, **parameters)
    with monkeypatch.context() as patch:
        patch.setattr("skbce._threads._RUN_SECONDS", -1.0)  # a call takes one step
        patch.setattr(doors, "run_steps", after_calls(1, doors.run_steps, press_ctrl_c))
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            clf.fit(X, y)
    one_step = classifier(shuffle=False, max_iter=1, batch_size=10, **parameters).fit(X[:10], y[:10])
    assert_same_parameters(clf, one_step)


@ignores_max_iter
@every_stochastic
def test_partial_fit_after_ctrl_c_goes_on(monkeypatch, parameters):
    X, y = table()
    clf = classifier(**parameters)
    with monkeypatch.context() as patch:
        patch.setattr("skbce._threads._RUN_SECONDS", -1.0)  # a call takes one step
        patch.setattr(doors, "run_steps", after_calls(2, doors.run_steps, press_ctrl_c))
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            clf.partial_fit(X, y, classes=[0, 1])
    costs = [clf.partial_fit(X, y).loss_ for _ in range(8)]
    assert costs[-1] < costs[0]
    assert_usable(clf, X)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_calls", [0, 1, 2, 9])
def test_ctrl_c_in_lbfgs_leaves_the_last_iterate(monkeypatch, n_calls, dtype):
    X, y = table(dtype=dtype)
    clf = classifier(solver="lbfgs", max_iter=100, warm_start=True)
    with monkeypatch.context() as patch:
        patch.setattr(doors, "cost_and_gradient", after_calls(n_calls, doors.cost_and_gradient, press_ctrl_c))
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            clf.fit(X, y)
    assert_usable(clf, X)
    assert clf.n_iter_ <= n_calls
    if clf.n_iter_:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "lbfgs failed to converge", ConvergenceWarning)  # as it was told to
            finished = classifier(solver="lbfgs", max_iter=clf.n_iter_).fit(X, y)
        assert_same_parameters(clf, finished)
    # The interrupted fit's model is where the next one starts: so many iterations gain on it.
    interrupted_loss = clf.loss_
    clf.set_params(max_iter=1000).fit(X, y)
    assert clf.loss_ < interrupted_loss


@ignores_max_iter
@pytest.mark.parametrize("n_lines", [0, 1, 4, 5, 6])
@pytest.mark.parametrize(
    "parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=["adam", "early stopping", "lbfgs"]
)
def test_ctrl_c_while_a_line_is_printed_leaves_a_usable_model(monkeypatch, parameters, n_lines):
    X, y = table()
    clf = classifier(verbose=2, **parameters)
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "print", after_calls(n_lines, lambda *args, **kwargs: None, press_ctrl_c))
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            clf.fit(X, y)
    assert_usable(clf, X)
    assert clf.n_iter_ == n_lines + 1


@ignores_max_iter
@pytest.mark.parametrize("n_epochs", [1, 3, 6])
@every_stochastic
def test_ctrl_c_with_early_stopping_leaves_the_best_model_so_far(ctrl_c_after_epochs, parameters, n_epochs):
    X, y = table(noise=2.0)
    stops_early = {"early_stopping": True, "validation_fraction": 0.3, **parameters}
    finished = classifier(max_iter=n_epochs, **stops_early).fit(X, y)
    clf = classifier(**stops_early)
    ctrl_c_after_epochs(n_epochs)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(X, y)
    assert_same_parameters(clf, finished)
    assert clf.validation_scores_ == finished.validation_scores_
    assert clf.best_validation_score_ == max(clf.validation_scores_)


@pytest.fixture
def default_sigint():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("default_sigint")
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_signal_during_a_long_fit_ends_it(monkeypatch, solver):
    X, y = table(n_rows=20_000, n_features=50, noise=20.0)
    clf = classifier(
        hidden_layer_sizes=(100, 50), batch_size=200, solver=solver, max_iter=10**6, max_fun=10**9,
        tol=0, n_iter_no_change=np.inf,
    )  # fmt: skip
    door = "cost_and_gradient" if solver == "lbfgs" else "run_steps"
    timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
    # The clock starts with the first call of the kernels: an epoch of this table takes several.
    started = after_calls(0, getattr(doors, door), lambda: timer.is_alive() or timer.ident or timer.start())
    monkeypatch.setattr(doors, door, started)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        clf.fit(X, y)
    assert clf.n_iter_ < 10**6
    assert_usable(clf, X)


DIVERGING = {
    "huge learning rate": ({"solver": "sgd", "learning_rate_init": 1e10, "hidden_layer_sizes": (20, 20, 20)}, 1.0),
    "huge learning rate, early stopping": (
        {"solver": "sgd", "learning_rate_init": 1e10, "hidden_layer_sizes": (20, 20, 20), "early_stopping": True},
        1.0,
    ),
    "huge features, sgd": ({"solver": "sgd"}, 1e300),
    "huge features, adam": ({"solver": "adam", "hidden_layer_sizes": (20, 20)}, 1e308),
    "huge features, lbfgs": ({"solver": "lbfgs"}, 1e300),
}


# scikit-learn's own look for infinities sums X.
@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce:RuntimeWarning")
@pytest.mark.parametrize(("parameters", "scale"), DIVERGING.values(), ids=DIVERGING)
def test_divergence_raises_and_keeps_a_finite_model(parameters, scale):
    X, y = table()
    X = np.clip(X, -1.5, 1.5)
    clf = classifier(**parameters)
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(scale * X, y)
    assert_usable(clf, X)


@pytest.mark.usefixtures("an_epoch_a_call")
@ignores_max_iter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divergence_after_some_epochs_keeps_the_last_finite_one(monkeypatch, dtype):
    X, y = table(dtype=dtype)
    expected = classifier(max_iter=3, batch_size=400).fit(X, y)
    clf = classifier(batch_size=400)
    run_steps = doors.run_steps

    def poison(network, rule, t, theta, *args):
        result = run_steps(network, rule, t, theta, *args)
        if t == 3:
            theta[5] = np.nan
        return result

    monkeypatch.setattr(doors, "run_steps", poison)
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(X, y)
    assert_same_parameters(clf, expected)
    assert clf.n_iter_ == 3
    assert clf.loss_curve_ == expected.loss_curve_


def test_partial_fit_after_divergence_starts_from_the_finite_model_with_new_moments():
    X, y = table()
    clf = classifier(solver="sgd").partial_fit(X, y, classes=[0, 1])
    before = [array.copy() for array in parameters_of(clf)]
    with pytest.raises(ValueError, match="non-finite"):
        clf.set_params(learning_rate_init=1e200).partial_fit(X, y)
    for array, kept in zip(parameters_of(clf), before, strict=True):
        np.testing.assert_array_equal(array, kept)
    costs = [clf.set_params(learning_rate_init=0.01).partial_fit(X, y).loss_ for _ in range(8)]
    assert costs[-1] < costs[0]
    assert_usable(clf, X)


@ignores_max_iter
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_blas_has_one_thread_during_fit_and_its_own_number_after(monkeypatch, two_blas_threads, solver):
    X, y = table()
    door = "cost_and_gradient" if solver == "lbfgs" else "run_steps"
    inner, during = getattr(doors, door), []

    def watched(*args):
        during.append(blas_threads())
        return inner(*args)

    monkeypatch.setattr(doors, door, watched)
    classifier(solver=solver, tol=1e-2, max_iter=2000).fit(X, y)
    assert during
    assert all(set(threads) == {1} for threads in during)
    assert blas_threads() == two_blas_threads


def test_blas_has_its_own_number_of_threads_after_prediction(two_blas_threads):
    X, y = table()
    clf = classifier(solver="lbfgs", tol=1e-2, max_iter=2000).fit(X, y)
    clf.predict(X), clf.predict_proba(X.astype(np.float32))
    assert blas_threads() == two_blas_threads


def stop_with(error):
    def stop():
        raise error

    return stop


@pytest.mark.usefixtures("an_epoch_a_call")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("error", [RuntimeError("stop"), MemoryError("stop"), SystemExit("stop")], ids=repr)
def test_blas_has_its_own_number_of_threads_after_a_fit_that_raises(monkeypatch, two_blas_threads, error, solver):
    X, y = table()
    door = "cost_and_gradient" if solver == "lbfgs" else "run_steps"
    monkeypatch.setattr(doors, door, after_calls(3, getattr(doors, door), stop_with(error)))
    with pytest.raises(type(error), match="stop"):
        classifier(solver=solver).fit(X, y)
    assert blas_threads() == two_blas_threads


@pytest.mark.usefixtures("an_epoch_a_call")
def test_blas_has_its_own_number_of_threads_after_divergence_and_ctrl_c(monkeypatch, two_blas_threads):
    X, y = table()
    with pytest.raises(ValueError, match="non-finite"):
        classifier(solver="sgd", learning_rate_init=1e200).fit(X, y)
    assert blas_threads() == two_blas_threads
    monkeypatch.setattr(doors, "run_steps", after_calls(1, doors.run_steps, press_ctrl_c))
    with pytest.warns(UserWarning, match="interrupted"):
        classifier().fit(X, y)
    assert blas_threads() == two_blas_threads


@pytest.mark.parametrize("order", ["first in, first out", "first in, last out"])
def test_blas_has_one_thread_until_the_last_of_two_overlapping_fits_ends(monkeypatch, two_blas_threads, order):
    X, y = table()
    inside = {name: threading.Event() for name in "ab"}
    may_go = {name: threading.Event() for name in "ab"}
    run_steps = doors.run_steps

    def waits(*args):
        name = threading.current_thread().name
        inside[name].set()
        assert may_go[name].wait(60)
        return run_steps(*args)

    monkeypatch.setattr(doors, "run_steps", waits)
    models = {name: classifier(tol=1.0, n_iter_no_change=1) for name in "ab"}
    threads = {name: threading.Thread(target=models[name].fit, args=(X, y), name=name) for name in "ab"}
    first, last = "ab" if order == "first in, first out" else "ba"
    try:
        for name in "ab":
            threads[name].start()
            assert inside[name].wait(60)
        assert set(blas_threads()) == {1}
        may_go[first].set()
        threads[first].join(60)
        assert set(blas_threads()) == {1}
    finally:
        may_go[first].set()
        may_go[last].set()
    threads[last].join(60)
    assert blas_threads() == two_blas_threads
    assert_same_parameters(models["a"], models["b"])


@pytest.mark.parametrize("parameters", [{}, {"solver": "lbfgs", "tol": 1e-2, "max_iter": 2000}], ids=["adam", "lbfgs"])
def test_fits_in_several_threads_at_once_give_the_models_of_serial_fits(parameters):
    tables = [table(n_rows=300 + 50 * i) for i in range(6)]
    converges = {"tol": 1.0, "n_iter_no_change": 2, **parameters}
    serial = [classifier(**converges).fit(X, y) for X, y in tables]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda data: classifier(**converges).fit(*data), tables))
    for clf, expected in zip(threaded, serial, strict=True):
        assert_same_parameters(clf, expected)


def fit_in_child(connection, X, y):
    clf = classifier(tol=1.0, n_iter_no_change=2).fit(X, y)
    connection.send((parameters_of(clf), blas_threads()))
    connection.close()


def forked_fit(X, y):
    """The parameters and BLAS threads of a fit in a forked child."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    child = fork.Process(target=fit_in_child, args=(sender, X, y))
    child.start()
    sender.close()
    try:
        assert receiver.poll(60), "the forked child did not finish"
        return receiver.recv()
    finally:
        child.join(60)
        if child.exitcode is None:
            child.kill()
        assert child.exitcode == 0


# What Python 3.12 and libraries with threads of their own say of every fork; the child here uses none of theirs.
ignores_fork_warnings = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning", "ignore:.*fork:RuntimeWarning")
needs_fork = "fork" in multiprocessing.get_all_start_methods()


@pytest.mark.skipif(not needs_fork, reason="Windows has no fork that could leave a child without threads")
@ignores_fork_warnings
def test_fit_in_a_forked_child_finishes_with_the_same_model(two_blas_threads):
    X, y = table()
    expected = classifier(tol=1.0, n_iter_no_change=2).fit(X, y)
    arrays, threads = forked_fit(X, y)
    for array, reference in zip(arrays, parameters_of(expected), strict=True):
        np.testing.assert_array_equal(array, reference)
    assert threads == two_blas_threads


@pytest.mark.skipif(not needs_fork, reason="Windows has no fork that could leave a child without threads")
@ignores_fork_warnings
def test_fit_in_a_child_forked_during_a_fit_in_another_thread_finishes(monkeypatch, two_blas_threads):
    X, y = table()
    inside, may_go = threading.Event(), threading.Event()
    run_steps = doors.run_steps

    def waits(*args):
        if threading.current_thread().name == "waits":
            inside.set()
            assert may_go.wait(120)
        return run_steps(*args)

    monkeypatch.setattr(doors, "run_steps", waits)
    clf = classifier(tol=1.0, n_iter_no_change=2)
    thread = threading.Thread(target=clf.fit, args=(X, y), name="waits")
    thread.start()
    assert inside.wait(60)
    try:
        arrays, threads = forked_fit(X, y)
    finally:
        may_go.set()
        thread.join(60)
    for array, reference in zip(arrays, parameters_of(clf), strict=True):
        np.testing.assert_array_equal(array, reference)
    assert threads == two_blas_threads
    assert blas_threads() == two_blas_threads


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
def test_predictions_in_8_threads_at_once_are_those_of_one(method, dtype):
    X, y = table(n_rows=3000)
    clf = classifier(hidden_layer_sizes=(64, 32), tol=1.0, n_iter_no_change=2).fit(X.astype(dtype), y)
    parts = [X[i::16].astype(dtype if i % 2 else np.float64) for i in range(16)]
    serial = [getattr(clf, method)(part) for part in parts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            for result, expected in zip(pool.map(getattr(clf, method), parts), serial, strict=True):
                np.testing.assert_array_equal(result, expected)


def lines_of_fit(clf, X, y, capsys):
    capsys.readouterr()
    clf.fit(X, y)
    return capsys.readouterr().out.splitlines()


EPOCH_LINE = re.compile(
    r"epoch +(?P<epoch>\d+)/(?P<most>\d+)  loss (?P<loss>\S+)"
    r"(?:  validation loss (?P<validation>\S+)  score (?P<score>\S+))?"
    r"  learning rate (?P<rate>\S+)  (?P<pace>[\d.e+]+)[kMG]? rows/s"
)

VERBOSE = {
    "adam": {},
    "adam, early stopping": {"early_stopping": True},
    "sgd, adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
    "sgd, cosine, early stopping": {"solver": "sgd", "learning_rate": "cosine", "early_stopping": True},
}


@ignores_max_iter
@pytest.mark.parametrize("parameters", VERBOSE.values(), ids=VERBOSE)
def test_verbose_2_prints_the_facts_of_every_epoch(capsys, parameters):
    X, y = table()
    clf = classifier(verbose=2, **parameters)
    lines = [line for line in lines_of_fit(clf, X, y, capsys) if "did not improve" not in line]
    facts = [EPOCH_LINE.fullmatch(line) for line in lines]
    assert [int(fact["epoch"]) for fact in facts] == list(range(1, clf.n_iter_ + 1))
    assert {int(fact["most"]) for fact in facts} == {clf.max_iter}
    # Six digits are printed after the point, of scores four, of rates three in all.
    np.testing.assert_allclose([float(fact["loss"]) for fact in facts], clf.loss_curve_, rtol=0, atol=5.1e-7)
    rates = [float(fact["rate"]) for fact in facts]
    np.testing.assert_allclose(rates, clf.learning_rate_curve_, rtol=5.1e-3)
    if clf.early_stopping:
        losses, scores = ([float(fact[name]) for fact in facts] for name in ("validation", "score"))
        np.testing.assert_allclose(losses, clf.validation_loss_curve_, rtol=0, atol=5.1e-7)
        np.testing.assert_allclose(scores, clf.validation_scores_, rtol=0, atol=5.1e-5)
    assert all(float(fact["pace"]) > 0 for fact in facts)


def test_verbose_1_prints_a_line_every_half_second_and_the_last_epoch(capsys, monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("skbce._training.progress.time", SimpleNamespace(perf_counter=lambda: clock.now))
    progress = Progress(1, "epoch", most=11, n_rows=100)
    for epoch in range(1, 12):
        clock.now += 0.2
        progress.epoch_ended(epoch, loss=0.5)
    progress.end()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  loss")[0] for line in lines] == [f"epoch {n:2}/11" for n in (1, 4, 7, 10, 11)]
    # Three epochs of 100 rows in 0.6 s.
    assert lines[1].endswith("  500 rows/s")


def test_verbose_lbfgs_prints_a_line_an_iteration(capsys):
    X, y = table()
    clf = classifier(solver="lbfgs", max_iter=2000, tol=1e-3, verbose=2)
    lines = lines_of_fit(clf, X, y, capsys)
    facts = [re.fullmatch(r"iteration +(\d+)/2000  loss (\S+)  [\d.e+]+[kMG]? rows/s", line) for line in lines]
    assert [int(fact[1]) for fact in facts] == list(range(1, clf.n_iter_ + 1))
    losses = [float(fact[2]) for fact in facts]
    # Six digits are printed after the point.
    assert abs(losses[-1] - clf.loss_) < 5.1e-7
    assert losses == sorted(losses, reverse=True)


@ignores_max_iter
def test_nothing_is_printed_unless_asked(capfd):
    X, y = table()
    classifier().fit(X, y)
    classifier(solver="lbfgs", tol=1e-2, max_iter=2000).fit(X, y)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def held_out_split(clf, X, y, stratify):
    """The rows that fit held out, from the same draws: parameters first, then the split."""
    rng = np.random.RandomState(0)
    for W in clf.coefs_:
        rng.uniform(size=W.shape)
        rng.uniform(size=W.shape[1])
    return train_test_split(
        np.arange(len(X)), random_state=rng, test_size=clf.validation_fraction, stratify=y if stratify else None
    )


@ignores_max_iter
@every_stochastic
@pytest.mark.parametrize("target", ["binary", "multilabel"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_early_stopping_ends_with_the_parameters_that_scored_best(parameters, target, weighted):
    X, y = table(noise=3.0)
    y = y if target == "binary" else np.column_stack((y, X[:, 2] > 0.3)).astype(int)
    weight = np.random.default_rng(1).uniform(0.1, 3, len(X)) if weighted else None
    parameters = {"learning_rate_init": 0.05, **parameters}
    clf = classifier(early_stopping=True, validation_fraction=0.25, **parameters).fit(X, y, weight)
    _, rows = held_out_split(clf, X, y, stratify=target == "binary")
    score = accuracy_score(y[rows], clf.predict(X[rows]), sample_weight=None if weight is None else weight[rows])
    # The same mean, summed in another order.
    assert score == pytest.approx(clf.best_validation_score_, rel=1e-12)
    assert clf.best_validation_score_ == max(clf.validation_scores_)
    assert len(clf.validation_scores_) == len(clf.loss_curve_) == clf.n_iter_
    assert clf.best_loss_ is None
    best_epoch = int(np.argmax(clf.validation_scores_)) + 1
    assert best_epoch < clf.n_iter_  # else the best parameters would be the last
    assert_same_parameters(clf, clf_of_epochs(clf, best_epoch).fit(X, y, weight))


def clf_of_epochs(clf, n_epochs):
    return BCEMLPClassifier(**{**clf.get_params(), "max_iter": n_epochs})


@ignores_max_iter
@pytest.mark.parametrize("target", ["binary", "multilabel"])
def test_early_stopping_trains_on_the_rows_it_did_not_hold_out(target):
    X, y = table()
    y = y if target == "binary" else np.column_stack((y, X[:, 2] > 0.3)).astype(int)
    one_step = {"max_iter": 1, "batch_size": 300, "shuffle": False, "validation_fraction": 0.25}
    clf = classifier(early_stopping=True, **one_step).fit(X, y)
    rows, _ = held_out_split(clf, X, y, stratify=target == "binary")
    assert_same_parameters(clf, classifier(**one_step).fit(X[rows], y[rows]))
    assert clf.t_ == len(rows) == 300


def test_adaptive_learning_rate_falls_to_a_fifth_until_it_is_too_small(capsys):
    X, y = table()
    clf = classifier(
        solver="sgd", learning_rate="adaptive", learning_rate_init=1e-3, tol=10, n_iter_no_change=2,
        max_iter=1000, verbose=True,
    )  # fmt: skip
    text = (clf.fit(X, y), capsys.readouterr().out)[1]
    rates = [float(rate) for rate in re.findall(r"Setting learning rate to (\S+)", text)]
    # 6 digits are printed.
    np.testing.assert_allclose(rates, 1e-3 / 5.0 ** np.arange(1, 6), rtol=0, atol=5.1e-7)
    assert text.endswith("Learning rate too small. Stopping.\n")
    # A loss is first improved upon by the first epoch; then each of the 6 verdicts follows 3 epochs without progress.
    assert clf.n_iter_ == 1 + 6 * 3


@ignores_max_iter
def test_adaptive_learning_rate_makes_the_steps_of_the_lower_rate():
    X, y = table()
    common = {"solver": "sgd", "momentum": 0, "shuffle": False, "n_iter_no_change": 1, "tol": 10, "alpha": 0}
    adaptive = classifier(learning_rate="adaptive", learning_rate_init=0.05, max_iter=4, **common).fit(X, y)
    # Epochs 2 and 3 do not improve the loss by 10, and the fourth is one at a fifth of the rate.
    constant = classifier(learning_rate_init=0.05, max_iter=3, warm_start=True, **common).fit(X, y)
    constant.set_params(learning_rate_init=0.05 / 5, max_iter=1).fit(X, y)
    assert_same_parameters(adaptive, constant)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_training_ends_after_more_than_n_iter_no_change_epochs_without_progress(solver):
    X, y = table()
    clf = classifier(solver=solver, tol=10, n_iter_no_change=4).fit(X, y)
    assert clf.n_iter_ == 1 + 5


@ignores_max_iter
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_training_never_ends_for_lack_of_progress_where_infinitely_much_is_put_up_with(solver):
    X, y = table()
    clf = classifier(solver=solver, tol=10, n_iter_no_change=np.inf, max_iter=25).fit(X, y)
    assert clf.n_iter_ == 25


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_max_iter_ends_training_with_a_warning(solver):
    X, y = table()
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        clf = classifier(solver=solver, max_iter=3).fit(X, y)
    assert clf.n_iter_ == len(clf.loss_curve_) == 3


@pytest.mark.parametrize(("limit", "message"), [({"max_iter": 2}, "failed to converge"), ({"max_fun": 3}, "max_fun")])
def test_limits_end_lbfgs_with_a_warning(limit, message):
    X, y = table()
    with pytest.warns(ConvergenceWarning, match=message):
        clf = classifier(**{"solver": "lbfgs", "max_iter": 200, "tol": 1e-9, **limit}).fit(X, y)
    assert 1 <= clf.n_iter_ <= 3
    assert_usable(clf, X)


@pytest.mark.parametrize("tol", [1e-1, 1e-2, 1e-3])
def test_lbfgs_ends_where_no_gradient_entry_is_above_tol(tol):
    X, y = table()
    clf = classifier(solver="lbfgs", tol=tol, max_iter=10_000).fit(X, y)
    cost_function, _, theta = clf._cost_problem(X, y, None)
    assert np.abs(cost_function(theta)[1]).max() <= tol


def test_partial_fit_does_not_warn_of_max_iter():
    X, y = table()
    clf = classifier(max_iter=1).partial_fit(X, y, classes=[0, 1])
    assert clf.n_iter_ == 1
