"""Why and when training ends."""

import time
from enum import Enum
from typing import Protocol

import numpy as np

from skbce._training.history import History


class Outcome(Enum):
    """Why training ended."""

    CONVERGED = "converged"
    EPOCH_DONE = "epoch done"
    MAX_ITER = "max_iter reached"
    TIME_OVER = "max_time over"
    STOPPED = "stopped by an observer"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


class Observer(Protocol):
    """Who looks on while a network is trained, epoch by epoch or iteration by iteration."""

    def epoch_begins(self, theta: np.ndarray, history: History) -> None: ...

    def epoch_ends(self, theta: np.ndarray, history: History) -> bool:
        """Whether training should end here."""

    def ends_now(self) -> bool:
        """Whether training should end within the epoch, as it does when its time is over."""


class Deadline:
    """A moment so many seconds from now; never, for None. Or before, when an observer says so."""

    def __init__(self, seconds: float | None, observer: Observer | None = None):
        self._at = np.inf if seconds is None else time.perf_counter() + seconds
        self._observer = observer

    def remaining(self) -> float:
        """Seconds until then, 0 at least."""
        return max(0.0, self._at - time.perf_counter())

    def is_over(self) -> bool:
        return time.perf_counter() >= self._at or (self._observer is not None and self._observer.ends_now())
