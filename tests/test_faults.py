"""Ctrl-C at any point of fit, threads that share an estimator, divergence, missing memory: one model, or none."""

import gc
import subprocess
import sys
import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder, _threads
from tests.faults import ctrl_c
from tests.model_checks import assert_same_bits, blas_threads, parameters_of

# Short trainings, which do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("name", [name for name, case in ctrl_c.CASES.items() if case.n_rows <= 400])
def test_ctrl_c_at_a_point_leaves_one_whole_model_and_blas_as_found(name):
    """Some of the points where Python looks for signals; `python -m tests.faults.ctrl_c --points` takes all."""
    # CPython 3.13 looks for signals less often: an ensemble's fit had over 310 points on 3.11, and 155 to 186 there.
    every = 13 if sys.version_info >= (3, 13) else 31
    with ctrl_c.handlers():
        outcomes, failures = ctrl_c.at_every_point(ctrl_c.CASES[name], first=5, every=every)
    assert not failures
    assert outcomes.total() > 10


@pytest.mark.parametrize("where", ["enter", "exit", "release"])
def test_blas_is_as_found_after_ctrl_c_in_the_hold_itself(monkeypatch, two_blas_threads, where):
    strikes = iter([True])
    name = {"enter": "_hold_blas", "exit": "_release_blas", "release": "_set_threads"}[where]
    inner = getattr(_threads, name)

    def struck(*args):
        if where == "enter":
            inner(*args)
        if (where != "release" or args[1] != 1) and next(strikes, False):
            raise KeyboardInterrupt
        if where != "enter":
            inner(*args)

    monkeypatch.setattr(_threads, name, struck)
    with pytest.raises(KeyboardInterrupt), _threads.working() as work, work:
        pass
    assert blas_threads() == two_blas_threads
    assert not _threads._working


