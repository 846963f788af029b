"""How good a network is on rows that it is not trained on."""

from collections.abc import Callable

import numpy as np

from skbce._parameters import Layout
from skbce._prediction import fill_logits
from skbce._training.sample import Sample
from skbce.kernels import doors


class HeldOut:
    """Score and loss on the rows of a sample, at any theta.

    Parameters
    ----------
    layout : Layout
    sample : Sample
        `order` names the rows of the table, or is None for all.
    dtype : dtype
        Of theta.
    n_threads : int
    metric : "accuracy", "loss" or callable(theta) -> float
        Accuracy is the share of rows, by weight, whose outputs are all right; "loss" scores minus the loss.
    keeps_best : bool
        Whether `best_logits` has those of the theta that scored best.
    """

    def __init__(
        self,
        layout: Layout,
        sample: Sample,
        dtype,
        n_threads: int,
        metric: str | Callable[[np.ndarray], float] = "accuracy",
        keeps_best: bool = False,
    ):
        rows = slice(None) if sample.order is None else sample.order
        self._layout = layout
        self._table = sample.table
        self._rows = sample.order
        self._Y = sample.Y[rows].astype(dtype)
        self._weight = None if sample.weight is None else sample.weight[rows]
        self._total = len(self._Y) if self._weight is None else self._weight.sum(dtype=np.float64)
        self._n_threads = n_threads
        self._metric = metric
        self._Z = np.empty(self._Y.shape, dtype)
        self._losses = np.empty(self._Y.shape, dtype)
        self._best_score = -np.inf
        self.best_logits = np.empty(self._Y.shape, dtype) if keeps_best else None

    def __call__(self, theta: np.ndarray) -> tuple[float, float]:
        """Score (larger is better) and binary cross-entropy (nats per sample)."""
        score, loss = self._score_and_loss(theta)
        if self.best_logits is not None and score > self._best_score:
            self._best_score = score
            self.best_logits[...] = self._Z
        return score, loss

    def _score_and_loss(self, theta: np.ndarray) -> tuple[float, float]:
        fill_logits(self._layout, theta, self._table, self._rows, self._Z, self._n_threads)
        loss = float(doors.output_loss(self._Z, self._Y, self._weight, self._losses) / self._total)
        if self._metric == "accuracy":
            right = ((self._Z > 0) == (self._Y > 0)).all(axis=1)
            return float(np.average(right, weights=self._weight)), loss
        if self._metric == "loss":
            return -loss, loss
        return float(self._metric(theta)), loss
