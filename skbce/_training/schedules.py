"""The learning rate over the course of training: a factor of `learning_rate_init` for each step.

Each schedule maps progress, in 0 .. 1 over `max_iter` epochs, to a factor.
"""

from collections.abc import Callable
from numbers import Real

import numpy as np


def cosine(progress: np.ndarray) -> np.ndarray:
    """(1 + cos(pi t)) / 2: from 1 down to 0 (Loshchilov and Hutter 2017, :doi:`10.48550/arXiv.1608.03983`)."""
    return 0.5 * (1 + np.cos(np.pi * progress))


def one_cycle(progress: np.ndarray) -> np.ndarray:
    """Up from 1/25 to 1 over the first 30 %, then down to 1/250000, each along half a cosine.

    After Smith and Topin (2019, :doi:`10.1117/12.2520589`), with PyTorch's numbers and its cosine; the momentum stays.
    """
    peak, low, lowest = 0.3, 1 / 25, 1 / 250_000
    up = low + (1 - low) * cosine(1 - progress / peak)
    down = lowest + (1 - lowest) * cosine((progress - peak) / (1 - peak))
    return np.where(progress < peak, up, down)


def coslog4(progress: np.ndarray) -> np.ndarray:
    """(1 - cos(2 pi log2(1 + 15 t))) / 2: four cycles, each twice as long as the one before.

    Holzmueller, Grinsztajn and Steinwart (2024, :doi:`10.48550/arXiv.2407.04491`).
    """
    return 0.5 * (1 - np.cos(2 * np.pi * np.log2(1 + 15 * progress)))


SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "cosine": cosine,
    "one_cycle": one_cycle,
    "coslog4": coslog4,
}


def factors(learning_rate: str | Callable[[float], float], epoch: int, n_steps: int, n_epochs: int) -> np.ndarray:
    """Factors of the n_steps steps of an epoch (0, 1, ..), of n_epochs; later epochs stay at the end.

    Raises
    ------
    ValueError
        Where a callable gives a factor that is no number, negative or not finite.
    """
    progress = np.minimum((epoch + np.arange(n_steps) / n_steps) / n_epochs, 1.0)
    if not callable(learning_rate):
        return SCHEDULES[learning_rate](progress)
    values = [learning_rate(t) for t in progress.tolist()]
    for t, value in zip(progress, values, strict=True):
        if not (_is_number(value) and 0 <= value < np.inf):
            raise ValueError(f"learning_rate({t:g}) must be a finite factor >= 0, got {value!r}.")
    return np.array(values, dtype=np.float64)


def _is_number(value: object) -> bool:
    """Whether it is a real number, which an array without dimensions is too; a str such as "0.1" is not."""
    # float first: Real alone takes a third of a microsecond, and a small network's step takes two.
    return isinstance(value, (float, Real)) or (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iuf"
    )
