"""Snapshots and drafts: whatever other threads or Ctrl-C do, an estimator has one model, and never parts of two.

Prediction reads a snapshot, all attributes as they are at one moment. Fit works on a draft, and the estimator becomes
it in one assignment; so a fit that fails has changed nothing, wherever it was.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from sklearn.base import BaseEstimator

Estimator = TypeVar("Estimator", bound=BaseEstimator)


def snapshot(estimator: Estimator) -> Estimator:
    """A copy that shares all values, taken at one moment; `copy.copy` would go through `__setstate__`."""
    copied = object.__new__(type(estimator))
    copied.__dict__ = vars(estimator).copy()
    return copied


@contextmanager
def draft_of(estimator: Estimator) -> Iterator[Estimator]:
    """A snapshot to fit; where the block ends without an error, its attributes become the estimator's.

    Parameters stay the estimator's own, as does what others set meanwhile, such as scikit-learn's callbacks.
    """
    draft = snapshot(estimator)
    yield draft
    parameters, fitted = _parameter_names(type(estimator)), vars(draft)
    published = {
        name: value
        for name, value in vars(estimator).copy().items()
        if name in parameters or not (name in fitted or name.endswith("_"))
    }
    published.update((name, value) for name, value in fitted.items() if name not in parameters)
    estimator.__dict__ = published


@cache
def _parameter_names(kind: type[BaseEstimator]) -> frozenset[str]:
    return frozenset(kind._get_param_names())
