"""What is known of the course of training."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class History:
    """The course of training, epoch by epoch, over all calls that continued it."""

    loss_curve: list[float] = field(default_factory=list)
    learning_rate_curve: list[float] = field(default_factory=list)
    best_loss: float = np.inf
    validation_scores: list[float] = field(default_factory=list)
    validation_loss_curve: list[float] = field(default_factory=list)
    best_validation_score: float = -np.inf
    best_iteration: int | None = None
    no_improvement_count: int = 0
    n_samples_seen: int = 0
    n_epochs: int = 0
