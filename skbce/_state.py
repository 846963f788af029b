"""What a fitted estimator holds, looked at before it is used: attributes can be edited, and pickles damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any

import numpy as np

STATE_ERRORS = (AttributeError, TypeError, ValueError, LookupError, OverflowError)


@contextmanager
def state_of(estimator: Any) -> Iterator[None]:
    """Turn whatever goes wrong with fitted attributes into one clear error.

    Raises
    ------
    ValueError
    """
    try:
        yield
    except STATE_ERRORS as error:
        raise state_error(estimator, error) from error


def state_error(estimator: Any, error: Exception) -> ValueError:
    """What to say of an error that fitted attributes have led to."""
    return ValueError(
        f"{error} The fitted attributes of this {type(estimator).__name__} were edited, or its file is damaged; "
        "fit it again."
    )


def require(holds: bool, what: str) -> None:
    """An error that says what must hold."""
    if not holds:
        raise ValueError(what)


def is_finite(array: np.ndarray) -> bool:
    """Whether all numbers are; by their sum, which is quicker, and need not be finite where they are."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.add.reduce(array, axis=None))) or bool(np.isfinite(array).all())


def count(name: str, value: Any) -> int:
    """A number of things."""
    # Kernels count in 64 bits, and go on from here.
    require(isinstance(value, Integral) and 0 <= value < 2**62, f"{name} is no count: {value!r}.")
    return int(value)


def number(name: str, value: Any) -> float:
    """A real number, which may be infinite."""
    require(isinstance(value, Real) and value == value, f"{name} is no number: {value!r}")
    return float(value)


def numbers(name: str, values: Any) -> list[float]:
    """A list of real numbers."""
    require(isinstance(values, list), f"{name} is no list: {values!r}")
    return [number(name, value) for value in values]


def flag(name: str, value: Any) -> bool:
    """A bool. The truth of anything may be asked for, but that of an empty array NumPy 1.26 warns of."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} is no bool: {value!r}")
    return bool(value)


def vector(name: str, value: Any, size: int) -> np.ndarray:
    """A vector of so many numbers or bools."""
    if not (isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.shape == (size,)):
        raise ValueError(f"{name} is no array of {size} numbers")
    return value


def check_labels(name: str, value: Any, n: int) -> None:
    """An array of so many labels, and none of them NaN."""
    # Each prediction comes by, and the repr of an array takes half of its time.
    if not (isinstance(value, np.ndarray) and value.shape == (n,)):
        raise ValueError(f"{name} is no array of {n} labels: {value!r}")
    if value.dtype.kind in "fcO" and any(label != label for label in value.tolist()):
        raise ValueError(f"{name} contains NaN")


def check_feature_names(estimator: Any) -> None:
    """The names of the columns are those of all, where there are any."""
    if "feature_names_in_" not in vars(estimator):
        return
    names = estimator.feature_names_in_
    require(
        isinstance(names, np.ndarray) and names.shape == (estimator.n_features_in_,),
        "feature_names_in_ is not an array of a name for each column.",
    )
