"""The order of a sample's rows, epoch by epoch."""

from functools import cache

import numpy as np

from skbce._training.sample import Sample
from skbce.kernels import doors


@cache
def _is_known_twister() -> bool:
    """Whether the kernel shuffles as NumPy does, and finds an MT19937's memory as no header promises it."""
    ours, theirs = np.random.MT19937(0), np.random.MT19937(0)
    order, expected = np.arange(700), np.arange(700)
    doors.shuffle(ours, order)
    np.random.RandomState(theirs).shuffle(expected)
    state = theirs.state["state"]
    return np.array_equal(order, expected) and np.array_equal(doors.twister_state(ours), [*state["key"], state["pos"]])


class Orders:
    """Shuffles `sample.order` for each epoch, as random_state.shuffle would and sooner, or for several ahead.

    Parameters
    ----------
    sample : Sample
        Its order is shuffled in place; None, for rows as they lie, becomes one.
    random_state : RandomState
    """

    def __init__(self, sample: Sample, random_state: np.random.RandomState):
        if sample.order is None:
            sample.order = np.arange(sample.n_rows, dtype=np.int64)
        self._sample = sample
        self._random_state = random_state
        # A class of the user's may shuffle in its own way, and the kernel counts to 2^32 - 1.
        is_known = type(random_state) is np.random.RandomState and sample.n_rows < 2**32
        self._twister = random_state._bit_generator if is_known else None
        if type(self._twister) is not np.random.MT19937 or not _is_known_twister():
            self._twister = None
        self._drawn = np.empty((0, sample.n_rows), np.int64)
        self._n_taken = 0
        self._state_before = None

    @property
    def can_be_ahead(self) -> bool:
        return self._twister is not None

    def next(self) -> None:
        """Make the sample's order that of the next epoch."""
        if self._n_taken < len(self._drawn):
            self.take(1)
        elif self.can_be_ahead:
            doors.shuffle(self._twister, self._sample.order)
        else:
            self._random_state.shuffle(self._sample.order)

    def ahead(self, n_epochs: int) -> np.ndarray:
        """The orders of so many epochs, or of those that are drawn already: int64 (at most n_epochs, n_rows)."""
        if self._n_taken == len(self._drawn):
            self._state_before = doors.twister_state(self._twister)
            self._drawn, self._n_taken = np.empty((n_epochs, self._sample.n_rows), np.int64), 0
            doors.shuffle(self._twister, self._sample.order, self._drawn)
        return self._drawn[self._n_taken : self._n_taken + n_epochs]

    def take(self, n_epochs: int) -> None:
        """So many of them have been run; the sample's order is that of the last one."""
        self._n_taken += n_epochs
        if n_epochs:
            self._sample.order = self._drawn[self._n_taken - 1]

    def give_back(self) -> None:
        """Leave the generator where the epochs that were run do: training ended before those drawn for it."""
        if self._n_taken < len(self._drawn):
            # On another one, so that a Ctrl-C finds the user's at one place or the other.
            twin = np.random.MT19937()
            doors.set_twister_state(twin, self._state_before)
            for _ in range(self._n_taken):
                doors.shuffle(twin, np.arange(self._sample.n_rows))
            doors.set_twister_state(self._twister, doors.twister_state(twin))
        self._drawn, self._n_taken = self._drawn[:0], 0
