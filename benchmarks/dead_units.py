"""Microseconds a step of skbce and MLPClassifier while units go dead and their weights leave the normal numbers."""

import argparse
import sys
import time
import warnings
from collections.abc import Sequence

import joblib
import numpy as np
from report import machine, row
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from skbce import BCEMLPClassifier

ESTIMATORS = {"scikit-learn": MLPClassifier, "skbce": BCEMLPClassifier}
BATCH_SIZE, EPOCHS = 32, 20


def problem(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Twenty features in float32, one of them always 0; labels follow the first, with noise."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 20), dtype=np.float32)
    X[:, 3] = 0
    return X, X[:, 0] + rng.standard_normal(n_rows) > 0


def microseconds(estimator: type, X: np.ndarray, y: np.ndarray, n_parts: int) -> list[float]:
    """A step's, in each of the parts of EPOCHS epochs: a network of 64 and 64 units, on one thread."""
    own = {"n_threads": 1} if estimator is BCEMLPClassifier else {}
    # At this learning rate units go dead; the L2 penalty is the default.
    model = estimator(
        (64, 64), batch_size=BATCH_SIZE, learning_rate_init=0.03, max_iter=EPOCHS, tol=0, n_iter_no_change=10**6,
        warm_start=True, random_state=0, **own,
    )  # fmt: skip
    n_steps = EPOCHS * -(-len(X) // BATCH_SIZE)
    parts = []
    for _ in range(n_parts):
        started = time.perf_counter()
        model.fit(X, y)
        parts.append(1e6 * (time.perf_counter() - started) / n_steps)
    return parts


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=8, help=f"of {EPOCHS} epochs each (default: 8)")
    parser.add_argument("--quick", action="store_true", help="little work: to see that it runs")
    options = parser.parse_args(args)
    X, y = problem(320 if options.quick else 4000)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        print(f"{machine(1, joblib.cpu_count(), 1)}\n")
        print(row(["us a step", *(f"epochs to {EPOCHS * (k + 1)}" for k in range(options.parts))]))
        print(row(["---", *["---:"] * options.parts]))
        for name, estimator in ESTIMATORS.items():
            print(row([name, *(f"{us:.0f}" for us in microseconds(estimator, X, y, options.parts))]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
