"""Multi-layer perceptrons with binary cross-entropy, fast on a CPU, behind scikit-learn's API."""

from skbce import backprop
from skbce._config import show_config
from skbce._version import __version__
from skbce.classifier import BCEMLPClassifier
from skbce.encoder import PiecewiseLinearEncoder
from skbce.gradient_check import GradientCheck, check_gradients
from skbce.plots import LossCurveDisplay

__all__ = [
    "BCEMLPClassifier",
    "GradientCheck",
    "LossCurveDisplay",
    "PiecewiseLinearEncoder",
    "__version__",
    "backprop",
    "check_gradients",
    "show_config",
]
