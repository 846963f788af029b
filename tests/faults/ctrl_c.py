"""Ctrl-C in fit: at random moments of the clock, or at every point where Python looks for signals in skbce's code.

    python -m tests.faults.ctrl_c --moments 1000
    python -m tests.faults.ctrl_c --points

After each Ctrl-C the estimator must be what it was, or hold a usable model; BLAS must have its own threads again; and
another fit must give the bits of one that nobody disturbed. Ctrl-C is the handler of SIGINT, called for a timer's
signal: so it is known when it was due.
"""

import argparse
import contextlib
import dis
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import FrameType
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, _threads, make_tabular_classifier
from tests.model_checks import blas_threads

TEXT_OF_INTERRUPTION = ("interrupted by user", "Ctrl-C")
FINISHED = "finished, in silence"


@dataclass(frozen=True)
class Case:
    """A fit to be disturbed, on an estimator that is new, or that has a model of other columns; or a prediction."""

    make: Callable[[], Any]
    n_rows: int
    n_features: int
    fitted_before: bool = False
    method: str = "fit"
    X_val: bool = False
    kind: str = "numbers"

    def table(self, n_features: int) -> tuple[Any, np.ndarray]:
        return table(self.n_rows, n_features, self.kind)

    def estimator(self) -> Any:
        """As it is before the fit that is disturbed."""
        clf = self.make()
        if self.method == "predict_proba":
            X, y = self.table(self.n_features)
            clf.fit(X[:1000], y[:1000])
        elif self.fitted_before:
            self.call(clf, self.n_features + (self.method == "fit"))
        return clf

    def call(self, clf: Any, n_features: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.fit(clf, n_features)

    def fit(self, clf: Any, n_features: int) -> None:
        X, y = self.table(n_features)
        if self.method == "predict_proba":
            clf.predict_proba(X)
            return
        arguments: dict[str, Any] = {"classes": [0, 1]} if self.method == "partial_fit" else {}
        if self.X_val:
            arguments |= {"X_val": X[: self.n_rows // 2], "y_val": y[: self.n_rows // 2]}
        getattr(clf, self.method)(X, y, **arguments)


@cache
def table(n_rows: int, n_features: int, kind: str) -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    y = (X[:, 0] + rng.standard_normal(n_rows) > 0).astype(int)
    if kind == "numbers":
        return X, y
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(n_features)])
    frame["town"] = np.array(["Bonn", "Ulm", "Genk"])[rng.integers(0, 3, n_rows)]
    return frame, y


def network(hidden=(16,), **parameters):
    return lambda: BCEMLPClassifier(
        hidden, **{"max_iter": 8, "n_threads": 1, "random_state": 0, "tol": 0, "n_iter_no_change": 10**6} | parameters
    )


def ensemble(**parameters):
    member = network(max_iter=4, scoring="loss", n_threads=None)()
    return lambda: BCEMLPEnsembleClassifier(member, 3, random_state=0, n_threads=2, **parameters)


# Batches that are whole tables: a step, as an evaluation of L-BFGS, takes more than two seconds on one thread.
LARGE_ROWS = 250_000


def large(**parameters):
    return network((1024,), **{"batch_size": LARGE_ROWS, "max_iter": 1} | parameters)


CASES = {
    "adam, 20-16-1": Case(network(batch_size=32), 400, 20),
    "adam, 20-16-1, fitted before": Case(network(batch_size=32), 400, 20, fitted_before=True),
    "adam, 20-16-1, X_val": Case(network(batch_size=32, early_stopping=True), 400, 20, True, X_val=True),
    "adam, 784-512-1, 2 threads": Case(network((512,), batch_size=256, n_threads=2, max_iter=3), 1500, 784),
    "adam, 784-512-1, 1 thread": Case(network((512,), batch_size=256, max_iter=3), 1500, 784, fitted_before=True),
    "adam, 100-256x3-1, early stopping": Case(
        network((256, 256, 256), batch_size=256, n_threads=2, early_stopping=True), 1500, 100
    ),
    "sgd, 100-256x3-1": Case(network((256, 256, 256), solver="sgd", batch_size=256, n_threads=2), 1500, 100),
    "lbfgs, 20-16-1": Case(network(solver="lbfgs"), 400, 20),
    "lbfgs, 784-512-1, 2 threads": Case(network((512,), solver="lbfgs", n_threads=2, max_iter=5), 1500, 784, True),
    "partial_fit, 20-16-1": Case(network(batch_size=32), 400, 20, True, method="partial_fit"),
    "partial_fit, 784-512-1": Case(network((512,), batch_size=256, n_threads=2), 1500, 784, method="partial_fit"),
    "ensemble": Case(ensemble(), 400, 20),
    "ensemble, fitted before": Case(ensemble(), 400, 20, fitted_before=True),
    "make_tabular_classifier": Case(
        lambda: make_tabular_classifier(n_estimators=3, estimator=ensemble()().estimator, random_state=0),
        400, 5, kind="frame",
    ),
    "Pipeline": Case(lambda: make_pipeline(StandardScaler(), network(batch_size=32)()), 400, 20),
    "large, adam, 1 thread": Case(large(), LARGE_ROWS, 256),
    "large, adam, 2 threads": Case(large(n_threads=2, early_stopping=True), LARGE_ROWS, 256),
    "large, lbfgs, 1 thread": Case(large(solver="lbfgs"), LARGE_ROWS, 256),
    "large, lbfgs, 2 threads": Case(large(solver="lbfgs", n_threads=2), LARGE_ROWS, 256),
    "large, ensemble": Case(
        lambda: BCEMLPEnsembleClassifier(large()(), 3, random_state=0, n_threads=2), LARGE_ROWS, 256
    ),
    "large, Pipeline": Case(lambda: make_pipeline(StandardScaler(), large(n_threads=2)()), LARGE_ROWS, 256),
    "large, predict_proba": Case(large(), LARGE_ROWS, 256, fitted_before=True, method="predict_proba"),
}  # fmt: skip


def parameters_of(clf: Any) -> list[np.ndarray]:
    """Of all networks in it."""
    clf = clf[-1] if hasattr(clf, "steps") else clf
    return [array for one in getattr(clf, "estimators_", [clf]) for array in (*one.coefs_, *one.intercepts_)]


def assert_sound(case: Case, clf: Any, before: dict[str, Any], raised: bool, told: bool) -> str:
    """What came of the fit, after a look whether that may be."""
    last = clf[-1] if hasattr(clf, "steps") else clf
    now = vars(last)
    assert _threads._n_working == 0 if hasattr(_threads, "_n_working") else not _threads._working
    assert set(blas_threads()) == {2}, blas_threads()
    as_before = now.keys() == before.keys() and all(now[name] is before[name] for name in now)
    X = case.table(case.n_features)[0]
    if case.method == "predict_proba":
        assert as_before
        return "no probabilities" if raised else FINISHED
    if as_before:
        assert raised
        return unchanged(case, clf)
    assert np.isfinite(clf.predict_proba(X[:1000])).all(), "not finite"
    if hasattr(last, "loss_curve_"):
        curves = [last.loss_curve_, last.learning_rate_curve_]
        if last.validation_scores_ is not None:
            curves += [last.validation_scores_, last.validation_loss_curve_]
        expected = last.n_iter_ + (len(before.get("loss_curve_", [])) if case.method == "partial_fit" else 0)
        assert {len(curve) for curve in curves} == {expected if not raised else len(curves[0])}, "curves"
        assert not last.loss_curve_ or last.loss_curve_[-1] == last.loss_, "loss_"
        if last.early_stopping and last.best_iteration_ is not None:
            assert last.best_validation_score_ == max(last.validation_scores_), "best score"
            if case.X_val:
                X_val, y_val = X[: case.n_rows // 2], case.table(case.n_features)[1][: case.n_rows // 2]
                assert abs(last.score(X_val, y_val) - last.best_validation_score_) < 1e-12, "best weights"
        assert not raised or last.n_iter_ > 0
    if raised:
        return "new model, and KeyboardInterrupt"
    return "new model, and a warning" if told else FINISHED


def unchanged(case: Case, clf: Any) -> str:
    if not case.fitted_before:
        try:
            clf.predict(case.table(case.n_features)[0])
        except NotFittedError:
            return "unfitted as before"
        raise AssertionError("unfitted before, and predicts now")
    clf.predict(case.table(case.n_features + (case.method == "fit"))[0])
    return "the model of before"


class Disturbed(Exception):  # noqa: N818
    """Something was wrong after a Ctrl-C."""


def disturbed_fit(case: Case, expected: list[np.ndarray], arm: Callable[[], Any], disarm: Callable[[], Any]) -> Any:
    """Fit with a Ctrl-C in it; what came of it, and the error where it came of the checks."""
    clf = case.estimator()
    last = clf[-1] if hasattr(clf, "steps") else clf
    before = dict(vars(last))
    raised = True
    unraisable: list[Any] = []
    sys.unraisablehook = unraisable.append
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            try:
                arm()
                case.fit(clf, case.n_features)
                raised = False
            finally:
                ended = time.perf_counter()
                disarm()
        except KeyboardInterrupt:
            pass
    sys.unraisablehook = sys.__unraisablehook__
    told = any(text in str(w.message) for w in caught for text in TEXT_OF_INTERRUPTION)
    what = assert_sound(case, clf, before, raised, told)
    what = "swallowed by Python" if unraisable and what == FINISHED else what
    if hasattr(clf, "steps"):
        # A StandardScaler that was interrupted between mean_ and scale_ goes on from the rows it saw in the next fit.
        clf.steps[:-1] = [(name, clone(step)) for name, step in clf.steps[:-1]]
    again = case.estimator()
    case.call(again if case.method == "partial_fit" else clf, case.n_features)
    clf = again if case.method == "partial_fit" else clf
    for array, reference in zip(parameters_of(clf), expected, strict=True):
        np.testing.assert_array_equal(array, reference)
    return what, ended


class RandomMoment:
    """A timer's signal that is handled as SIGINT is, some time after the fit began."""

    def __init__(self, seconds: float):
        self._seconds = seconds
        self.due = 0.0

    def arm(self) -> None:
        self.due = time.perf_counter() + self._seconds
        signal.setitimer(signal.ITIMER_REAL, self._seconds)

    def disarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)


def at_random_moments(case: Case, n: int, rng: np.random.Generator) -> tuple[Counter, list[float]]:
    """How n fits ended, and how many seconds after the signal."""
    whole = case.estimator()
    seconds = []
    for _ in range(3):
        whole = case.estimator()
        started = time.perf_counter()
        case.call(whole, case.n_features)
        seconds.append(time.perf_counter() - started)
    expected = parameters_of(whole)
    outcomes: Counter = Counter()
    delays: list[float] = []
    while len(delays) < n:
        moment = RandomMoment(rng.uniform(1e-6, np.median(seconds)))
        try:
            what, ended = disturbed_fit(case, expected, moment.arm, moment.disarm)
        except Exception as error:
            error.add_note(f"after {moment._seconds:.6f} s of {np.median(seconds):.6f}")
            raise
        if what == FINISHED and ended <= moment.due + 1e-3:
            continue  # the fit was over before
        outcomes[what] += 1
        delays.append(ended - moment.due)
    return outcomes, delays


@cache
def signal_points(code: Any) -> frozenset[int]:
    """Where Python looks for signals: as a function begins or goes on, as a loop goes round, and after a call."""
    points, after_call = set(), False
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if after_call or name in ("RESUME", "JUMP_BACKWARD"):
            points.add(instruction.offset)
        after_call = name.startswith("CALL")
    return frozenset(points)


class Point:
    """A KeyboardInterrupt at the k-th point where Python looks for signals in files that are watched."""

    WATCHED = ("/skbce/", "/contextlib.py", "/threading.py")

    def __init__(self, k: int):
        self.k = k
        self.n_seen = 0
        self.where = ""

    def _trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event == "call":
            if not any(part in frame.f_code.co_filename for part in self.WATCHED):
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode" and frame.f_lasti in signal_points(frame.f_code):
            self.n_seen += 1
            if self.n_seen == self.k:
                self.where = f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno} {frame.f_code.co_name}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace

    def arm(self) -> None:
        # CPython 3.12 tells of opcodes only if a frame has asked for them before tracing begins.
        sys._getframe().f_trace_opcodes = True
        sys.settrace(self._trace)

    def disarm(self) -> None:
        sys.settrace(None)


