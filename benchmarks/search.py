"""Seconds of a grid search with default settings, skbce's and MLPClassifier's; and two fits in two Python threads.

The search has `--threads`; the fits one thread each.
"""

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import joblib
from peers import UNTIL_THREADS_SLEEP
from report import add_rounds, limited, machine, positive, row, significant
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skbce import BCEMLPClassifier

ESTIMATORS = {"scikit-learn": MLPClassifier, "skbce": BCEMLPClassifier}


def own(estimator: type, threads: int) -> dict:
    """The parameter that MLPClassifier, whose BLAS is limited outside, does not have."""
    return {"n_threads": threads} if estimator is BCEMLPClassifier else {}


def search(estimator: type, threads: int, quick: bool) -> float:
    """The best score of nine settings in five folds."""
    model = Pipeline([("scale", StandardScaler()), ("mlp", estimator(random_state=0, **own(estimator, threads)))])
    grid = {"mlp__alpha": [1e-4, 1e-2, 1.0], "mlp__learning_rate_init": [3e-4, 1e-3, 3e-3]}
    if quick:
        model.set_params(mlp__max_iter=5)
    return GridSearchCV(model, grid, cv=5, n_jobs=1).fit(*load_breast_cancer(return_X_y=True)).best_score_


def fit(estimator: type, quick: bool) -> None:
    """One of long enough to be timed, on one of its own threads."""
    X, y = load_breast_cancer(return_X_y=True)
    n_epochs = 20 if quick else 400
    model = estimator(random_state=0, max_iter=n_epochs, tol=0, n_iter_no_change=10**6, **own(estimator, 1))
    model.fit(StandardScaler().fit_transform(X), y)


def both(estimator: type, quick: bool) -> None:
    """Two fits in two threads."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, [estimator] * 2, [quick] * 2))


def timed(call: Callable, *args) -> tuple[float, object]:
    started = time.perf_counter()
    value = call(*args)
    return time.perf_counter() - started, value


def searched(n_rounds: int, threads: int, quick: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds of each one's search, the median of some in turn, and the best score that it found."""
    seconds, scores = {name: [] for name in ESTIMATORS}, {}
    for n in range(n_rounds):
        for name in list(ESTIMATORS)[:: (-1) ** n]:
            time.sleep(UNTIL_THREADS_SLEEP)
            took, scores[name] = timed(search, ESTIMATORS[name], threads, quick)
            seconds[name].append(took)
    return {name: statistics.median(times) for name, times in seconds.items()}, scores


def shared(n_rounds: int, quick: bool) -> dict[str, tuple[float, float]]:
    """Seconds of each one's fit, and of two in two threads, medians of some in turn, after one that does not count."""
    pairs = {name: [] for name in ESTIMATORS}
    for n in range(n_rounds):
        for name in list(ESTIMATORS)[:: (-1) ** n]:
            estimator = ESTIMATORS[name]
            fit(estimator, quick)
            pairs[name].append((timed(fit, estimator, quick)[0], timed(both, estimator, quick)[0]))
    return {name: tuple(map(statistics.median, zip(*times, strict=True))) for name, times in pairs.items()}


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_rounds(parser, n_rounds=3)
    n_cores = joblib.cpu_count()
    parser.add_argument("--threads", type=positive, default=n_cores, help="of each in the search (default: all cores)")
    options = parser.parse_args(args)
    n_rounds = 1 if options.quick else options.rounds
    with warnings.catch_warnings():
        # Threads share the filter, so that it is set once, out here.
        warnings.simplefilter("ignore", ConvergenceWarning)
        with limited(options.threads):
            print(f"{machine(options.threads, n_cores, n_rounds)}\n")
            searches, scores = searched(n_rounds, options.threads, options.quick)
        with limited(1):
            fits = shared(3 * n_rounds, options.quick)
    print(row(["", "search, s", "best accuracy", "one fit, s", "two in two threads, s", "throughput of two / of one"]))
    print(row(["---", *["---:"] * 5]))
    for name in ESTIMATORS:
        one, two = fits[name]
        times = [searches[name], one, two, 2 * one / two]
        cells = [significant(value) for value in times]
        print(row([name, cells[0], f"{scores[name]:.4f}", *cells[1:]]))
    print(f"\nThe search takes scikit-learn {significant(searches['scikit-learn'] / searches['skbce'])} times as long.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
