"""What the user gives, checked and as arrays that kernels take: X, y and weights."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, validate_data

from skbce.kernels import doors

Table = ArrayLike | sp.spmatrix | sp.sparray


@contextmanager
def about(name: str) -> Iterator[None]:
    """Put the argument's name before messages that do not have it, as many of scikit-learn's and NumPy's do not."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, ValueError | TypeError) and re.search(rf"\b{name}\b", str(error)):
            raise
        kind = TypeError if isinstance(error, TypeError) and not isinstance(error, ValueError) else ValueError
        raise kind(f"{name}: {error}") from error


def refuse_unreadable(name: str, X) -> None:
    """Raise an error for masked entries, whose values mean nothing, and for a sparse X whose arrays contradict it.

    SciPy looks at the arrays of a matrix when it is made, and not again: turning a broken one into another format reads
    and writes outside of them.
    """
    if np.ma.is_masked(X):
        raise ValueError(f"{name} is a masked array with masked entries. Fill them, or leave out their rows.")
    if not sp.issparse(X):
        return
    if len(X.shape) != 2:
        raise ValueError(f"{name} must have two dimensions, got the shape {X.shape}.")
    try:
        fits = _agrees_with_itself(X)
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f"{name} is a broken sparse matrix ({X.format}): {error}") from error
    if not fits:
        raise ValueError(f"{name} is a broken sparse matrix ({X.format}): its indices do not fit its shape and data.")


def _agrees_with_itself(X) -> bool:
    """Whether the arrays of a sparse matrix fit each other and its shape."""
    if X.format in ("csr", "csc", "bsr"):
        if not X.indices.dtype.kind == X.indptr.dtype.kind == "i":
            return False
        # A new matrix on the same arrays: the check may cut them to length.
        type(X)((X.data, X.indices, X.indptr), shape=X.shape).check_format(full_check=True)
        return True
    if X.format == "coo":
        return all(len(at) == len(X.data) and _lie_below(at, n) for at, n in zip((X.row, X.col), X.shape))
    if X.format == "lil":
        rows, data = X.rows, X.data
        return rows.shape == data.shape == X.shape[:1] and all(
            len(at) == len(values) and _lie_below(at, X.shape[1]) for at, values in zip(rows, data)
        )
    return X.format != "dia" or (X.data.ndim == 2 and np.shape(X.offsets) == X.data.shape[:1])


def _lie_below(indices, n: int) -> bool:
    indices = np.asarray(indices)
    return not indices.size or (indices.dtype.kind in "iu" and indices.min() >= 0 and indices.max() < n)


def validated(estimator, X, y, sample_weight, dtype: np.dtype | None, reset: bool):
    """X, y and sample_weight as arrays, checked for what does not depend on the labels."""
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    with conversion(), about("X"):
        refuse_unreadable("X", X)
        X = validate_data(estimator, X, accept_sparse=["csr", "csc"], dtype=accepted_dtypes(dtype), reset=reset)
    y = checked_labels(estimator, y)
    with about("X and y"):
        check_consistent_length(X, y)
    sample_weight = checked_weight(sample_weight, X)
    if sample_weight is not None and not sample_weight.any():
        raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    return X, y, sample_weight


@about("y")
def checked_labels(estimator, y):
    """Y as an array of labels, or an indicator matrix."""
    refuse_unreadable("y", y)
    y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y", estimator=estimator)
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y.toarray() if sp.issparse(y) else y, warn=True)
    return typed_labels(y)


@about("sample_weight")
def checked_weight(sample_weight, X) -> np.ndarray | None:
    """sample_weight in float64, one for each row of X and not negative; or None."""
    if sample_weight is None:
        return None
    refuse_unreadable("sample_weight", sample_weight)
    with conversion():
        return _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)


def typed_labels(y):
    """Labels of one type, in an array that says so."""
    if y.dtype == object and y.ndim == 1 and len({type(label) for label in y}) == 1 and not isinstance(y[0], str):
        return np.array(y.tolist())
    return y


def two_numbers(y) -> np.ndarray | None:
    """The labels of y, as unique_labels gives them, where they are one or two whole numbers; else None.

    scikit-learn sorts y three times to find them, which takes 3 ms for 80,000 rows, and this 0.05.
    """
    if sp.issparse(y) or y.ndim != 1 or not y.size or y.dtype.kind not in "biuf" or y.dtype.itemsize > 8:
        return None
    low, high = y.min(), y.max()
    # Numbers that no int64 holds scikit-learn calls continuous.
    if y.dtype.kind == "f" and not all(float(x).is_integer() and abs(float(x)) < 2**63 for x in (low, high)):
        return None
    if not ((y == low) | (y == high)).all():
        return None
    return np.asarray([low] if low == high else [low, high])