def at_every_point(case: Case, first: int = 1, every: int = 1) -> tuple[Counter, list[str]]:
    """How fits ended that were stopped at each point, or each n-th; and where the checks failed."""
    whole = case.estimator()
    case.call(whole, case.n_features)
    expected = parameters_of(whole)
    outcomes: Counter = Counter()
    failures: list[str] = []
    k = first
    while True:
        point = Point(k)
        try:
            what, _ = disturbed_fit(case, expected, point.arm, point.disarm)
            outcomes[what] += 1
            if what == FINISHED and point.where:
                failures.append(f"{point.where}: {what}")
        except Exception as error:
            failures.append(f"{point.where}: {type(error).__name__}: {str(error).strip().splitlines()[:1]}")
            heal()
        if not point.where:
            return outcomes, failures
        k += every


def heal() -> None:
    """BLAS as the harness wants it, after a fit that left it otherwise."""
    if hasattr(_threads, "_n_working"):
        _threads._n_working = 0
    else:
        _threads._working.clear()
    _threads._release_blas()
    if set(blas_threads()) != {2}:
        threadpool_limits(2, user_api="blas")


@contextlib.contextmanager
def handlers():
    """SIGALRM handled as SIGINT is by default, and BLAS at two threads, so that a limit of one shows."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    # One that strikes on the way out of scikit-learn's own context leaves its settings, for all that follows.
    with threadpool_limits(2, user_api="blas"), config_context():
        yield
    signal.signal(signal.SIGALRM, before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=0, help="random moments, shared among the cases")
    parser.add_argument("--points", action="store_true", help="every point of the small cases, on one thread")
    parser.add_argument("--every", type=int, default=1, help="only each n-th point")
    parser.add_argument("--case", default="", help="only cases with this in their names")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cases = {name: case for name, case in CASES.items() if options.case in name}
    with handlers():
        if options.points:
            for name, case in cases.items():
                if case.n_rows <= 400:
                    outcomes, failures = at_every_point(case, every=options.every)
                    print(f"{name}: {outcomes.total()} points {dict(outcomes)}", flush=True)
                    for failure, n in Counter(failures).items():
                        print(f"    {n} x {failure}")
        if options.moments:
            delays: list[float] = []
            rng = np.random.default_rng(options.seed)
            # A fit of a large table takes many seconds, and there are two for each moment.
            shares = {name: 1 if case.n_rows == LARGE_ROWS else 5 for name, case in cases.items()}
            for name, case in cases.items():
                n_moments = -(-options.moments * shares[name] // sum(shares.values()))
                outcomes, seconds = at_random_moments(case, n_moments, rng)
                delays += seconds
                print(f"{name}, {n_moments}: {quantiles(seconds)} {dict(outcomes)}", flush=True)
            print(f"all {len(delays)}: {quantiles(delays)}")


def quantiles(seconds: list[float]) -> str:
    median, percentile99, most = 1e3 * np.quantile(seconds, [0.5, 0.99, 1])
    return f"back after {median:.2f} ms (median), {percentile99:.1f} (99 %), {most:.1f} (most)"


if __name__ == "__main__":
    main()
