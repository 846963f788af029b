"""How a network is trained: epochs, shuffling, schedules, stopping, and L-BFGS. Policy; the maths is in kernels/."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import scipy.optimize

from skbce._parameters import Layout, Workspace, aligned_zeros
from skbce._prediction import fill_logits
from skbce._threads import Pace
from skbce.kernels import doors

# The order of kernels/updates.pxd.
SOLVERS = ("sgd", "adam")
_N_MOMENTS = {"sgd": 1, "adam": 2}


class Outcome(Enum):
    """Why training ended."""

    CONVERGED = "converged"
    EPOCH_DONE = "epoch done"
    MAX_ITER = "max_iter reached"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class Settings:
    """The estimator's parameters that training depends on, under their public names."""

    solver: str
    alpha: float
    learning_rate: str
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    tol: float
    verbose: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int


@dataclass
class Sample:
    """The rows to train on.

    Y is uint8 (n_rows, n_L), 0 or 1; weight has theta's dtype, or is None; order holds the row numbers
    to train on (int64; shuffled in place), or is None for all rows as they lie.
    """

    table: doors.Table
    Y: np.ndarray
    weight: np.ndarray | None
    order: np.ndarray | None = None

    @property
    def n_rows(self) -> int:
        return self.Y.shape[0] if self.order is None else self.order.shape[0]


@dataclass
class Optimizer:
    """What a stochastic solver carries from step to step: moments (sgd: the velocity), steps, learning rate."""

    moments: list[np.ndarray]
    n_steps: int
    learning_rate: float

    @classmethod
    def new(cls, settings: Settings, n_parameters: int, dtype) -> "Optimizer":
        moments = [aligned_zeros(n_parameters, dtype) for _ in range(_N_MOMENTS[settings.solver])]
        return cls(moments, 0, float(settings.learning_rate_init))


@dataclass
class History:
    """The course of training, epoch by epoch, over all calls that continued it."""

    loss_curve: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    validation_scores: list[float] = field(default_factory=list)
    best_validation_score: float = -np.inf
    no_improvement_count: int = 0
    n_samples_seen: int = 0
    n_epochs: int = 0


def update_rule(settings: Settings, learning_rate: float) -> dict:
    """The kernels' UpdateRule."""
    return {
        "solver": SOLVERS.index(settings.solver),
        "learning_rate": learning_rate,
        "alpha": settings.alpha,
        "momentum": settings.momentum,
        "nesterov": settings.nesterovs_momentum,
        "beta1": settings.beta_1,
        "beta2": settings.beta_2,
        "eps": settings.epsilon,
    }


