"""Training over the partitions: the exact cost of all rows, steps down it, and steps of each partition, averaged."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from skbce._parameters import Layout
from skbce._threads import Pace
from skbce._training import (
    CostFunction,
    EpochTraining,
    HeldOut,
    History,
    Optimizer,
    Sample,
    Settings,
    StochasticTraining,
)
from skbce._training.schedules import factors
from skbce.dask.cluster import threads_of_this_worker
from skbce.dask.partitions import Block
from skbce.dask.sums import Blocks
from skbce.kernels import doors


@dataclass(frozen=True)
class Network:
    """What a worker has to know of the network; a Layout holds pointers, and cannot travel."""

    units: tuple[int, ...]
    activation: str | tuple[str, ...]
    dropout: float | tuple[float, ...]
    dtype: str
    smoothing: float
    n_threads: int | None

    def layout(self, sparse: bool) -> Layout:
        return _layout(self.units, self.activation, sparse, self.dropout)

    def sample(self, block: Block) -> Sample:
        return block.sample(self.dtype, self.smoothing)

    def pace(self) -> Pace:
        """Of this network on this worker, for as long as it does nothing else."""
        return _pace(self, threads_of_this_worker(self.n_threads))


@lru_cache(maxsize=4)
def _layout(units, activation, sparse, dropout) -> Layout:
    return Layout(units, activation, sparse, dropout)


@lru_cache(maxsize=4)
def _pace(network: Network, n_threads: int) -> Pace:
    return Pace(n_threads)


def cost_sums(block: Block, number: int, network: Network, theta: np.ndarray) -> np.ndarray:
    """On a worker: a block's summed loss, its summed weight, and the gradient of the summed loss, without L2 terms."""
    sums = np.zeros(2 + theta.size)
    total = block.total
    if total > 0:
        layout, n_threads = network.layout(block.sparse), threads_of_this_worker(network.n_threads)
        cost = CostFunction(layout, network.sample(block), 0.0, network.dtype, n_threads, network.pace())
        mean_loss, mean_gradient = cost(theta)
        sums[0], sums[1] = mean_loss * total, total
        np.multiply(mean_gradient, total, out=sums[2:], dtype=np.float64)
    return sums


class ClusterCost:
    """The cost over all rows of the partitions and its gradient, as functions of theta.

    Parameters
    ----------
    blocks : Blocks
    network : Network
    alpha : float
        Strength of the L2 term.
    """

    def __init__(self, blocks: Blocks, network: Network, alpha: float):
        self._blocks = blocks
        self._network = network
        self._alpha = alpha
        layout = network.layout(sparse=False)
        self.n_W = layout.n_parameters - sum(layout.units[1:])

    def __call__(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """Cost (nats per sample) and gradient, in float64; the network is that of theta in its own precision."""
        theta = theta.astype(self._network.dtype)
        loss, total, *_ = sums = self._blocks.sum(cost_sums, self._network, theta)
        gradient, W = sums[2:], theta[: self.n_W].astype(np.float64)
        gradient[: self.n_W] += self._alpha * W
        return float((loss + 0.5 * self._alpha * (W @ W)) / total), gradient / total


class FullBatchTraining(EpochTraining):
    """Epochs of one step each, along the gradient over all rows; the step is taken on the client.

    Parameters
    ----------
    cost_and_gradient : callable(theta) -> (cost, gradient)
    n_W : int
        How many of theta's elements are weights, which decay.
    n_rows, theta, optimizer, settings, history, held_out
        As in EpochTraining.
    """

    def __init__(self, cost_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]], n_W: int, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._cost_and_gradient = cost_and_gradient
        self.n_W = n_W

    def _epoch(self) -> tuple[float, int]:
        settings, optimizer, theta = self.settings, self.optimizer, self.theta
        cost, gradient = self._cost_and_gradient(theta)
        if settings.max_grad_norm is not None:
            norm = np.linalg.norm(gradient)
            gradient *= min(1.0, settings.max_grad_norm / norm) if norm > 0 else 1.0
        rates = self._scheduled_rates(1)
        rate = optimizer.learning_rate if rates is None else float(rates[0])
        W = theta[: self.n_W]
        shrink = rate * settings.weight_decay * W
        rule = settings.update_rule(rate) | {"alpha": 0.0}  # the gradient has the L2 term
        moment1, moment2 = (*optimizer.moments, None)[:2]
        optimizer.n_steps += 1
        doors.descend(rule, optimizer.n_steps, gradient.astype(theta.dtype), theta, moment1, moment2)
        W -= shrink
        self._last_rate = rate
        return cost, self.n_rows


@dataclass(frozen=True)
class Round:
    """Which steps each partition takes before the next averaging."""

    settings: Settings
    batch_size: int
    learning_rate: float
    n_steps: int  # taken before
    epoch: int  # of the orders of rows
    scheduled_epoch: int | None  # None where the rate does not follow a schedule
    seed: int
    part: int  # part 0, 1, .. of n_parts of each partition's epoch
    n_parts: int


