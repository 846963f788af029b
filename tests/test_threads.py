"""Any number of threads gives the same bits, and threads are used where they may and help."""

import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp

from skbce import BCEMLPClassifier, _threads
from skbce._parameters import Layout
from skbce.kernels import doors

ignores_max_iter = pytest.mark.filterwarnings("ignore:.*(Maximum iterations|failed to converge):UserWarning")


@pytest.fixture
def all_threads(monkeypatch):
    """Every run takes all threads that n_threads allows, as on a machine with so many cores."""
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (self._limit, 60.0))


def table(n_rows, n_features, dtype, sparse):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)).astype(dtype)
    y = (X[:, 0] - X[:, 1] > 0).astype(int)
    if sparse:
        X[rng.random(X.shape) < 0.8] = 0
        X = sp.csr_matrix(X)
    return X, y


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
}


@ignores_max_iter
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_any_number_of_threads_gives_the_same_bits(all_threads, parameters, sparse, dtype):
    X, y = table(1800, 60, dtype, sparse)
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
    X, y = table(1800, 60, np.float32, False)
    expected = fitted(1, X, y)
    turns = iter(np.random.default_rng(3).integers(1, 5, 1000))
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (int(next(turns)), -1.0))  # a step a run
    clf = fitted(4, X, y)
    for array, reference in zip(clf.coefs_, expected.coefs_, strict=True):
        np.testing.assert_array_equal(array, reference)
    assert clf.loss_curve_ == expected.loss_curve_


@pytest.mark.parametrize(
    ("units", "rows", "shards"),
    [((20, 16, 1), 32, 1), ((30, 100, 1), 200, 2), ((784, 512, 1), 256, 2), ((50, 64, 64, 1), 2048, 8)],
)
def test_shards_follow_from_the_shapes(units, rows, shards):
    assert Layout(units, "relu").network.shards(rows) == shards


def test_pace_takes_the_number_of_threads_that_gets_further(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(_threads.time, "perf_counter", lambda: now[0])
    pace = _threads.Pace(2)
    assert pace.choose()[0] == 1
    pace.record(1, 100, 0.05)
    now[0] += 1.0
    assert pace.choose() == (2, _threads._TRIAL_SECONDS)
    pace.record(2, 100, 0.03)
    assert pace.choose()[0] == 2
    now[0] += 2.0
    assert pace.choose() == (1, _threads._TRIAL_SECONDS)
    pace.record(1, 100, 0.001)  # the other core is taken now
    assert pace.choose()[0] == 1


def test_calls_that_work_at_once_share_the_threads():
    assert _threads.fair_share(8) == 8
    with _threads.working(), _threads.working(), _threads.working():
        assert _threads.fair_share(8) == 2
        assert _threads.fair_share(2) == 1
    assert _threads.fair_share(8) == 8


def printed(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return result.stdout.strip(), result.stderr


@pytest.mark.skipif(not doors.HAS_OPENMP, reason="built without OpenMP: one thread, whatever the environment says")
def test_environment_limits_the_threads_and_n_threads_sets_them():
    code = "from skbce._threads import thread_limit; print(thread_limit(None), thread_limit(5))"
    assert printed(code, OMP_NUM_THREADS="1")[0] == "1 5"
    assert printed(code, OMP_NUM_THREADS="3")[0] == "3 5"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_threads():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from skbce._threads import thread_limit; print(thread_limit(None))"
    )
    assert printed(code, OMP_NUM_THREADS="")[0] == "1"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_threaded_fit_in_a_forked_child_of_a_threaded_parent_finishes():
    # In a process of its own: JAX and PyTorch, where other tests have loaded them, warn of any fork.
    code = """
import os, warnings
import numpy as np
from skbce import BCEMLPClassifier, _threads
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
