"""How a network is trained: policy, no maths (that is in kernels/), and no scikit-learn (that is in classifier.py)."""

from skbce._training.epochs import EpochTraining, Optimizer, StochasticTraining
from skbce._training.full_batch import CostFunction, minimize_lbfgs
from skbce._training.held_out import HeldOut
from skbce._training.history import History
from skbce._training.sample import Sample
from skbce._training.schedules import SCHEDULES
from skbce._training.settings import SOLVERS, Settings
from skbce._training.stopping import Observer, Outcome

__all__ = [
    "SCHEDULES",
    "SOLVERS",
    "CostFunction",
    "EpochTraining",
    "HeldOut",
    "History",
    "Observer",
    "Optimizer",
    "Outcome",
    "Sample",
    "Settings",
    "StochasticTraining",
    "minimize_lbfgs",
]