def averaging_sums(block: Block, number: int, network: Network, round_: Round, state: np.ndarray) -> np.ndarray:
    """On a worker: the steps of a round over one block, as sums from which the mean over blocks follows.

    Parameters
    ----------
    state : ndarray of shape (1 + number of moments, n_parameters)
        theta and the moments, where all partitions begin.

    Returns
    -------
    sums : ndarray of float64
        Rows gone through; rows counted r, those of batches with a weight; cost x r; steps x r; state x r.
    """
    sums = np.zeros(4 + state.size)
    n_batches = -(-block.n_rows // round_.batch_size)
    at = n_batches * round_.part // round_.n_parts * round_.batch_size
    stop = min(n_batches * (round_.part + 1) // round_.n_parts * round_.batch_size, block.n_rows)
    if at >= stop:
        return sums
    theta, *moments = state.copy()
    optimizer = Optimizer(moments, round_.n_steps, round_.learning_rate)
    training = _local_training(block, number, network, round_, theta, optimizer)
    rates = None
    if round_.scheduled_epoch is not None:
        settings = round_.settings
        rates = factors(settings.learning_rate, round_.scheduled_epoch, n_batches, settings.max_iter)
        rates = float(settings.learning_rate_init) * rates
    _, cost_sum, rows_counted = training.run_steps(at, stop, rates)
    sums[0], sums[1], sums[2] = stop - at, rows_counted, cost_sum
    sums[3] = rows_counted * (optimizer.n_steps - round_.n_steps)
    sums[4:] = rows_counted * np.concatenate([theta, *moments], dtype=np.float64)
    return sums


def _local_training(block, number, network, round_, theta, optimizer) -> StochasticTraining:
    """The steps of one machine, over one block."""
    settings = replace(round_.settings, shuffle=False, early_stopping=False, max_time=None, verbose=0)
    sample = network.sample(block)
    if round_.settings.shuffle:
        sample.order = block.order((round_.seed, number, round_.epoch))
    dropout_seed = int(np.random.SeedSequence((round_.seed, number)).generate_state(1, np.uint64)[0])
    return StochasticTraining(
        network.layout(block.sparse),
        sample,
        theta,
        optimizer,
        settings,
        History(),
        min(round_.batch_size, block.n_rows),
        None,
        threads_of_this_worker(network.n_threads),
        dropout_seed=dropout_seed,
        pace=network.pace(),
    )


class AveragedTraining(EpochTraining):
    """Epochs in which each partition steps by itself, and parameters and moments are averaged, weighted by rows.

    All begin a round at the same theta and moments, so no worker keeps anything between rounds, and the result depends
    on the partitions alone.

    Parameters
    ----------
    blocks : Blocks
    network : Network
    batch_size : int
    most_rows : int
        Of a partition.
    sync_every : int or None
        Most steps of a round; None is an epoch.
    seed : int
        Of the orders of rows, and of dropout.
    n_rows, theta, optimizer, settings, history, held_out
        As in EpochTraining.
    """

    def __init__(
        self,
        blocks: Blocks,
        network: Network,
        batch_size: int,
        most_rows: int,
        sync_every: int | None,
        seed: int,
        *args,
        **kwargs,
    ):
        super().__init__(*args, **kwargs)
        self._blocks = blocks
        self._network = network
        self._batch_size = batch_size
        self._most_steps = -(-most_rows // batch_size)
        self._n_parts = 1 if sync_every is None else -(-self._most_steps // sync_every)
        self._seed = seed
        self._epochs_begun = 0

    def _epoch(self) -> tuple[float, int]:
        optimizer = self.optimizer
        scheduled_epoch = self._scheduled_epochs if self._has_schedule else None
        rates = self._scheduled_rates(self._most_steps)
        n_rows, cost_sum, rows_counted = 0, 0.0, 0
        for part in range(self._n_parts):
            round_ = Round(
                self.settings, self._batch_size, optimizer.learning_rate, optimizer.n_steps, self._epochs_begun,
                scheduled_epoch, self._seed, part, self._n_parts,
            )  # fmt: skip
            state = np.stack([self.theta, *optimizer.moments])
            sums = self._blocks.sum(averaging_sums, self._network, round_, state)
            n_rows += int(sums[0])
            counted = int(sums[1])
            if counted:
                self.theta[...], *moments = (sums[4:] / counted).reshape(state.shape)
                for moment, mean in zip(optimizer.moments, moments, strict=True):
                    moment[...] = mean
                optimizer.n_steps += round(sums[3] / counted)
                cost_sum, rows_counted = cost_sum + sums[2], rows_counted + counted
            if self._deadline.is_over():
                break
        self._epochs_begun += 1
        self._last_rate = optimizer.learning_rate if rates is None else float(rates[-1])
        return (cost_sum / rows_counted if rows_counted else 0.0), n_rows


def held_out_sums(block: Block, number: int, network: Network, theta: np.ndarray) -> np.ndarray:
    """On a worker: the weight of a block's rows that are right in all outputs, its summed loss, its weight."""
    total = block.total
    if total == 0:
        return np.zeros(3)
    sample = block.sample(network.dtype)
    n_threads = threads_of_this_worker(network.n_threads)
    accuracy, loss = HeldOut(network.layout(block.sparse), sample, network.dtype, n_threads)(theta)
    return np.array([accuracy * total, loss * total, total])


class ClusterHeldOut:
    """Score and loss on rows that are not trained on: accuracy, or with scoring="loss" minus the loss."""

    def __init__(self, blocks: Blocks, network: Network, scoring: str | None):
        self._blocks = blocks
        self._network = network
        self._scoring = scoring

    def __call__(self, theta: np.ndarray) -> tuple[float, float]:
        right, loss, total = self._blocks.sum(held_out_sums, self._network, theta).tolist()
        return (-loss if self._scoring == "loss" else right) / total, loss / total
