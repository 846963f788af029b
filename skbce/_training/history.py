"""What is known of the course of training."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass
class History:
    """The course of training, epoch by epoch, over all calls that continued it."""

    loss_curve: list[float] = field(default_factory=list)
    learning_rate_curve: list[float] = field(default_factory=list)
    loss: float = np.inf
    best_loss: float = np.inf
    validation_scores: list[float] | None = field(default_factory=list)  # None where no rows are held out
    validation_loss_curve: list[float] | None = field(default_factory=list)
    best_validation_score: float = -np.inf
    best_iteration: int | None = None
    no_improvement_count: int = 0
    n_samples_seen: int = 0
    n_epochs: int = 0
    n_booked: int = 0  # epochs in the curves

    def __post_init__(self) -> None:
        self.n_booked = len(self.loss_curve)

    @property
    def book(self) -> Callable[[dict[str, Any]], None]:
        """Sets attributes, all at once."""
        return vars(self).update

    def drop_unbooked(self) -> None:
        """Cut the curves to the epochs that are booked: a Ctrl-C may have come while one was added."""
        for curve in vars(self).values():
            if isinstance(curve, list):
                del curve[self.n_booked :]

    def copy(self) -> "History":
        """One that stays as it is while training goes on."""
        lists = {name: list(value) for name, value in vars(self).items() if isinstance(value, list)}
        return replace(self, **lists)
