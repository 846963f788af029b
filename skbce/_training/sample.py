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

    def shuffle(self, random_state: np.random.RandomState, orders: np.ndarray | None = None) -> None:
        """Shuffle the order in place, as random_state.shuffle would, and sooner.

        With orders, int64 (n, n_rows), so many times: they become what the order is after each.
        """
        # A class of the user's may shuffle in its own way, and the kernel counts to 2^32 - 1.
        if type(random_state) is np.random.RandomState and self.order.size < 2**32:
            doors.shuffle(random_state._bit_generator, self.order, orders)
        elif orders is None:
            random_state.shuffle(self.order)
        else:
            for order in orders:
                random_state.shuffle(self.order)
                order[...] = self.order
