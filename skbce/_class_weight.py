"""Weights of rows by the class they are of."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np

ClassWeight = Mapping[Any, float] | Sequence[Mapping[int, float]] | str


def row_weights(class_weight: ClassWeight, Y: np.ndarray, labels: Sequence[Any], multilabel: bool) -> np.ndarray:
    """The weight of each row; for a multilabel target, the product of those that its columns give it.

    Parameters
    ----------
    class_weight : dict, list of dict or "balanced"
    Y : ndarray of uint8, shape (n_rows, n_L)
    labels : sequence of two
        What 0 and 1 in Y stand for, and keys of a dict name.
    multilabel : bool
        Whether class_weight holds a dict for each column of Y.

    Raises
    ------
    ValueError
        For keys that are no labels, weights that are negative or not finite, and a form that does not fit the target.
    """
    if isinstance(class_weight, str):
        return np.prod([_balanced(column)[column] for column in Y.T], axis=0)
    if multilabel and not (isinstance(class_weight, Sequence) and len(class_weight) == Y.shape[1]):
        raise ValueError(
            f"class_weight={class_weight!r}: a multilabel target needs 'balanced' or a list of a dict for each of its "
            f"{Y.shape[1]} columns."
        )
    of_columns = class_weight if multilabel else [class_weight]
    return np.prod([_of_dict(weights, labels)[column] for weights, column in zip(of_columns, Y.T, strict=True)], axis=0)


def _balanced(column: np.ndarray) -> np.ndarray:
    """n_rows / (n_classes rows of the class), of 0 and of 1; a class without rows has no use for its weight."""
    counts = np.bincount(column, minlength=2)
    return len(column) / (np.count_nonzero(counts) * np.maximum(counts, 1))


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