class StochasticTraining:
    """Epochs of sgd or adam over one sample; `theta`, `optimizer` and `history` change in place.

    Parameters
    ----------
    layout, sample, settings, optimizer, history
        See their classes.
    theta : ndarray of shape (layout.n_parameters,)
        Where training starts from, and where the result is.
    batch_size : int
        1 .. sample.n_rows.
    random_state : RandomState
        Shuffles the rows.
    n_threads : int
        Most threads to use; the result does not depend on it.
    validation_score : callable(theta) -> float, optional
        Early stopping watches it, and the theta with the best score is kept.
    dropout_seed : int
        Of the masks, where the layout has dropout; they follow from it and from the optimizer's steps.
    """

    def __init__(
        self,
        layout: Layout,
        sample: Sample,
        theta: np.ndarray,
        optimizer: Optimizer,
        settings: Settings,
        history: History,
        batch_size: int,
        random_state: np.random.RandomState,
        n_threads: int,
        validation_score: Callable[[np.ndarray], float] | None = None,
        dropout_seed: int = 0,
    ):
        self.layout = layout
        self.sample = sample
        self.theta = theta
        self.optimizer = optimizer
        self.settings = settings
        self.history = history
        self.batch_size = batch_size
        self.random_state = random_state
        self.validation_score = validation_score
        if settings.shuffle and sample.order is None:
            sample.order = np.arange(sample.n_rows, dtype=np.int64)
        self._work = Workspace(layout, batch_size, theta.dtype, n_threads)
        self._pace = Pace(self._work.n_threads)
        self._masks = {"dropout": layout.dropout, "dropout_seed": dropout_seed} if layout.dropout is not None else {}
        self._finite_theta = theta.copy()
        self._best_theta = theta.copy() if validation_score else None

    def run(self, one_epoch: bool = False) -> Outcome:
        """Train until a reason to stop; theta ends finite, and at the best score where one is watched."""
        try:
            outcome = self._epochs(one_epoch)
        except KeyboardInterrupt:
            outcome = Outcome.INTERRUPTED
        if not np.isfinite(self.theta).all():
            outcome = Outcome.DIVERGED
        if outcome is Outcome.DIVERGED:
            self.theta[...] = self._finite_theta
        if self._best_theta is not None:
            self.theta[...] = self._best_theta
        return outcome

    def _epochs(self, one_epoch: bool) -> Outcome:
        history, settings = self.history, self.settings
        history.n_epochs = 0
        while history.n_epochs < settings.max_iter:
            cost = self._epoch()
            if not (np.isfinite(cost) and np.isfinite(self.theta).all()):
                return Outcome.DIVERGED
            self._finite_theta[...] = self.theta
            self._record(cost)
            if history.no_improvement_count > settings.n_iter_no_change:
                if self._stops():
                    return Outcome.CONVERGED
                history.no_improvement_count = 0
            if one_epoch:
                return Outcome.EPOCH_DONE
        return Outcome.MAX_ITER

    def _epoch(self) -> float:
        """One pass over the sample; the mean over its rows of their batches' costs."""
        sample, optimizer, settings = self.sample, self.optimizer, self.settings
        if settings.shuffle:
            self.random_state.shuffle(sample.order)
        rule = update_rule(settings, optimizer.learning_rate)
        moment1, moment2 = (*optimizer.moments, None)[:2]
        work = self._work
        at, cost_sum, rows_counted = 0, 0.0, 0
        while at < sample.n_rows:
            n_threads, seconds = self._pace.choose()
            start, started = at, time.perf_counter()
            # Ctrl-C is seen between two of these calls.
            at, cost_sum, rows, steps = doors.run_steps(
                self.layout.network, rule, optimizer.n_steps, self.theta, moment1, moment2,
                sample.table, sample.Y, sample.weight, sample.order, at, sample.n_rows, self.batch_size,
                seconds, cost_sum, work.block_rows, work.blocks, work.gradients, work.partials, n_threads,
                **self._masks,
            )  # fmt: skip
            self._pace.record(n_threads, at - start, time.perf_counter() - started)
            optimizer.n_steps += steps
            rows_counted += rows
        return cost_sum / rows_counted if rows_counted else 0.0

    def _record(self, cost: float) -> None:
        """Book the epoch: curves, best values, the count of epochs without improvement, the next learning rate."""
        history, settings = self.history, self.settings
        score = self.validation_score(self.theta) if self.validation_score else None
        history.n_epochs += 1
        history.n_samples_seen += self.sample.n_rows
        history.loss_curve.append(cost)
        if score is None:
            improved = cost <= history.best_loss - settings.tol
            history.best_loss = min(cost, history.best_loss)
        else:
            history.validation_scores.append(score)
            improved = score >= history.best_validation_score + settings.tol
            if score > history.best_validation_score:
                self._best_theta[...] = self.theta
                history.best_validation_score = score
        if settings.verbose:
            print(f"Iteration {history.n_epochs}, loss = {cost:.8f}")
            if score is not None:
                print(f"Validation score: {score:f}")
        history.no_improvement_count = 0 if improved else history.no_improvement_count + 1
        if settings.solver == "sgd" and settings.learning_rate == "invscaling":
            scale = (history.n_samples_seen + 1) ** settings.power_t
            self.optimizer.learning_rate = float(settings.learning_rate_init) / scale

    def _stops(self) -> bool:
        """Whether too many epochs without improvement end training, or only lower the learning rate."""
        settings, optimizer = self.settings, self.optimizer
        watched = "Training loss" if self.validation_score is None else "Validation score"
        verdict = "Stopping."
        stops = True
        if settings.solver == "sgd" and settings.learning_rate == "adaptive":
            stops = optimizer.learning_rate <= 1e-6
            if stops:
                verdict = "Learning rate too small. Stopping."
            else:
                optimizer.learning_rate /= 5.0
                verdict = f"Setting learning rate to {optimizer.learning_rate:f}"
        if settings.verbose:
            print(
                f"{watched} did not improve more than tol={settings.tol:f} "
                f"for {settings.n_iter_no_change:g} consecutive epochs. {verdict}"
            )
        return stops


