"""The cost over all rows and its gradient, and SciPy's L-BFGS on them."""

import time
from collections.abc import Callable

import numpy as np
import scipy.optimize

from skbce._parameters import Layout, Workspace
from skbce._prediction import fill_logits
from skbce._threads import Pace
from skbce._training.history import History
from skbce._training.progress import Progress
from skbce._training.sample import Sample
from skbce._training.settings import Settings
from skbce._training.stopping import Deadline, Observer, Outcome
from skbce.kernels import doors


class CostFunction:
    """The cost over all rows of a sample and its gradient, as functions of theta, in theta's own precision."""

    def __init__(self, layout: Layout, sample: Sample, alpha: float, dtype, n_threads: int, pace: Pace | None = None):
        self.layout = layout
        self.sample = sample
        self.alpha = alpha
        self.dtype = np.dtype(dtype)
        self._work = Workspace(layout, sample.n_rows, dtype, n_threads)
        self._pace = pace or Pace.going_on(self._work.n_threads, sample.n_rows, layout.n_parameters)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Cost (nats per sample) and gradient at theta; the gradient is a new array of theta's dtype."""
        gradient = np.empty(self.layout.n_parameters, self.dtype)
        work = self._work
        n_threads, _ = self._pace.choose()
        started = time.perf_counter()
        cost = doors.cost_and_gradient(
            self.layout.network, self.alpha, theta.astype(self.dtype, copy=False), gradient,
            self.sample.table, self.sample.Y, self.sample.weight, self.sample.smoothing,
            work.block_rows, work.blocks, work.gradients, work.partials, n_threads,
        )  # fmt: skip
        self._pace.record(n_threads, self.sample.n_rows, time.perf_counter() - started)
        return cost, gradient.astype(theta.dtype, copy=False)

    def cost(self, theta: np.ndarray) -> float:
        """The cost alone, at a third of the price of both."""
        theta = theta.astype(self.dtype, copy=False)
        sample = self.sample
        Z = np.empty(sample.Y.shape, self.dtype)
        fill_logits(self.layout, theta, sample.table, None, Z, self._work.n_threads)
        Y = sample.Y.astype(self.dtype) * (1 - sample.smoothing) + 0.5 * sample.smoothing
        loss = doors.output_loss(Z, Y.astype(self.dtype, copy=False), sample.weight, np.empty_like(Z))
        total = sample.n_rows if sample.weight is None else sample.weight.sum(dtype=np.float64)
        W = np.concatenate([W.ravel() for W in self.layout.views(theta)[0]], dtype=np.float64)
        return (loss + 0.5 * self.alpha * (W @ W)) / total


class _EndedError(Exception):
    """Ends SciPy's minimisation from within."""

    def __init__(self, outcome: Outcome):
        self.outcome = outcome


def minimize_lbfgs(
    cost_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]],
    n_rows: int,
    theta: np.ndarray,
    settings: Settings,
    history: History,
    observer: Observer | None = None,
) -> tuple[Outcome, str]:
    """Minimise the full-batch cost by scipy's L-BFGS-B from theta, which ends at the result.

    Parameters
    ----------
    cost_and_gradient : callable(theta) -> (cost, gradient)
        Over all rows: a CostFunction, or one that knows where else the rows lie. It gets theta in float64 too.
    n_rows : int
        How many they are.
    theta, settings, history, observer
        As in EpochTraining.

    Returns
    -------
    outcome : Outcome
    message : str
        scipy's, about why it stopped.
    """
    deadline = Deadline(settings.max_time)
    progress = Progress(settings.verbose, "iteration", settings.max_iter, n_rows)
    history.n_epochs = 0
    history.loss = np.inf

    def accepted(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        if not np.isfinite(intermediate_result.fun) or not np.isfinite(intermediate_result.x).all():
            raise _EndedError(Outcome.DIVERGED)
        # SciPy tells of an iteration when it is over, and not whether another one follows.
        if observer is not None:
            observer.epoch_begins(theta, history)
        news = {"loss": float(intermediate_result.fun), "n_epochs": history.n_epochs + 1}
        book, x = history.book, intermediate_result.x
        theta[...] = x  # no Ctrl-C comes between this and the books
        book(news)
        progress.epoch_ended(history.n_epochs, history.loss)
        if observer is not None and observer.epoch_ends(theta, history):
            raise _EndedError(Outcome.STOPPED)
        if deadline.is_over():
            raise _EndedError(Outcome.TIME_OVER)

    options = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
    try:
        history.loss = cost_and_gradient(theta)[0]
        if not np.isfinite(history.loss):
            raise _EndedError(Outcome.DIVERGED)
        result = scipy.optimize.minimize(
            cost_and_gradient, theta.astype(np.float64), method="L-BFGS-B", jac=True,
            callback=accepted, options=options,
        )  # fmt: skip
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED, ""
    except _EndedError as end:
        return end.outcome, ""
    finally:
        progress.end()
    if not (np.isfinite(result.fun) and np.isfinite(result.x).all()):
        return Outcome.DIVERGED, ""
    history.loss = float(result.fun)
    history.n_epochs = min(result.nit, settings.max_iter)
    theta[...] = result.x
    outcome = Outcome.CONVERGED if result.status == 0 else Outcome.MAX_ITER
    return outcome, str(result.message)
