"""The rows that a network is trained on, or measured on."""

from dataclasses import dataclass

import numpy as np

from skbce.kernels import doors


@dataclass
class Sample:
    """The rows to train on.

    Y is uint8 (n_rows, n_L), 0 or 1; weight has theta's dtype, or is None; order holds the row numbers
    to train on (int64; shuffled by Orders), or is None for all rows as they lie. Training takes targets
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