class CostFunction:
    """The cost over all rows of a sample and its gradient, as functions of theta, in theta's own precision."""

    def __init__(self, layout: Layout, sample: Sample, alpha: float, dtype, n_threads: int):
        self.layout = layout
        self.sample = sample
        self.alpha = alpha
        self.dtype = np.dtype(dtype)
        self._work = Workspace(layout, sample.n_rows, dtype, n_threads)
        self._pace = Pace(self._work.n_threads)

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Cost (nats per sample) and gradient at theta; the gradient is a new array of theta's dtype."""
        gradient = np.empty(self.layout.n_parameters, self.dtype)
        work = self._work
        n_threads, _ = self._pace.choose()
        started = time.perf_counter()
        cost = doors.cost_and_gradient(
            self.layout.network, self.alpha, theta.astype(self.dtype, copy=False), gradient,
            self.sample.table, self.sample.Y, self.sample.weight,
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
        loss = doors.output_loss(Z, sample.Y.astype(self.dtype), sample.weight, np.empty_like(Z))
        total = sample.n_rows if sample.weight is None else sample.weight.sum(dtype=np.float64)
        W = np.concatenate([W.ravel() for W in self.layout.views(theta)[0]], dtype=np.float64)
        return (loss + 0.5 * self.alpha * (W @ W)) / total


def minimize_lbfgs(
    layout: Layout, sample: Sample, theta: np.ndarray, settings: Settings, history: History, n_threads: int
) -> tuple[Outcome, float, str]:
    """Minimise the full-batch cost by scipy's L-BFGS-B from theta, which ends at the result.

    Returns
    -------
    outcome : Outcome
    cost : float
        At the result, nats per sample.
    message : str
        scipy's, about why it stopped.
    """
    cost_and_gradient = CostFunction(layout, sample, settings.alpha, theta.dtype, n_threads)
    history.n_epochs = 0
    cost = np.inf

    def accepted(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        nonlocal cost
        if not np.isfinite(intermediate_result.fun) or not np.isfinite(intermediate_result.x).all():
            raise FloatingPointError
        theta[...] = intermediate_result.x
        cost = float(intermediate_result.fun)
        history.n_epochs += 1
        if settings.verbose:
            print(f"Iteration {history.n_epochs}, loss = {cost:.8f}")

    options = {"maxfun": settings.max_fun, "maxiter": settings.max_iter, "gtol": settings.tol}
    try:
        cost = cost_and_gradient(theta)[0]
        if not np.isfinite(cost):
            raise FloatingPointError
        result = scipy.optimize.minimize(
            cost_and_gradient, theta.astype(np.float64), method="L-BFGS-B", jac=True,
            callback=accepted, options=options,
        )  # fmt: skip
    except KeyboardInterrupt:
        return Outcome.INTERRUPTED, cost, ""
    except FloatingPointError:
        return Outcome.DIVERGED, cost, ""
    if not (np.isfinite(result.fun) and np.isfinite(result.x).all()):
        return Outcome.DIVERGED, cost, ""
    theta[...] = result.x
    history.n_epochs = min(result.nit, settings.max_iter)
    outcome = Outcome.CONVERGED if result.status == 0 else Outcome.MAX_ITER
    return outcome, float(result.fun), str(result.message)
