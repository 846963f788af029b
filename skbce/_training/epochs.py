"""How a network is trained batch by batch: epochs, shuffling, stopping. Policy; the maths is in kernels/."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skbce._parameters import Layout, Workspace, aligned_zeros
from skbce._prediction import fill_logits
from skbce._threads import Pace
from skbce._training import schedules
from skbce._training.history import History
from skbce._training.orders import Orders
from skbce._training.progress import Progress
from skbce._training.sample import Sample
from skbce._training.settings import Settings
from skbce._training.stopping import Deadline, Observer, Outcome
from skbce.kernels import doors

_N_MOMENTS = {"sgd": 1, "adam": 2}

# Epochs shorter than this run several in one call, for so long together: between two calls Python takes 15 us, and
# longer where other threads hold the GIL.
_SHORT_EPOCH_SECONDS = 1e-3
_SEVERAL_EPOCHS_SECONDS = 5e-3


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

    def take_over(self, moments: list[np.ndarray], n_steps: int) -> bool:
        """Go on with the moments of so many steps; return whether this one's precision holds them.

        Where it does not, all start anew: a second moment cut to the largest number would make steps too long.

        Raises
        ------
        ValueError
            For what are no moments of this many parameters.
        """
        for own, old in zip(self.moments, moments, strict=True):
            if not (isinstance(old, np.ndarray) and old.dtype.kind == "f" and old.shape == own.shape):
                raise ValueError(f"_moments are no arrays of {own.size} numbers")
            if not np.isfinite(old).all() or (own is self.moments[-1] and len(moments) == 2 and old.min() < 0):
                raise ValueError("_moments contain numbers that cannot be")
            with np.errstate(over="ignore"):
                own[...] = old
        holds = all(np.isfinite(own).all() for own in self.moments)
        if holds:
            self.n_steps = n_steps
        else:
            for own in self.moments:
                own[...] = 0
        return holds


class EpochTraining(ABC):
    """Epochs until a reason to stop, whatever an epoch is: `theta`, `optimizer` and `history` change in place.

    Parameters
    ----------
    n_rows : int
        Rows of an epoch.
    theta : ndarray of shape (n_parameters,)
        Where training starts from, and where the result is.
    optimizer, settings, history
        See their classes.
    held_out : callable(theta) -> (score, loss), optional
        Noted every epoch. With `settings.early_stopping` the score decides when to end, and the theta with the best
        one is kept.
    observer : Observer, optional
    """

    def __init__(
        self,
        n_rows: int,
        theta: np.ndarray,
        optimizer: Optimizer,
        settings: Settings,
        history: History,
        held_out: Callable[[np.ndarray], tuple[float, float]] | None = None,
        observer: Observer | None = None,
    ):
        self.n_rows = n_rows
        self.theta = theta
        self.optimizer = optimizer
        self.settings = settings
        self.history = history
        self.held_out = held_out
        self.observer = observer
        self._has_schedule = callable(settings.learning_rate) or settings.learning_rate in schedules.SCHEDULES
        self._scheduled_epochs = 0
        self._last_rate = optimizer.learning_rate
        self._deadline = Deadline(settings.max_time, observer)
        self._progress = Progress(settings.verbose, "epoch", settings.max_iter, n_rows)
        self._finite_theta = theta.copy()
        self._best_theta = theta.copy() if settings.early_stopping else None

    @abstractmethod
    def _epoch(self) -> tuple[float, int]:
        """One pass over the rows, or what of it there is time for; theta and the optimizer change in place.

        Returns the mean over the rows of their batches' costs, and how many rows were seen. It sets `_last_rate`.
        """

    def run(self, one_epoch: bool = False) -> Outcome:
        """Train until a reason to stop; theta ends finite, and at the best score where one is watched.

        One epoch goes on with the schedule of the epochs before it; many begin a new one.
        """
        if one_epoch:
            self._scheduled_epochs = len(self.history.loss_curve)
        try:
            outcome = self._epochs(one_epoch)
        except KeyboardInterrupt:
            outcome = Outcome.INTERRUPTED
        finally:
            self._progress.end()
            self.history.drop_unbooked()
        return self.settled(outcome)

    def settled(self, outcome: Outcome) -> Outcome:
        """The outcome, with theta finite, and at the best score where one is watched."""
        if outcome is Outcome.INTERRUPTED and not self._is_harmless():
            # Whether that is sound can take as long to tell as half an epoch, which who pressed Ctrl-C will not wait.
            if not np.isfinite(self.theta).all():
                outcome = Outcome.DIVERGED
            self.theta[...] = self._finite_theta
        # Adam stands still, in silence, where the squares of its gradients overflow.
        if not all(np.isfinite(moment).all() for moment in self.optimizer.moments):
            outcome = Outcome.DIVERGED
        if outcome is Outcome.DIVERGED:
            self.theta[...] = self._finite_theta
        if self._best_theta is not None and self.history.best_iteration is not None:
            self.theta[...] = self._best_theta
        return outcome

    def _epochs(self, one_epoch: bool) -> Outcome:
        history, settings, observer = self.history, self.settings, self.observer
        history.n_epochs = 0
        while history.n_epochs < settings.max_iter:
            if observer is not None:
                observer.epoch_begins(self.theta, history)
            cost, n_rows = self._epoch()
            if not (np.isfinite(cost) and self._is_sound()):
                return Outcome.DIVERGED
            score, loss = self.held_out(self.theta) if self.held_out is not None else (None, None)
            if loss is not None and not np.isfinite(loss):
                return Outcome.DIVERGED
            self._finite_theta[...] = self.theta
            self._record(cost, n_rows, score, loss)
            if observer is not None and observer.epoch_ends(self.theta, history):
                return Outcome.STOPPED
            if history.no_improvement_count > settings.n_iter_no_change:
                if self._stops():
                    return Outcome.CONVERGED
                history.no_improvement_count = 0
            cut_short = n_rows < self.n_rows
            if one_epoch and not cut_short:
                return Outcome.EPOCH_DONE
            if cut_short or (self._deadline.is_over() and history.n_epochs < settings.max_iter):
                return Outcome.TIME_OVER
        return Outcome.MAX_ITER

    def _scheduled_rates(self, n_steps: int) -> np.ndarray | None:
        """The learning rate of each of n_steps steps of the next epoch, where they follow a schedule."""
        if not self._has_schedule:
            return None
        settings = self.settings
        factors = schedules.factors(settings.learning_rate, self._scheduled_epochs, n_steps, settings.max_iter)
        self._scheduled_epochs += 1
        return float(settings.learning_rate_init) * factors

    def _is_harmless(self) -> bool:
        """Whether the parameters are ones to go on with, as far as they alone can tell."""
        return bool(np.isfinite(self.theta).all())

    def _is_sound(self) -> bool:
        """Whether the parameters are ones to go on with."""
        return self._is_harmless()

    def _record(self, cost: float, n_rows: int, score: float | None, loss: float | None) -> None:
        """Book the epoch: curves, best values, the count of epochs without improvement, the next learning rate."""
        history, settings = self.history, self.settings
        history.loss_curve.append(cost)
        history.learning_rate_curve.append(self._last_rate)
        if self.held_out is not None:
            history.validation_scores.append(score)
            history.validation_loss_curve.append(loss)
        news = {
            "n_booked": history.n_booked + 1,
            "n_epochs": history.n_epochs + 1,
            "n_samples_seen": history.n_samples_seen + n_rows,
            "loss": cost,
        }
        is_best = settings.early_stopping and score > history.best_validation_score
        if settings.early_stopping:
            improved = score >= history.best_validation_score + settings.tol
            if is_best:
                news |= {"best_validation_score": score, "best_iteration": len(history.loss_curve)}
        else:
            improved = cost <= history.best_loss - settings.tol
            news["best_loss"] = min(cost, history.best_loss)
        news["no_improvement_count"] = 0 if improved else history.no_improvement_count + 1
        book = history.book
        # A Ctrl-C comes before this or after it, and finds the books and the best parameters of the same epoch: Python
        # looks for one as it calls and returns, not in between.
        if is_best:
            self._best_theta[...] = self.theta
        book(news)
        self._progress.epoch_ended(history.n_epochs, cost, history)
        if settings.solver == "sgd" and settings.learning_rate == "invscaling":
            scale = (history.n_samples_seen + 1) ** settings.power_t
            self.optimizer.learning_rate = float(settings.learning_rate_init) / scale

    def _stops(self) -> bool:
        """Whether too many epochs without improvement end training, or only lower the learning rate."""
        settings, optimizer = self.settings, self.optimizer
        watched = "Validation score" if settings.early_stopping else "Training loss"
        verdict = "Stopping."
        stops = True
        if settings.solver == "sgd" and settings.learning_rate == "adaptive":
            stops = optimizer.learning_rate <= 1e-6
            if stops:
                verdict = "Learning rate too small. Stopping."
            else:
                optimizer.learning_rate /= 5.0
                verdict = f"Setting learning rate to {optimizer.learning_rate:f}"
        self._progress.say(
            f"{watched} did not improve more than tol={settings.tol:f} "
            f"for {settings.n_iter_no_change:g} consecutive epochs. {verdict}"
        )
        return stops


class StochasticTraining(EpochTraining):
    """Epochs of sgd or adam over one sample.

    Parameters
    ----------
    layout, sample
        See their classes.
    theta, optimizer, settings, history, held_out, observer
        As in EpochTraining.
    batch_size : int
        1 .. sample.n_rows.
    random_state : RandomState
        Shuffles the rows.
    n_threads : int
        Most threads to use; the result does not depend on it.
    dropout_seed : int
        Of the masks, where the layout has dropout; they follow from it and from the optimizer's steps.
    pace : Pace, optional
        What is known of the threads already.
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
        held_out: Callable[[np.ndarray], tuple[float, float]] | None = None,
        observer: Observer | None = None,
        dropout_seed: int = 0,
        pace: Pace | None = None,
    ):
        super().__init__(sample.n_rows, theta, optimizer, settings, history, held_out, observer)
        self.layout = layout
        self.sample = sample
        self.batch_size = batch_size
        self._orders = Orders(sample, random_state) if settings.shuffle else None
        self._work = Workspace(layout, batch_size, theta.dtype, n_threads)
        self._pace = pace or Pace.going_on(self._work.n_threads, batch_size, layout.n_parameters)
        # Each of n layers multiplies by no more than this and its units: the square root of what the dtype holds.
        self._harmless = np.finfo(theta.dtype).max ** (0.5 / len(layout.shapes)) / max(layout.units)
        self._masks = {"dropout": layout.dropout, "dropout_seed": dropout_seed} if layout.dropout is not None else {}
        self._epoch_seconds = np.inf  # of the last one
        watched = held_out is not None or observer is not None or settings.verbose > 0 or settings.max_time is not None
        rate_changes = self._has_schedule or (settings.solver == "sgd" and settings.learning_rate == "invscaling")
        orders_are_known = sample.order is None if self._orders is None else self._orders.can_be_ahead
        self._may_run_several = orders_are_known and not (watched or rate_changes)

    def run(self, one_epoch: bool = False) -> Outcome:
        self._may_run_several &= not one_epoch
        try:
            return super().run(one_epoch)
        finally:
            if self._orders is not None:
                try:
                    self._orders.give_back()
                finally:
                    self._orders.give_back()  # where a Ctrl-C struck the first

    def _is_harmless(self) -> bool:
        """Whether the parameters are so small that the logits of no rows can overflow; NaN is not."""
        return bool(max(self.theta.max(), -self.theta.min()) <= self._harmless)

    def _is_sound(self) -> bool:
        """Whether the parameters are finite, and where they are very large, the logits of all rows too."""
        theta, sample = self.theta, self.sample
        if self._is_harmless():
            return True
        if not np.isfinite(theta).all():
            return False
        Z = np.empty((sample.n_rows, self.layout.units[-1]), theta.dtype)
        fill_logits(self.layout, theta, sample.table, sample.order, Z, self._work.n_threads)
        return bool(np.isfinite(Z).all())

    def _epoch(self) -> tuple[float, int]:
        if self._may_run_several and self._epoch_seconds < _SHORT_EPOCH_SECONDS:
            return self._several_epochs()
        sample = self.sample
        if self._orders is not None:
            self._orders.next()
        rates = self._scheduled_rates(-(-sample.n_rows // self.batch_size))
        started = time.perf_counter()
        at, cost_sum, rows_counted = self.run_steps(0, sample.n_rows, rates)
        self._epoch_seconds = time.perf_counter() - started
        if rates is not None:
            self._last_rate = float(rates[(at - 1) // self.batch_size])
        return (cost_sum / rows_counted if rows_counted else 0.0), at

    def _several_epochs(self) -> tuple[float, int]:
        """As many epochs as there will be in any case, or as are worth a call; all but the last one are booked.

        How many that is depends on the clock, and what comes of them does not.
        """
        history, settings, optimizer, work = self.history, self.settings, self.optimizer, self._work
        n_threads, seconds = self._pace.choose()
        before_patience_ends = settings.n_iter_no_change - history.no_improvement_count + 1
        seconds = min(seconds, _SEVERAL_EPOCHS_SECONDS)
        most = min(before_patience_ends, settings.max_iter - history.n_epochs, seconds / self._epoch_seconds)
        n_epochs = max(1, int(most))
        orders = None if self._orders is None else self._orders.ahead(n_epochs)
        costs = np.empty(n_epochs if orders is None else len(orders))
        done = np.zeros(3, np.int64)
        moment1, moment2 = (*optimizer.moments, None)[:2]
        sample, started = self.sample, time.perf_counter()
        self._last_rate = optimizer.learning_rate
        try:
            doors.run_epochs(
                self.layout.network, settings.update_rule(optimizer.learning_rate), optimizer.n_steps, self.theta,
                moment1, moment2, sample.table, sample.Y, sample.weight, orders, sample.smoothing, self.batch_size,
                seconds, work.block_rows, work.blocks, work.gradients, work.partials, n_threads,
                self._harmless, self._finite_theta, costs, done, **self._masks,
            )  # fmt: skip
        except KeyboardInterrupt:
            self._record_all(costs[: done[2]])
            raise
        finally:
            if self._orders is not None:
                self._orders.take(int(done[0]))
        n_done, n_steps, _ = done.tolist()
        seconds = time.perf_counter() - started
        self._pace.record(n_threads, n_done * sample.n_rows, seconds)
        self._epoch_seconds = seconds / n_done
        optimizer.n_steps += n_steps
        *before, last = costs[:n_done].tolist()
        self._record_all(before)
        return last, sample.n_rows

    def _record_all(self, costs) -> None:
        for cost in costs:
            self._record(float(cost), self.n_rows, None, None)

    def run_steps(self, at: int, stop: int, rates: np.ndarray | None) -> tuple[int, float, int]:
        """Steps over the rows at .. stop of the order, or what of them there is time for.

        Parameters
        ----------
        at, stop : int
            Where batches begin; stop may be the end of the sample too.
        rates : ndarray of float64, or None
            The learning rate of each batch of the whole sample, where it is not the optimizer's.

        Returns
        -------
        at : int
            Where it ended.
        cost_sum : float
            The sum over batches of cost x rows.
        rows_counted : int
            Rows of batches that have a weight.
        """
        sample, optimizer, settings = self.sample, self.optimizer, self.settings
        rule = settings.update_rule(optimizer.learning_rate)
        moment1, moment2 = (*optimizer.moments, None)[:2]
        work = self._work
        cost_sum, rows_counted = 0.0, 0
        while at < stop:
            n_threads, seconds = self._pace.choose()
            start, started = at, time.perf_counter()
            # Ctrl-C is seen between two of these calls.
            at, cost_sum, rows, steps = doors.run_steps(
                self.layout.network, rule, optimizer.n_steps, self.theta, moment1, moment2,
                sample.table, sample.Y, sample.weight, sample.order, sample.smoothing, rates,
                at, stop, self.batch_size, min(seconds, self._deadline.remaining()), cost_sum,
                work.block_rows, work.blocks, work.gradients, work.partials, n_threads, **self._masks,
            )  # fmt: skip
            self._pace.record(n_threads, at - start, time.perf_counter() - started)
            optimizer.n_steps += steps
            rows_counted += rows
            if self._deadline.is_over():
                break
        self._last_rate = optimizer.learning_rate
        return at, cost_sum, rows_counted