@about("y")
def encoded(estimator, y, continues: bool, incremental: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Y, 0 or 1 of shape (n_samples, n_outputs), and the attributes that describe the labels."""
    found = two_numbers(y)
    kind = "binary"
    if found is None:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y", raise_unknown=True)
    known = estimator.classes_ if continues or incremental else None
    is_sparse = sp.issparse(y)
    if kind == "multilabel-indicator":
        y = y.toarray() if is_sparse else y
        Y = np.ascontiguousarray(y, dtype=np.uint8)
        if (y != Y).any() or Y.max() > 1:
            raise ValueError(f"y as an indicator matrix must hold 0 and 1, got {np.unique(y)}.")
        if continues and (not estimator._multilabel or Y.shape[1] != estimator.n_outputs_):
            raise ValueError(f"y has {Y.shape[1]} columns; the network was trained with {estimator.n_outputs_}.")
        classes = np.arange(Y.shape[1])
        if known is not None and not np.array_equal(known, classes):
            raise ValueError(f"classes must be the numbers of y's {Y.shape[1]} columns, got {known}.")
        return Y, {"classes_": classes, "_multilabel": True, "_sparse_targets": is_sparse}
    if found is None and kind in ("binary", "multiclass"):
        found = unique_labels(y)
    if known is not None and found is not None:
        found = _checked_labels(estimator, found, known, incremental)
    if found is None or len(found) > 2:
        raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
    if len(found) < 2:
        raise ValueError(f"y needs two classes, and contains only one class: {found.tolist()[0]!r}.")
    Y = (y == found[1]).astype(np.uint8).reshape(-1, 1)
    return Y, {"classes_": found, "_multilabel": False, "_sparse_targets": False}


def _checked_labels(estimator, found: np.ndarray, known: np.ndarray, incremental: bool) -> np.ndarray:
    """The labels that the network knows, after a look whether y fits them."""
    if getattr(estimator, "_multilabel", False):
        raise ValueError(f"y has one column; the network was trained with {estimator.n_outputs_}.")
    if incremental and not np.isin(found, known).all():
        raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {known}. 'y' has {found}.")
    if not incremental and set(found) != set(known):
        raise ValueError(
            "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
            f"Previously got {known}, `y` has {found}"
        )
    return known


def validation_targets(y_val: np.ndarray, n_outputs: int, labels: dict[str, Any]) -> np.ndarray:
    """Y of rows to validate on, whose labels training must know."""
    y_val = y_val.toarray() if sp.issparse(y_val) else y_val
    if labels["_multilabel"]:
        if y_val.ndim != 2 or y_val.shape[1] != n_outputs or not ((y_val == 0) | (y_val == 1)).all():
            raise ValueError(f"y_val must hold 0 and 1 in {n_outputs} columns, as y.")
        return np.ascontiguousarray(y_val, dtype=np.uint8)
    known = labels["classes_"].tolist()
    unknown = set(y_val.tolist()) - set(known) if y_val.ndim == 1 else None
    if unknown is None or unknown:
        raise ValueError(f"y_val must be a column of the labels of y, {known}; got {unknown or y_val.shape}.")
    Y = (y_val == labels["classes_"][1]).astype(np.uint8).reshape(-1, 1)
    check_both_classes("y_val has", Y, labels, "Give it rows of both.")
    return Y


def check_both_classes(what: str, Y: np.ndarray, labels: dict, advice: str) -> None:
    """An error where rows to validate on have one class: no score tells a good model from a constant one there."""
    if Y.min() == Y.max():
        raise ValueError(f"{what} only the class {labels['classes_'].tolist()[Y[0, 0]]!r}. {advice}")


def accepted_dtypes(dtype) -> tuple[type, type]:
    """Precisions that X may stay in; anything else is converted to the first, which is the one to compute in."""
    return (np.float32, np.float64) if dtype == np.float32 else (np.float64, np.float32)


def conversion() -> np.errstate:
    """No warnings about numbers too large for float32: the error that follows tells of them."""
    return np.errstate(over="ignore", invalid="ignore")


def converted_weight(sample_weight: np.ndarray | None, dtype) -> np.ndarray | None:
    """sample_weight in the precision of the model, which must hold it."""
    if sample_weight is None:
        return None
    with np.errstate(over="ignore"):
        weight = sample_weight.astype(dtype, copy=False)
        total = weight.sum(dtype=np.float64)
    # In float32, 1 / total must be a number too.
    if not np.finfo(dtype).tiny < total < np.inf:
        raise ValueError(f"sample_weight is too large or too small for {np.dtype(dtype)}, the precision of the model.")
    return weight


def accuracy(y, predicted, sample_weight) -> float:
    """The share of rows, by weight, that are predicted right in all outputs."""
    sample_weight = converted_weight(checked_weight(sample_weight, predicted), np.float64)
    with about("y"):
        refuse_unreadable("y", y)
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))


def kernel_table(X, dtype) -> doors.Table:
    """X for kernels that compute in dtype: CSR, or an array whose elements lie at whole steps.

    Raises
    ------
    ValueError
        For numbers beyond dtype.
    """
    if X.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"X has {X.shape[1]} columns; {np.iinfo(np.int32).max} are the most.")
    if sp.issparse(X):
        X = X.tocsr()
        # The kernels read arrays whose elements lie one after the other.
        X = type(X)(tuple(np.require(array, requirements="CA") for array in (X.data, X.indices, X.indptr)), X.shape)
        values = X.data
    else:
        X = values = np.require(X, requirements="A")
    if dtype == np.float32 and values.dtype == np.float64 and values.size:
        limit = np.finfo(np.float32).max
        # Infinity stays what it is, for who validates X to tell.
        if limit < values.max() < np.inf or -np.inf < values.min() < -limit:
            raise ValueError("X contains numbers too large for float32, the precision of the model.")
    return doors.Table(X)
