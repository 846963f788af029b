"""Multi-layer perceptrons with binary cross-entropy, fast on a CPU, behind scikit-learn's API."""

from skbce import backprop
from skbce._config import show_config
from skbce._files import load, save
from skbce._version import __version__
from skbce.classifier import BCEMLPClassifier
from skbce.encoder import PiecewiseLinearEncoder
from skbce.ensemble import BCEMLPEnsembleClassifier
from skbce.gradient_check import GradientCheck, check_gradients
from skbce.plots import LossCurveDisplay
from skbce.tabular import TableEncoder, make_tabular_classifier

__all__ = [
    "BCEMLPClassifier",
    "BCEMLPEnsembleClassifier",
    "GradientCheck",
    "LossCurveDisplay",
    "PiecewiseLinearEncoder",
    "TableEncoder",
    "__version__",
    "backprop",
    "check_gradients",
    "load",
    "make_tabular_classifier",
    "save",
    "show_config",
]
