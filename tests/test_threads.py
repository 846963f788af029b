"""Any number of threads gives the same bits, and threads are used where they may and help."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

from skbce import BCEMLPClassifier, PiecewiseLinearEncoder, _threads
from skbce._parameters import Layout, Workspace
from skbce.kernels import doors
from tests.model_checks import blas_threads, rows_for_threads

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"),
    reason="macOS and Windows have no os.sched_setaffinity: no process is limited by it there, and no thread moved",
)
ignores_max_iter = pytest.mark.filterwarnings("ignore:.*(Maximum iterations|failed to converge):UserWarning")


def fitted(n_threads, X, y, **parameters):
    # A batch of 800 rows and 6,000 parameters is 8 shards.
    parameters = {"hidden_layer_sizes": (64, 32), "batch_size": 800, "max_iter": 3, "random_state": 0, **parameters}
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    clf = BCEMLPClassifier(n_threads=n_threads, **parameters).fit(X, y, weight)
    if clf.solver != "lbfgs" and not clf.early_stopping:
        clf.partial_fit(X, y, weight)
    return clf


PARAMETERS = {
    "adam": {},
    "adam, early stopping": {"early_stopping": True},
    "sgd": {"solver": "sgd"},
    "lbfgs": {"solver": "lbfgs"},
    "adam, clipped and decayed on a schedule": {
        "max_grad_norm": 0.1, "weight_decay": 0.3, "label_smoothing": 0.2, "learning_rate": "one_cycle",
    },
    "sgd, clipped and decayed on a schedule": {
        "solver": "sgd", "max_grad_norm": 0.1, "weight_decay": 0.3, "label_smoothing": 0.2, "learning_rate": "cosine",
        "early_stopping": True,
    },
}  # fmt: skip


@ignores_max_iter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_any_number_of_threads_gives_the_same_bits(all_threads, parameters, sparse, dtype):
    X, y = rows_for_threads(1800, 60, dtype, sparse)
    assert Layout((60, 64, 32, 1), "relu").network.shards(800) == 8
    expected = fitted(1, X, y, **parameters)
    for n_threads in (2, 3, 4, 8):
        clf = fitted(n_threads, X, y, **parameters)
        for array, reference in zip(
            (*clf.coefs_, *clf.intercepts_), (*expected.coefs_, *expected.intercepts_), strict=True
        ):
            np.testing.assert_array_equal(array, reference)
        assert clf.loss_ == expected.loss_
        np.testing.assert_array_equal(clf.predict_proba(X), expected.predict_proba(X))


@ignores_max_iter
def test_bits_do_not_depend_on_threads_that_change_in_the_middle(monkeypatch):
    X, y = rows_for_threads(1800, 60, np.float32, False)
    expected = fitted(1, X, y)
    turns = iter(np.random.default_rng(3).integers(1, 5, 1000))
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (int(next(turns)), -1.0))  # a step a run
    clf = fitted(4, X, y)
    for array, reference in zip(clf.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(array, reference)
    assert clf.loss_curve_ == expected.loss_curve_


@pytest.mark.parametrize(
    ("units", "rows", "dense", "sparse"),
    [
        ((20, 16, 1), 32, 1, 1), ((30, 100, 1), 47, 1, 1), ((30, 100, 1), 48, 2, 1), ((30, 100, 1), 200, 2, 2),
        ((20, 16, 1), 226, 1, 1), ((20, 16, 1), 227, 2, 1), ((784, 512, 1), 383, 2, 2), ((784, 512, 1), 384, 4, 4),
        ((50, 64, 64, 1), 2048, 8, 8), ((50, 1), 2048, 2, 1),
    ],
)  # fmt: skip
def test_shards_follow_from_the_shapes(units, rows, dense, sparse):
    assert Layout(units, "relu").network.shards(rows) == dense
    assert Layout(units, "relu", sparse=True).network.shards(rows) == sparse


@ignores_max_iter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_small_batches_have_the_same_bits_on_two_threads(all_threads, dtype):
    X, y = rows_for_threads(500, 60, dtype, False)
    small = {"batch_size": 64, "hidden_layer_sizes": (48, 8)}  # and a last one of 52
    expected, clf = fitted(1, X, y, **small), fitted(2, X, y, **small)
    for array, reference in zip(clf.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(array, reference)
    assert clf.loss_curve_ == expected.loss_curve_


def test_pace_takes_the_number_of_threads_that_gets_further(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    pace = _threads.Pace(2)
    assert pace.choose()[0] == 1
    pace.record(1, 100, 0.05)
    now[0] += 1.0
    assert pace.choose() == (2, _threads._WARM_UP_SECONDS)
    pace.record(2, 1, 0.9)  # threads begin, and that does not count
    assert pace.choose() == (2, _threads._TRIAL_SECONDS)
    pace.record(2, 100, 0.03)
    assert pace.choose()[0] == 2
    now[0] += 2.0
    assert pace.choose() == (1, _threads._TRIAL_SECONDS)
    pace.record(1, 100, 0.001)  # the other core is taken now
    assert pace.choose()[0] == 1


def test_a_trial_counts_alone(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    pace = _threads.Pace(2)
    pace.record(1, 100, 0.008)
    for seconds, best in ((1.0, 1), (0.005, 2)):  # the other core is taken, and then it is free
        now[0] += 2.0
        assert pace.choose() == (2, _threads._WARM_UP_SECONDS)
        pace.record(2, 1, 1.0)
        assert pace.choose() == (2, _threads._TRIAL_SECONDS)
        pace.record(2, 100, seconds)
        assert pace.choose()[0] == best


def test_large_steps_begin_on_all_threads_and_are_seldom_tried_on_one(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    pace = _threads.Pace(2, step_rows=2048, n_parameters=500_000)
    seconds, taken = {1: 1.0, 2: 0.5}, []
    for _ in range(60):
        n_threads, _ = pace.choose()
        now[0] += seconds[n_threads]
        pace.record(n_threads, 2048, seconds[n_threads])
        taken.append(n_threads)
    assert taken[0] == 2
    # A second on one thread for each 20 or so on two.
    assert 1 <= taken.count(1) <= 3


def test_training_goes_on_with_what_the_last_one_of_its_size_found(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads, "_last_pace", None)
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    size = {"limit": 2, "step_rows": 200, "n_parameters": 7489}
    first = _threads.Pace.going_on(**size)
    assert first.choose()[0] == 1
    now[0] += 0.015
    first.record(1, 200, 85e-6)
    now[0] += 0.01
    second = _threads.Pace.going_on(**size)
    assert second.choose()[0] == 2  # the trial that is due
    second.record(2, 200, 0.004)  # threads awake, and that does not count
    assert second.choose()[0] == 2
    second.record(2, 200, 49e-6)
    third = _threads.Pace.going_on(**size)
    assert third.choose()[0] == 2
    for other in ({"limit": 3}, {"step_rows": 100}, {"n_parameters": 7488}):
        assert _threads.Pace.going_on(**(size | other)).choose()[0] == 1
    third.record(1, 200, 10e-6)
    third.record(2, 200, 1.0)  # the other core is taken now
    assert _threads.Pace.going_on(**size).choose()[0] == 1
    assert second.choose()[0] == 2  # what goes on with it leaves it alone
    now[0] += 1.01
    assert not _threads.Pace.going_on(**size)._rows_per_second


def test_trainings_of_a_single_run_find_out_what_is_quicker_too(monkeypatch):
    # As partial_fit on one chunk after the other.
    now = [100.0]
    monkeypatch.setattr(_threads, "_last_pace", None)
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])

    def threads_of(n_trainings, seconds):
        taken = []
        for _ in range(n_trainings):
            pace = _threads.Pace.going_on(2, 200, 7489)
            n_threads, _ = pace.choose()
            now[0] += seconds[n_threads]
            pace.record(n_threads, 2000, seconds[n_threads])
            taken.append(n_threads)
        return taken

    free = threads_of(100, {1: 0.004, 2: 0.002})
    assert free[:2] == [1, 1]
    assert free.count(2) > 80
    # The other core is taken: a few are slow, until two threads are found to be, and trials from then on.
    taken = threads_of(500, {1: 0.004, 2: 0.020})
    assert taken[-1] == 1
    assert taken.count(2) < 25
    assert threads_of(500, {1: 0.004, 2: 0.002}).count(2) > 200


def test_a_stall_does_not_keep_training_on_one_thread(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    pace = _threads.Pace(2)

    def run(seconds):
        n_threads, _ = pace.choose()
        now[0] += seconds[n_threads]
        pace.record(n_threads, 1000, seconds[n_threads])
        return n_threads

    free, stalled = {1: 0.0014, 2: 0.001}, {1: 0.060, 2: 0.060}
    assert [run(free) for _ in range(5000)][-1] == 2
    assert run(stalled) == 2
    # Trials came a second apart by now.
    assert [run(free) for _ in range(40)].count(1) < 10


def test_stalls_that_come_again_leave_training_on_one_thread_for_longer(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    pace = _threads.Pace(2)
    rows = seconds_of_two = 0.0
    while now[0] < 120:
        n_threads, _ = pace.choose()
        seconds = {1: 0.001, 2: 0.0009}[n_threads]
        if n_threads == 2:
            seconds_of_two += seconds
            if seconds_of_two > 0.025:  # then another process takes a core for as long
                seconds, seconds_of_two = seconds + 0.025, 0.0
        now[0] += seconds
        rows += 1000
        pace.record(n_threads, 1000, seconds)
    # One thread alone takes 1000 rows a millisecond.
    assert rows > 0.9 * 20e6


def test_pace_forgets_a_single_run_that_took_a_hundred_times_as_long():
    pace = _threads.Pace(2)
    pace.record(1, 100, 0.040)
    pace.record(2, 100, 4.0)
    pace.record(2, 100, 0.025)
    pace.record(2, 100, 0.025)
    assert pace.choose()[0] == 2


def test_calls_that_work_at_once_share_the_threads():
    assert _threads.fair_share(8) == 8
    with _threads.working(), _threads.working(), _threads.working():
        assert _threads.fair_share(8) == 2
        assert _threads.fair_share(2) == 1
    assert _threads.fair_share(8) == 8


@ignores_max_iter
def test_blas_is_held_to_one_thread_by_those_predictions_alone_that_call_it(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 16))
    y = X[:, 0] > 0
    models = {width: BCEMLPClassifier((width,), max_iter=1).fit(X, y) for width in (1, 64)}
    holds, hold, held = [], _threads._hold_blas, []
    monkeypatch.setattr(_threads, "_hold_blas", lambda: (holds.append(True), hold()))
    for width, model in models.items():
        model.predict(X)
        if holds:
            held.append(width)
        holds.clear()
    # Without vectors, all products are BLAS's.
    assert held == [width for width in models if Layout((16, width, 1), "relu").network.forward_calls_blas(8)]
    assert 1 in held  # whatever vectors there are, one number fills none


def printed(code, **environment):
    """What the code prints, and its stderr; a variable of None is not in its environment."""
    environment = {name: value for name, value in {**os.environ, **environment}.items() if value is not None}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return result.stdout.strip(), result.stderr


def test_environment_limits_the_threads_and_n_threads_sets_them():
    code = "from skbce._threads import thread_limit; print(thread_limit(None), thread_limit(5))"
    assert printed(code, OMP_NUM_THREADS="1")[0] == "1 5"
    # Without OpenMP it is one thread, whatever the environment says.
    assert printed(code, OMP_NUM_THREADS="3")[0] == ("3 5" if doors.HAS_OPENMP else "1 5")


@needs_affinity
def test_affinity_limits_the_threads():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from skbce._threads import thread_limit; print(thread_limit(None))"
    )
    # Unset: LLVM's OpenMP ends the process at an empty one.
    assert printed(code, OMP_NUM_THREADS=None)[0] == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork that could leave a child without threads")
def test_threaded_fit_in_a_forked_child_of_a_threaded_parent_finishes():
    # In a process of its own: JAX and PyTorch, where other tests have loaded them, warn of any fork.
    code = """
