"""The rows that a network is trained on, or measured on."""

from dataclasses import dataclass

import numpy as np

from skbce.kernels import doors


@dataclass
class Sample:
    """The rows to train on.

    Y is uint8 (n_rows, n_L), 0 or 1; weight has theta's dtype, or is None; order holds the row numbers
    to train on (int64; shuffled in place), or is None for all rows as they lie. Training takes targets
    y (1 - smoothing) + smoothing / 2.
    """

    table: doors.Table
    Y: np.ndarray
    weight: np.ndarray | None
    order: np.ndarray | None = None
    smoothing: float = 0.0

    @property
    def n_rows(self) -> int:
        return self.Y.shape[0] if self.order is None else self.order.shape[0]

    def shuffle(self, random_state: np.random.RandomState) -> None:
        """Shuffle the order in place, as random_state.shuffle would, and sooner."""
        if self.is_shuffled_by_kernel(random_state):
            doors.shuffle(random_state._bit_generator, self.order)
        else:
            random_state.shuffle(self.order)

    def is_shuffled_by_kernel(self, random_state: np.random.RandomState) -> bool:
        """A class of the user's may shuffle in its own way, and the kernel counts to 2^32 - 1."""
        return type(random_state) is np.random.RandomState and self.order.size < 2**32
