"""Milliseconds of `predict_proba`, skbce's and MLPClassifier's, with the same weights."""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import joblib
import numpy as np
from peers import UNTIL_THREADS_SLEEP, Measurement
from report import add_rounds, limited, machine, positive, row, significant, spread
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from skbce import BCEMLPClassifier

N_FEATURES, HIDDEN = 50, (64, 64)
MOST_CALLS_AFTER_PAUSES = 20


def models(threads: int) -> tuple[MLPClassifier, BCEMLPClassifier]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, N_FEATURES)).astype(np.float32)
    y = X[:, 0] > X[:, 1]
    theirs = MLPClassifier(HIDDEN, max_iter=1, random_state=0)
    ours = BCEMLPClassifier(HIDDEN, max_iter=1, random_state=0, n_threads=threads)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.fit(X, y)
        ours.fit(X, y)
    theirs.coefs_, theirs.intercepts_ = ours.coefs_, ours.intercepts_
    return theirs, ours


def timed(call: Callable[[], object], n_calls: int, idle: float | None) -> float:
    """Microseconds a call, after one that wakes its threads, once those of others sleep; or each after a pause."""
    time.sleep(UNTIL_THREADS_SLEEP)
    call()
    if idle is not None:
        return statistics.median(timed_after(idle, call) for _ in range(min(n_calls, MOST_CALLS_AFTER_PAUSES)))
    started = time.perf_counter()
    for _ in range(n_calls):
        call()
    return 1e6 * (time.perf_counter() - started) / n_calls


def timed_after(idle: float, call: Callable[[], object]) -> float:
    """Microseconds of a call after so many seconds in which nothing is done."""
    time.sleep(idle)
    started = time.perf_counter()
    call()
    return 1e6 * (time.perf_counter() - started)


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < 3600:
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds below 3600")
    return number


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_rounds(parser, n_rounds=7)
    parser.add_argument("--threads", type=positive, default=1, help="of each at most (default: 1)")
    parser.add_argument("--idle", type=seconds, metavar="SECONDS", help="before each call (default: call after call)")
    options = parser.parse_args(args)
    sizes, n_rounds = ((1, 1000, 10_000), 1) if options.quick else ((1, 1000, 1_000_000), options.rounds)
    n_cores = joblib.cpu_count()
    with limited(options.threads):
        print(f"{machine(options.threads, n_cores, n_rounds)}\n")
        names = ("scikit-learn", "skbce")
        print(row(["rows", *(f"{name}, us/call" for name in names), "scikit-learn / skbce", "largest difference"]))
        print(row(["---:"] * 5))
        both = models(options.threads)
        for size in sizes:
            X = np.random.default_rng(1).standard_normal((size, N_FEATURES), dtype=np.float32)
            # The first calls are slow; and do both predict the same?
            difference = np.abs(np.subtract(*(model.predict_proba(X) for model in both))).max()
            microseconds = [], []
            for n in range(n_rounds):
                for i in (0, 1)[:: (-1) ** n]:
                    call = both[i].predict_proba
                    microseconds[i].append(timed(lambda: call(X), max(1, 50_000 // (size + 100)), options.idle))  # noqa: B023
            theirs, ours = (Measurement(name, times, 0.0) for name, times in zip(names, microseconds, strict=True))
            ratio = significant(theirs.median / ours.median)
            print(row([size, spread(theirs), spread(ours), ratio, f"{difference:.1e}"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
