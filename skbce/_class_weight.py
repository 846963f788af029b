"""Weights of rows by the class they are of."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

ClassWeight = Mapping[Any, float] | Sequence[Mapping[int, float]] | str


def row_weights(
    class_weight: ClassWeight,
    Y: np.ndarray,
    labels: Sequence[Any],
    multilabel: bool,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray:
    """The weight of each row, sample_weight included; for a multilabel target, a factor from each of its columns.

    Parameters
    ----------
    class_weight : dict, list of dict or "balanced"
    Y : ndarray of uint8, shape (n_rows, n_L)
    labels : sequence of two
        What 0 and 1 in Y stand for, and keys of a dict name.
    multilabel : bool
        Whether class_weight holds a dict for each column of Y.
    sample_weight : ndarray of shape (n_rows,), default=None
        "balanced" counts rows by it, so that a row of weight 2 is two rows.

    Raises
    ------
    ValueError
        For keys that are no labels, weights that are negative or not finite, and a form that does not fit the target.
    """
    # What overflows here is found where weights are converted to the model's precision.
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(class_weight, str):
            factors = [_balanced(column, sample_weight)[column] for column in Y.T]
        else:
            of_columns = _of_columns(class_weight, Y.shape[1]) if multilabel else [class_weight]
            factors = [_of_dict(weights, labels)[column] for weights, column in zip(of_columns, Y.T, strict=True)]
        weights = np.prod(factors, axis=0)
        return weights if sample_weight is None else weights * sample_weight


def _of_columns(class_weight: Any, n_columns: int) -> Sequence[Mapping[int, float]]:
    """A dict for each column of a multilabel target."""
    if not (isinstance(class_weight, Sequence) and len(class_weight) == n_columns):
        raise ValueError(
            f"class_weight={class_weight!r}: a multilabel target needs 'balanced' or a list of a dict for each of its "
            f"{n_columns} columns."
        )
    return class_weight


def _balanced(column: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray:
    """n_rows / (n_classes rows of the class), of 0 and of 1; a class without rows has no use for its weight."""
    counts = np.bincount(column, weights=sample_weight, minlength=2)
    return counts.sum() / (np.count_nonzero(counts) * np.where(counts > 0, counts, 1))


def _of_dict(weights: Any, labels: Sequence[Any]) -> np.ndarray:
    """The weights of 0 and 1; 1 for a label that is not named."""
    if not isinstance(weights, Mapping):
        raise ValueError(f"class_weight must have a dict {{label: weight}} here, got {weights!r}.")
    unknown = [key for key in weights if key not in labels]
    if unknown:
        raise ValueError(f"class_weight={weights!r} has the keys {unknown}, and the labels are {list(labels)}.")
    for weight in weights.values():
        if not (isinstance(weight, Real) and np.isfinite(weight) and weight >= 0):
            raise ValueError(f"class_weight={weights!r}: weights must be finite and not negative, got {weight!r}.")
    return np.array([weights.get(label, 1.0) for label in labels], dtype=np.float64)
