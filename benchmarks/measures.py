"""How good a fitted model's probabilities are, and how long it took; in a process of the model's own."""

import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress

import numpy as np
import pandas as pd
from models import MODELS, Job
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from tables import Table
from threadpoolctl import threadpool_limits

SMALLEST = 1e-15  # the probability that log loss is measured with at least
N_BINS = 15
PREDICTED_ROWS = 1000


def scores(y: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """Of probabilities `p` of class 1, all (n,), for targets `y` of 0 and 1."""
    p = np.asarray(p, dtype=np.float64)
    clipped = np.clip(p, SMALLEST, 1 - SMALLEST)
    return {
        "auc": roc_auc_score(y, p),
        "log_loss": -np.mean(np.where(y == 1, np.log(clipped), np.log1p(-clipped))),
        "brier": np.mean((p - y) ** 2),
        "ece": calibration_error(y, p),
    }


def calibration_error(y: np.ndarray, p: np.ndarray, n_bins: int = N_BINS) -> float:
    """Mean over bins, weighted by rows, of the distance between mean probability and share of class 1.

    The bins are runs of the rows sorted by probability, as many in each as in any other, or one more; rows of equal
    probability keep their order.
    """
    order = np.argsort(p, kind="stable")
    bins = [rows for rows in np.array_split(order, n_bins) if len(rows)]
    return sum(abs(p[rows].sum() - y[rows].sum()) for rows in bins) / len(y)


def measure(name: str, table: Table, split: int, threads: int, params: dict) -> dict[str, float]:
    """Fit on three quarters of the table, and score on the rest."""
    model = MODELS[name].make(Job(table.X, split, threads, params))
    train, test = table.split(split)
    X_train, X_test = table.X.iloc[train], table.X.iloc[test]
    with warnings.catch_warnings(), threadpool_limits(threads):
        # Defaults are what is measured, whether they suffice or not.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit_seconds = timed(model.fit, X_train, table.y[train])
        p = model.predict_proba(X_test)[:, 1]
        rows = X_test.iloc[np.arange(PREDICTED_ROWS) % len(X_test)]
        predict_seconds = statistics.median(timed(model.predict_proba, rows) for _ in range(3))
    return {**scores(table.y[test], p), "fit_seconds": fit_seconds, "predict_seconds": predict_seconds}


def timed(call: Callable, *args) -> float:
    started = time.perf_counter()
    call(*args)
    return time.perf_counter() - started


def warm_up(name: str, threads: int, params: dict) -> None:
    """Import what the model needs, or raise ImportError, and let it fit something: first calls are slow."""
    rng = np.random.default_rng(0)
    table = Table("", pd.DataFrame({"x0": rng.standard_normal(200)}), rng.integers(2, size=200))
    MODELS[name].make(Job(table.X, 0, threads, params))
    # What fails otherwise fails on the tables too, where it is recorded.
    with suppress(Exception):
        measure(name, table, 0, threads, params)


class Remote:
    """A process for one model: threads that another leaves waiting take none of its time, nor does its end end all."""

    def __init__(self):
        self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def call(self, function: Callable, *args):
        try:
            return self._pool.submit(function, *args).result()
        except BrokenProcessPool:
            self.close()
            self._pool = self._started()
            raise RuntimeError("its process ended") from None

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def started(names: Sequence[str], threads: int, params: dict) -> Iterator[tuple[dict[str, Remote], list[str]]]:
    """A process for each that is installed, and a line for each that is not."""
    remotes, missing = {}, []
    try:
        for name in names:
            remote = remotes[name] = Remote()
            try:
                remote.call(warm_up, name, threads, params)
            except ImportError as error:
                missing.append(f"{name} is left out: {error}")
                remotes.pop(name).close()
            except RuntimeError:
                pass  # the process ended: see warm_up
        yield remotes, missing
    finally:
        for remote in remotes.values():
            remote.close()