import os, warnings
import numpy as np
from skbce import BCEMLPClassifier, PiecewiseLinearEncoder, _threads
warnings.simplefilter("ignore")
_threads.Pace.choose = lambda self: (_threads.fair_share(self._limit), 60.0)
X = np.random.default_rng(0).standard_normal((800, 60)); y = (X[:, 0] > 0).astype(int)
clf = BCEMLPClassifier((64, 32), batch_size=800, max_iter=2, n_threads=2, random_state=0)
expected = clf.fit(X, y).coefs_[0].sum()
child = os.fork()
if child == 0:
    os._exit(0 if clf.fit(X, y).coefs_[0].sum() == expected else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.strip() == "0", result.stderr


@pytest.mark.parametrize("n_threads", [1, 2])
def test_threads_end_together_at_an_order_that_names_no_row_and_leave_the_step_before(n_threads):
    X, y = rows_for_threads(1600, 60, np.float32, False)
    layout = Layout((60, 64, 32, 1), "relu")
    rule = {"solver": 0, "learning_rate": 0.1, "alpha": 0.0, "weight_decay": 0.0, "max_grad_norm": np.inf}
    rule |= {"momentum": 0.0, "nesterov": False, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    order = np.arange(1600)
    order[1000] = 1600
    thetas = []
    for stop in (800, 1600):
        theta = np.random.default_rng(0).normal(0, 0.1, layout.n_parameters).astype(np.float32)
        work = Workspace(layout, 800, np.float32, n_threads)
        arguments = (
            layout.network, rule, 0, theta, np.zeros_like(theta), None, doors.Table(X), y.astype(np.uint8)[:, None],
            None, order, 0.0, None, 0, stop, 800, np.inf, 0.0, work.block_rows, work.blocks, work.gradients,
            work.partials, n_threads,
        )  # fmt: skip
        if stop == 800:
            doors.run_steps(*arguments)
        else:
            with pytest.raises(ValueError, match="row_ids names rows that X does not have"):
                doors.run_steps(*arguments)
        thetas.append(theta)
    np.testing.assert_array_equal(*thetas)


def assert_same_parameters(clf, expected):
    for array, reference in zip(
        (*clf.coefs_, *clf.intercepts_), (*expected.coefs_, *expected.intercepts_), strict=True
    ):
        np.testing.assert_array_equal(array, reference)


@ignores_max_iter
def test_two_threaded_fits_at_once_give_the_bits_of_one_after_the_other(all_threads, monkeypatch):
    tables = [rows_for_threads(1800 + 100 * i, 60, np.float32, False) for i in range(2)]
    expected = [fitted(2, X, y) for X, y in tables]
    run_steps, both, met = doors.run_steps, threading.Barrier(2), set()

    def meets(*args):
        if threading.get_ident() not in met:
            met.add(threading.get_ident())
            both.wait(60)
        return run_steps(*args)

    monkeypatch.setattr(doors, "run_steps", meets)
    with ThreadPoolExecutor(2) as pool:
        at_once = list(pool.map(lambda data: fitted(2, *data), tables))
    assert len(met) == 2
    for clf, reference in zip(at_once, expected, strict=True):
        assert_same_parameters(clf, reference)


@ignores_max_iter
def test_eight_threads_that_fit_and_predict_at_once_get_the_bits_of_one(two_blas_threads):
    tables = [rows_for_threads(300 + 50 * k, 20, (np.float32, np.float64)[k % 2], k % 3 == 0) for k in range(8)]
    shared, begin = fitted(2, *tables[0], batch_size=100), threading.Barrier(8)

    def fits_and_predicts(k):
        clf = fitted(1 + k % 2, *tables[k], batch_size=100, solver=("adam", "sgd", "lbfgs")[k % 3])
        encoder = PiecewiseLinearEncoder(8).fit(tables[1][0])
        return [
            *clf.coefs_, *clf.intercepts_, clf.predict_proba(tables[k][0]), shared.predict_proba(tables[0][0]),
            encoder.transform(tables[1][0]),
        ]  # fmt: skip

    def at_once(k):
        begin.wait(60)
        return [fits_and_predicts(k) for _ in range(3)]

    expected = [fits_and_predicts(k) for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for results, references in zip(pool.map(at_once, range(8)), expected, strict=True):
            for result in results:
                for array, reference in zip(result, references, strict=True):
                    np.testing.assert_array_equal(array, reference)
    assert blas_threads() == two_blas_threads


@ignores_max_iter
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_with_two_jobs_gives_the_results_of_one(two_blas_threads, backend):
    X, y = rows_for_threads(400, 20, np.float64, False)
    clf = BCEMLPClassifier((16,), max_iter=5, learning_rate_init=0.01, random_state=0)
    grid = {"alpha": [1e-4, 10.0], "batch_size": [50, 100]}
    one = GridSearchCV(clf, grid, cv=2, scoring="neg_log_loss", return_train_score=True).fit(X, y)
    with joblib.parallel_backend(backend):
        two = GridSearchCV(clf, grid, cv=2, scoring="neg_log_loss", return_train_score=True, n_jobs=2).fit(X, y)
    for name in one.cv_results_:
        if "score" in name and "time" not in name:
            np.testing.assert_array_equal(two.cv_results_[name], one.cv_results_[name])
    assert len(np.unique(one.cv_results_["mean_test_score"])) == 4
    assert_same_parameters(two.best_estimator_, one.best_estimator_)
    assert blas_threads() == two_blas_threads


@ignores_max_iter
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more of the test scores")
def test_blas_has_its_own_number_of_threads_after_a_threaded_grid_search_whose_fits_fail(two_blas_threads):
    X, y = rows_for_threads(400, 20, np.float64, False)
    clf = BCEMLPClassifier((16,), solver="sgd", max_iter=5, random_state=0)
    with joblib.parallel_backend("threading"):
        search = GridSearchCV(clf, {"learning_rate_init": [1e-3, 1e200] * 2}, cv=2, n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(np.isnan(search.cv_results_["mean_test_score"]), [False, True] * 2)
    assert blas_threads() == two_blas_threads


@ignores_max_iter
@pytest.mark.parametrize("diverging_ends", ["first", "last"])
def test_blas_is_as_found_after_overlapping_fits_of_which_one_diverges(monkeypatch, two_blas_threads, diverging_ends):
    X, y = rows_for_threads(400, 20, np.float64, False)
    inside, may_go = ({name: threading.Event() for name in ("good", "bad")} for _ in range(2))
    run_steps = doors.run_steps

    def waits(*args):
        name = threading.current_thread().name.split("_")[0]
        inside[name].set()
        assert may_go[name].wait(60)
        return run_steps(*args)

    monkeypatch.setattr(doors, "run_steps", waits)
    rates = {"good": 1e-3, "bad": 1e200}
    order = ("bad", "good") if diverging_ends == "first" else ("good", "bad")
    pools = {name: ThreadPoolExecutor(1, name) for name in rates}
    running = {}
    try:
        for name, rate in rates.items():
            clf = BCEMLPClassifier((16,), solver="sgd", learning_rate_init=rate, max_iter=2, random_state=0)
            running[name] = pools[name].submit(clf.fit, X, y)
            assert inside[name].wait(60)
        for name in order:
            assert set(blas_threads()) == {1}
            may_go[name].set()
            error = running[name].exception(60)
            assert (error is None) == (name == "good")
            assert error is None or "non-finite" in str(error)
    finally:
        for name, pool in pools.items():
            may_go[name].set()
            pool.shutdown()
    assert blas_threads() == two_blas_threads


def test_loky_workers_share_the_cores_and_leave_blas_as_they_found_it(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # joblib's workers keep a number that is set
    X, y = rows_for_threads(1800, 60, np.float32, False)

    def work():  # a nested function is sent by value: the worker need not find this module
        from unittest.mock import patch
        from warnings import catch_warnings, simplefilter

        from skbce import BCEMLPClassifier, _threads
        from skbce.kernels import doors

        def blas():
            return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

        run_steps, used = doors.run_steps, []

        def counted(*args):
            used.append(args[-1])
            return run_steps(*args)

        pace = patch.object(_threads.Pace, "choose", lambda self: (_threads.fair_share(self._limit), 60.0))
        with catch_warnings(), threadpool_limits(2, user_api="blas"), pace, patch.object(doors, "run_steps", counted):
            simplefilter("ignore")
            before = blas()
            BCEMLPClassifier((64, 32), batch_size=800, max_iter=2).fit(X, y)
            return _threads.thread_limit(None), max(used), before, blas()

    results = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(work)() for _ in range(2))
    for limit, used, before, after in results:
        assert limit == (max(1, joblib.cpu_count() // 2) if doors.HAS_OPENMP else 1)
        assert used <= limit
        assert set(before) == {2}
        assert after == before


def processor():
    """Where this thread runs: the 39th field of its stat, of which a name in brackets is the second."""
    return int(Path("/proc/thread-self/stat").read_text().rpartition(")")[2].split()[36])


def affinities():
    """The processors that each thread of this process may use."""
    found = {}
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            found[task.name] = os.sched_getaffinity(int(task.name))
    return found


@needs_affinity
def test_a_thread_leaves_a_processor_and_may_come_back():
    allowed = os.sched_getaffinity(0)
    has_left = False
    for _ in range(20):  # for the system may move it back at once
        place = processor()
        doors.leave_processor(place, 2)
        has_left |= processor() != place
        assert os.sched_getaffinity(0) == allowed
    # Without OpenMP there is one thread, and it stays; with one processor it must.
    assert has_left or not doors.HAS_OPENMP or len(allowed) == 1


@needs_affinity
def test_a_thread_stays_where_it_may_not_leave_or_is_not():
    allowed = os.sched_getaffinity(0)
    place = min(allowed)
    os.sched_setaffinity(0, {place})
    try:
        for number in (place, place + 1, -1, 1 << 20):
            doors.leave_processor(number, 2)
            assert os.sched_getaffinity(0) == {place}
    finally:
        os.sched_setaffinity(0, allowed)
    doors.leave_processor(processor(), len(allowed) + 1)  # more threads than processors share them as they are
    assert os.sched_getaffinity(0) == allowed


@ignores_max_iter
@needs_affinity
def test_threads_may_use_the_processors_that_they_might(all_threads):
    allowed, before = os.sched_getaffinity(0), affinities()
    X, y = rows_for_threads(20_000, 60, np.float32, False)
    clf = fitted(2, X, y)
    for _ in range(10):
        time.sleep(0.05)  # OpenMP's threads sleep, and where they wake is the system's choice
        clf.predict_proba(X)
    for thread, affinity in affinities().items():
        assert affinity == before.get(thread, allowed)
