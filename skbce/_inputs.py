"""What the user gives, checked and as arrays that kernels take: X, y and weights."""

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels
from sklearn.utils.validation import _check_sample_weight, validate_data

from skbce.kernels import doors

Table = ArrayLike | sp.spmatrix | sp.sparray


def validated(estimator, X, y, sample_weight, dtype: np.dtype | None, reset: bool):
    """X, y and sample_weight as arrays, checked for what does not depend on the labels."""
    with conversion():
        X, y = validate_data(
            estimator, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=accepted_dtypes(dtype), reset=reset
        )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y.toarray() if sp.issparse(y) else y, warn=True)
    y = typed_labels(y)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not sample_weight.any():
            raise ValueError("sample_weight is zero for every row; at least one must be positive.")
    return X, y, sample_weight


def typed_labels(y):
    """Labels of one type, in an array that says so."""
    if y.dtype == object and y.ndim == 1 and len({type(label) for label in y}) == 1 and not isinstance(y[0], str):
        return np.array(y.tolist())
    return y


def encoded(estimator, y, continues: bool, incremental: bool) -> tuple[np.ndarray, dict[str, Any]]:
    """Y, 0 or 1 of shape (n_samples, n_outputs), and the attributes that describe the labels."""
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
    found = unique_labels(y) if kind in ("binary", "multiclass") else None
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
    # In float32, 1 / total must be a number too.
    if not (np.isfinite(weight).all() and weight.sum(dtype=np.float64) > np.finfo(dtype).tiny):
        raise ValueError(f"sample_weight is too large or too small for {np.dtype(dtype)}, the precision of the model.")
    return weight


def kernel_table(X, dtype) -> doors.Table:
    """X for kernels that compute in dtype: CSR, or an array whose elements lie at whole steps.

    Raises
    ------
    ValueError
        For numbers beyond dtype, and for indices of a sparse X that point outside of it.
    """
    if X.shape[1] > np.iinfo(np.int32).max:
        raise ValueError(f"X has {X.shape[1]} columns; {np.iinfo(np.int32).max} are the most.")
    if sp.issparse(X):
        # A new matrix on the same arrays, as the check below may cut them to length; on copies where their elements do
        # not lie one after the other, which is how the kernels read them.
        X = type(X)(tuple(np.require(array, requirements="CA") for array in (X.data, X.indices, X.indptr)), X.shape)
        X.check_format(full_check=True)  # indices outside X would be read outside W
        X = X.tocsr()
        values = X.data
    else:
        X = values = np.require(X, requirements="A")
    if dtype == np.float32 and values.dtype == np.float64 and values.size:
        limit = np.finfo(np.float32).max
        if values.max() > limit or values.min() < -limit:
            raise ValueError("X contains numbers too large for float32, the precision of the model.")
    return doors.Table(X)
