"""How good a network is on rows that it is not trained on."""

from collections.abc import Callable

import numpy as np

from skbce._parameters import Layout
from skbce._prediction import fill_logits
from skbce._training.sample import Sample
from skbce.kernels import doors

# Of the rows, each with the logits of a theta that was chosen on the others: by part, for then it takes no memory for
# each epoch, and with so many the others are nearly all.
_PARTS = 16


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
    keeps_logits : bool
        Whether `best_logits` has those of the theta that scored best, and `unseen_logits` for each row those of the
        theta that scored best on the others. With a metric that is a callable, they are the same.
    """

    def __init__(
        self,
        layout: Layout,
        sample: Sample,
        dtype,
        n_threads: int,
        metric: str | Callable[[np.ndarray], float] = "accuracy",
        keeps_logits: bool = False,
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
        self.best_logits = np.empty(self._Y.shape, dtype) if keeps_logits else None
        self.unseen_logits = np.empty(self._Y.shape, dtype) if keeps_logits else None
        self._best_score = -np.inf
        if keeps_logits:
            self._part = np.arange(len(self._Y)) % _PARTS
            self._part_weights = np.bincount(self._part, self._weight, _PARTS)
            self._best_scores = np.full(_PARTS, -np.inf)

    def __call__(self, theta: np.ndarray) -> tuple[float, float]:
        """Score (larger is better) and binary cross-entropy (nats per sample)."""
        fill_logits(self._layout, theta, self._table, self._rows, self._Z, self._n_threads)
        loss = float(doors.output_loss(self._Z, self._Y, self._weight, self._losses) / self._total)
        score = self._score(theta, loss)
        if self.best_logits is not None and np.isfinite(score):  # else training ends
            self._keep_logits(score)
        return score, loss

    def _score(self, theta: np.ndarray, loss: float) -> float:
        if self._metric == "loss":
            return -loss
        if self._metric == "accuracy":
            return float(np.average(self._of_rows(), weights=self._weight))
        return float(self._metric(theta))

    def _of_rows(self) -> np.ndarray | None:
        """What the score is the mean of; None for a callable's, which may be no mean."""
        if self._metric == "loss":
            return -self._losses.sum(axis=1, dtype=np.float64)
        if self._metric == "accuracy":
            return ((self._Z > 0) == (self._Y > 0)).all(axis=1)
        return None

    def _keep_logits(self, score: float) -> None:
        """Where theta is the best so far on all rows, and where it is on all but a part."""
        if score > self._best_score:
            self._best_score = score
            self.best_logits[...] = self._Z
        scores, of_rows = np.full(_PARTS, score), self._of_rows()
        if of_rows is not None:
            sums = np.bincount(self._part, of_rows if self._weight is None else of_rows * self._weight, _PARTS)
            rest = self._total - self._part_weights
            np.divide(sums.sum() - sums, rest, out=scores, where=rest > 0)
        is_best = scores > self._best_scores
        self._best_scores[is_best] = scores[is_best]
        rows = is_best[self._part]
        self.unseen_logits[rows] = self._Z[rows]