def two_tables(n_rows=60):
    """Of 3 columns with names and labels of text, and of 5 without and labels that are numbers."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 5))
    y = (X[:, 0] > 0).astype(int)
    return (X[:, :3], np.array(["no", "yes"])[y]), (X, y)


def refit_while(clf, tables, work, n_fits=60):
    """What `work` gives, over and over, in two threads while another fits the estimator to both tables in turn."""
    done, results, begin = threading.Event(), [], threading.Barrier(3)

    def fits():
        begin.wait()
        try:
            for k in range(n_fits):
                clf.fit(*tables[k % 2])
        finally:
            done.set()

    def works():
        begin.wait()
        while not done.is_set():
            results.append(work())

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(fits), pool.submit(works), pool.submit(works)]:
            future.result(120)
    return results


def predicted(clf, tables):
    """The prediction of the table that the model of the moment is for, or None for an error that says so."""
    return lambda: result_or_none(clf.predict, tables[0][0])


def result_or_none(call, X):
    """None where the model of the moment has another number of features."""
    try:
        return call(X)
    except ValueError as error:
        if "features" not in str(error):
            raise
        return None


NETWORK = {"hidden_layer_sizes": (4,), "max_iter": 2, "random_state": 0}


@pytest.mark.parametrize(
    "clf",
    [BCEMLPClassifier(**NETWORK), BCEMLPEnsembleClassifier(BCEMLPClassifier(**NETWORK), 2, random_state=0)],
    ids=["network", "ensemble"],
)
def test_prediction_while_another_thread_fits_is_of_one_model(clf):
    tables = two_tables()
    n_fits = 60 if isinstance(clf, BCEMLPClassifier) else 16
    expected = clf.fit(*tables[0]).predict(tables[0][0])
    for result in refit_while(clf, tables, predicted(clf, tables), n_fits):
        assert result is None or np.array_equal(result, expected)


def test_probabilities_while_another_thread_sets_another_activation_are_of_one_model():
    X, y = two_tables()[1]
    expected = [
        BCEMLPClassifier(activation=f, **NETWORK).fit(X, y).predict_proba(X).tobytes() for f in ("relu", "tanh")
    ]
    clf = BCEMLPClassifier(**NETWORK).fit(X, y)

    class InTurn:
        def fit(self, X, activation):
            clf.set_params(activation=activation).fit(X, y)

    results = refit_while(InTurn(), ((X, "tanh"), (X, "relu")), lambda: clf.predict_proba(X).tobytes())
    assert set(results) <= set(expected)


@pytest.mark.parametrize("encoder", [PiecewiseLinearEncoder(), TableEncoder()], ids=["numbers", "table"])
def test_encoding_while_another_thread_fits_is_of_one_encoder(encoder):
    tables = [(X,) for X, _ in two_tables()]
    expected = encoder.fit(*tables[0]).transform(*tables[0])

    for result in refit_while(encoder, tables, lambda: result_or_none(encoder.transform, *tables[0])):
        assert result is None or np.array_equal(result, expected)


def test_two_fits_of_one_estimator_at_once_leave_the_model_of_one():
    tables = two_tables()
    expected = [BCEMLPClassifier(**NETWORK).fit(X, y) for X, y in tables]
    clf, begin = BCEMLPClassifier(**NETWORK), threading.Barrier(2)

    def fits(k):
        begin.wait()
        clf.fit(*tables[k])

    with ThreadPoolExecutor(2) as pool:
        for _ in range(40):
            for future in [pool.submit(fits, k) for k in range(2)]:
                future.result(60)
            one = expected[clf.n_features_in_ == 5]
            assert_same_bits(parameters_of(clf), parameters_of(one))
            assert clf.classes_.tolist() == one.classes_.tolist()


def test_32_threads_that_predict_with_one_model_get_the_bits_of_one():
    X, y = two_tables(400)[1]
    clf = BCEMLPClassifier(**NETWORK).fit(X, y)
    expected = clf.predict_proba(X)
    with ThreadPoolExecutor(32) as pool:
        for result in pool.map(lambda _: clf.predict_proba(X), range(320)):
            np.testing.assert_array_equal(result, expected)


def test_parameters_set_while_fit_runs_are_kept():
    X, y = two_tables()[1]
    clf = BCEMLPClassifier(**NETWORK)
    clf.set_params(scoring=lambda *args: clf.set_params(alpha=0.5) and 1.0, early_stopping=True).fit(X, y)
    assert clf.alpha == 0.5
    assert clf.n_features_in_ == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parameters_whose_logits_overflow_are_not_kept(dtype):
    X, y = two_tables(300)[1]
    rate = np.sqrt(np.finfo(dtype).max) * 10.0  # after one step each W is finite, and W of W is not
    clf = BCEMLPClassifier((20, 20), solver="sgd", learning_rate_init=rate, max_iter=1, batch_size=300, random_state=0)
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(X.astype(dtype), y)
    assert np.isfinite(clf.predict_proba(X.astype(dtype))).all()


def test_gradients_whose_squares_overflow_are_told():
    """Adam would stand still: it divides by the root of infinity."""
    X, y = two_tables()[1]
    with pytest.raises(ValueError, match="non-finite"):
        BCEMLPClassifier(**NETWORK).fit(1e25 * X.astype(np.float32), y)


def test_loss_curves_stay_finite_where_held_out_rows_overflow():
    X, y = two_tables(300)[1]
    clf = BCEMLPClassifier(
        (20, 20), solver="sgd", learning_rate_init=1e6, early_stopping=True, max_iter=20, random_state=0
    )
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(np.clip(X, -1.5, 1.5).astype(np.float32), y)
    assert np.isfinite(clf.validation_loss_curve_).all()


def test_training_that_led_nowhere_says_what_to_do():
    X, y = two_tables(300)[1]
    clf = BCEMLPClassifier((20,), learning_rate_init=1e6, max_iter=200, n_iter_no_change=1, tol=1e30, random_state=0)
    with pytest.warns(UserWarning, match=r"worse than that of any constant prediction: scale X .* lower learning_rate"):
        clf.fit(X, y)


ALLOCATES = [(np, "empty"), (np, "zeros"), (np, "arange"), (np, "ones")]


@pytest.mark.parametrize("parameters", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.parametrize("fitted_before", [False, True])
def test_memory_error_at_any_allocation_leaves_the_estimator_as_it_was(
    monkeypatch, two_blas_threads, parameters, fitted_before
):
    before_table, (X, y) = two_tables(100)
    expected = BCEMLPClassifier(**NETWORK | parameters).fit(X, y)
    failed, k = True, 0
    while failed:
        k += 1
        clf = BCEMLPClassifier(**NETWORK | parameters)
        if fitted_before:
            clf.fit(*before_table)
        before, counts = dict(vars(clf)), [0]
        with monkeypatch.context() as patch:
            for module, name in ALLOCATES:
                patch.setattr(module, name, failing_at(k, counts, getattr(module, name)))
            try:
                clf.fit(X, y)
                failed = False
            except MemoryError:
                pass
        assert blas_threads() == two_blas_threads
        if failed:
            assert vars(clf) == before
    assert k > 10
    assert_same_bits(parameters_of(clf), parameters_of(expected))


def failing_at(k, counts, inner):
    def allocate(*args, **kwargs):
        counts[0] += 1
        if counts[0] == k:
            raise MemoryError
        return inner(*args, **kwargs)

    return allocate


TIGHT = """
import resource, sys, warnings
from pathlib import Path
import numpy as np
from skbce import BCEMLPClassifier
warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((800, 60)); y = (X[:, 0] > 0).astype(int)
clf = BCEMLPClassifier((64, 32), batch_size=800, max_iter=3, n_threads=int(sys.argv[1]), random_state=0)
(held,) = [int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmData" in line]
resource.setrlimit(resource.RLIMIT_DATA, (1024 * held + 20 * 2**20, resource.RLIM_INFINITY))
try:
    clf.fit(X, y)
except MemoryError:
    print("MemoryError, and", "fitted" if hasattr(clf, "coefs_") else "unfitted")
resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(clf.fit(X, y).n_iter_)
"""


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="only Linux counts all of a process's own memory in RLIMIT_DATA: elsewhere there is no limit to run into",
)
@pytest.mark.parametrize("n_threads", [1, 2])
def test_fit_without_memory_for_its_threads_is_a_memory_error(n_threads):
    """In OpenBLAS it would be a loop without end, which the time limit is for."""
    command = [sys.executable, "-c", TIGHT, str(n_threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.stdout.splitlines() == ["MemoryError, and unfitted", "3"], result.stderr


def test_fits_leave_no_memory_behind():
    """300 of each; one float more a fit would be 9,600 bytes, and an array or a dict much more."""
    X, y = two_tables()[1]
    clf = BCEMLPClassifier(**NETWORK)

    def work():
        clf.fit(X, y).predict(X)
        clf.partial_fit(X, y)
        with pytest.raises(ValueError, match="features"):
            clf.predict(X[:, :2])
        with pytest.raises(ValueError, match="one class"):
            clf.fit(X, np.ones(len(y)))

    def allocated():
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracemalloc.start()
        try:
            for _ in range(30):
                work()
            before = allocated()
            for _ in range(300):
                clf.loss_curve_ = []  # which partial_fit adds to
                work()
            grown = allocated() - before
        finally:
            tracemalloc.stop()
    # What other threads and caches of Python keep by the way: a few kB were seen.
    assert grown < 50_000
