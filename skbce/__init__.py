"""Multi-layer perceptrons with binary cross-entropy, fast on a CPU, behind scikit-learn's API."""

from skbce import backprop
from skbce._config import show_config
from skbce._version import __version__
from skbce.classifier import BCEMLPClassifier
from skbce.encoder import PiecewiseLinearEncoder
from skbce.gradient_check import GradientCheck, check_gradients

__all__ = [
    "BCEMLPClassifier",
    "GradientCheck",
    "PiecewiseLinearEncoder",
    "__version__",
    "backprop",
    "check_gradients",
    "show_config",
]
