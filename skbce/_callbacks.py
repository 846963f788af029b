"""scikit-learn's callbacks (1.9 and newer), told of every epoch; older versions have none."""

from collections.abc import Callable
from typing import Any

import numpy as np

from skbce._training import History

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """Stands for scikit-learn's, which has `set_callbacks`."""


__all__ = ["CallbackSupportMixin", "EpochTasks"]


class EpochTasks:
    """An Observer that makes of each epoch a task of scikit-learn's callbacks, below the task of the whole fit.

    Parameters
    ----------
    estimator : BCEMLPClassifier
    task_name : str
        "epoch" or "iteration".
    attributes : callable(theta, history) -> dict
        The fitted attributes, for callbacks that want an estimator that is ready to predict.
    **data
        X, y and metadata, as the callbacks get them.
    """

    def __init__(
        self, estimator: Any, task_name: str, attributes: Callable[[np.ndarray, History], dict[str, Any]], **data: Any
    ):
        self._estimator = estimator
        self._task_name = task_name
        self._attributes = attributes
        self._data = data
        self._fit = estimator._init_callback_context(max_subtasks=estimator.max_iter)
        self._fit.call_on_fit_task_begin(estimator=estimator, **data)
        self._epoch: Any = None

    def epoch_begins(self, theta: np.ndarray, history: History) -> None:
        self._epoch = self._fit.subcontext(task_name=self._task_name)
        self._epoch.call_on_fit_task_begin(
            estimator=self._estimator, reconstruction_attributes=self._later(theta, history), **self._data
        )

    def epoch_ends(self, theta: np.ndarray, history: History) -> bool:
        """Whether a callback asks to stop."""
        return self._epoch.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._later(theta, history), **self._data
        )

    def ends_now(self) -> bool:
        return False

    def fit_ends(self, theta: np.ndarray, history: History) -> None:
        self._fit.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=self._later(theta, history), **self._data
        )

    def _later(self, theta: np.ndarray, history: History) -> Callable[[], dict[str, Any]]:
        """The attributes, when a callback asks for them: of a copy, for training goes on."""
        return lambda: self._attributes(theta.copy(), history.copy())
