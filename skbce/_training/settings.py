"""The estimator's parameters that training depends on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# The order of kernels/updates.pxd.
SOLVERS = ("sgd", "adam")


@dataclass(frozen=True)
class Settings:
    """The estimator's parameters that training depends on, under their public names."""

    solver: str
    alpha: float
    learning_rate: str | Callable[[float], float]
    learning_rate_init: float
    power_t: float
    max_iter: int
    max_time: float | None
    shuffle: bool
    tol: float
    verbose: int
    momentum: float
    nesterovs_momentum: bool
    weight_decay: float
    max_grad_norm: float | None
    early_stopping: bool
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int

    def update_rule(self, learning_rate: float) -> dict:
        """The kernels' UpdateRule."""
        return {
            "solver": SOLVERS.index(self.solver),
            "learning_rate": learning_rate,
            "alpha": self.alpha,
            "weight_decay": self.weight_decay,
            "max_grad_norm": np.inf if self.max_grad_norm is None else self.max_grad_norm,
            "momentum": self.momentum,
            "nesterov": self.nesterovs_momentum,
            "beta1": self.beta_1,
            "beta2": self.beta_2,
            "eps": self.epsilon,
        }
