"""A table as it comes, with numbers, texts and gaps, for a network: TableEncoder, and a whole model in one call."""

from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, TargetEncoder
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_feature_names,
    _check_feature_names_in,
    _check_n_features,
    check_is_fitted,
)

from skbce.encoder import PiecewiseLinearEncoder
from skbce.ensemble import BCEMLPEnsembleClassifier


class TableEncoder(TransformerMixin, BaseEstimator):
    """Columns of any kind as numbers: numbers stay, categories become indicators, many categories a mean target too.

    A column is numeric where its dtype is (bools are 0 and 1), and a category otherwise. Missing values stay NaN in
    numeric columns, and are a category of their own elsewhere. Rare categories, beyond the `max_categories` - 1 most
    frequent, share an indicator, and those that were not there in fit have it too, or none. Two categories need one.

    Parameters
    ----------
    max_categories : int, default=32
        Most indicators of a column. One with more categories has its mean target as well: sklearn's TargetEncoder,
        fitted to other rows than it encodes, so that the target does not leak.
    random_state : int, RandomState instance or None, default=None
        Cuts the rows for the mean targets.

    Attributes
    ----------
    numeric_, categorical_ : lists of int
        Numbers of the columns of each kind.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had names that are all strings.

    Raises
    ------
    ValueError
        In fit and transform, naming the column: for dates and other dtypes that are neither numbers nor categories, for
        infinite numbers, and where a numeric column has come to hold something else.

    Examples
    --------
    >>> import pandas as pd
    >>> from skbce import TableEncoder
    >>> X = pd.DataFrame({"age": [30.0, None, 41.0], "town": ["Bonn", "Ulm", "Genk"]})
    >>> encoder = TableEncoder().fit(X)
    >>> encoder.get_feature_names_out()
    array(['age', 'town_Bonn', 'town_Genk', 'town_Ulm'], dtype=object)
    >>> encoder.transform(X)
    array([[30.,  1.,  0.,  0.],
           [nan,  0.,  0.,  1.],
           [41.,  0.,  1.,  0.]], dtype=float32)
    """

    _parameter_constraints: dict = {
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, max_categories: int = 32, *, random_state: int | np.random.RandomState | None = None):
        self.max_categories = max_categories
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn the columns' kinds and categories.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            For the mean targets; without it there are none.

        Returns
        -------
        self : TableEncoder
        """
        self.fit_transform(X, y)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float32]:
        """Fit to X, and encode it; mean targets of a row are those of other rows.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_encoded)
            float32: numeric columns, indicators, mean targets.
        """
        columns = self._columns(X, reset=True)
        kinds = [_is_numeric(column) for column in columns]
        self.numeric_ = [j for j, numeric in enumerate(kinds) if numeric]
        self.categorical_ = [j for j, numeric in enumerate(kinds) if not numeric]
        numbers, categories = self._numbers(columns), self._categories(columns)
        self._one_hot, self._mean_target, parts = None, None, [numbers]
        if self.categorical_:
            self._one_hot = OneHotEncoder(
                drop="if_binary",
                handle_unknown="infrequent_if_exist",
                max_categories=self.max_categories,
                sparse_output=False,
                dtype=np.float32,
            )
            parts.append(self._one_hot.fit_transform(categories))
            n_categories = np.array([len(found) for found in self._one_hot.categories_])
            self._many = np.flatnonzero(n_categories > self.max_categories)
            if y is not None and len(self._many):
                self._mean_target = TargetEncoder(target_type="binary", random_state=self.random_state)
                parts.append(self._mean_target.fit_transform(categories[:, self._many], y).astype(np.float32))
        return np.hstack(parts)

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """X as numbers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_encoded)
            float32.
        """
        check_is_fitted(self, "numeric_")
        columns = self._columns(X, reset=False)
        parts, categories = [self._numbers(columns)], self._categories(columns)
        if self._one_hot is not None:
            parts.append(self._one_hot.transform(categories))
        if self._mean_target is not None:
            parts.append(self._mean_target.transform(categories[:, self._many]).astype(np.float32))
        return np.hstack(parts)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Names of the encoded columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of X's columns, where they had none; those of fit otherwise.

        Returns
        -------
        names : ndarray of str
            "age", "town_Bonn", "town_mean_target".
        """
        check_is_fitted(self, "numeric_")
        names = np.asarray(_check_feature_names_in(self, input_features), dtype=object)
        found = list(names[self.numeric_])
        if self._one_hot is not None:
            found += list(self._one_hot.get_feature_names_out(names[self.categorical_]))
        if self._mean_target is not None:
            found += [f"{name}_mean_target" for name in names[self.categorical_][self._many]]
        return np.array(found, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _columns(self, X, reset: bool) -> list:
        """X column by column: DataFrames keep the dtype of each."""
        _check_feature_names(self, X, reset=reset)
        if not hasattr(X, "dtypes"):
            X = check_array(X, dtype=None, ensure_all_finite=False)
        _check_n_features(self, X, reset=reset)
        if X.shape[0] == 0:
            raise ValueError("X has no rows.")
        frame = hasattr(X, "iloc")
        columns = [X.iloc[:, j] if frame else X[:, j] for j in range(X.shape[1])]
        for j, column in enumerate(columns):
            if not (_is_numeric(column) or _is_categorical(column)):
                raise ValueError(
                    f"Column {self._name(j)} has the dtype {column.dtype}, which is neither numbers nor categories. "
                    "Turn dates into numbers (days since one, month, weekday), or drop it."
                )
        return columns

    def _name(self, j: int) -> str:
        names = getattr(self, "feature_names_in_", None)
        return str(j) if names is None else repr(names[j])

    def _numbers(self, columns: list) -> np.ndarray:
        """The numeric columns, missing values as NaN."""
        numbers = np.empty((len(columns[0]), len(self.numeric_)), np.float32)
        for k, j in enumerate(self.numeric_):
            try:
                with np.errstate(over="ignore"):
                    numbers[:, k] = _as_floats(columns[j])
            except (ValueError, TypeError) as error:
                raise ValueError(f"Column {self._name(j)} held numbers in fit, and does not now: {error}") from error
            if np.isinf(numbers[:, k]).any():
                raise ValueError(f"Column {self._name(j)} contains infinity, or numbers too large for float32.")
        return numbers

    def _categories(self, columns: list) -> np.ndarray:
        """The other columns as texts, missing values as None."""
        categories = np.empty((len(columns[0]), len(self.categorical_)), object)
        for k, j in enumerate(self.categorical_):
            values = np.asarray(columns[j], dtype=object)
            categories[:, k] = [None if _is_missing(value) else str(value) for value in values]
        return categories


def make_tabular_classifier(**overrides: Any) -> Pipeline:
    """A classifier for tables as they come: a Pipeline of TableEncoder and BCEMLPEnsembleClassifier.

    A Pipeline, rather than an estimator of its own, shows its two steps and lets either be exchanged: what a user knows
    of scikit-learn holds here too. docs/tabular.md has the evidence for each default.

    Parameters
    ----------
    **overrides
        Parameters of BCEMLPEnsembleClassifier, in place of these defaults; `random_state` goes to both steps. Later,
        `set_params(ensemble__n_estimators=4)` does the same.

    Returns
    -------
    model : Pipeline
        Of the steps "table" and "ensemble".

    Raises
    ------
    TypeError
        For a parameter that BCEMLPEnsembleClassifier does not have.

    Examples
    --------
    >>> import pandas as pd
    >>> from skbce import make_tabular_classifier
    >>> X = pd.DataFrame({"age": [23, 35, None, 51] * 10, "town": ["Bonn", "Ulm", "Ulm", None] * 10})
    >>> y = ["yes", "no", "no", "yes"] * 10
    >>> model = make_tabular_classifier(n_estimators=2, random_state=0).fit(X, y)
    >>> model.predict(X[:4])
    array(['yes', 'no', 'no', 'yes'], dtype='<U3')
    """
    random_state = overrides.get("random_state")
    ensemble = BCEMLPEnsembleClassifier(**{"encoders": _default_encoders(), **overrides})
    return Pipeline([("table", TableEncoder(random_state=random_state)), ("ensemble", ensemble)])


def _default_encoders() -> list[PiecewiseLinearEncoder]:
    return [PiecewiseLinearEncoder(n_bins) for n_bins in (8, 32, 16, 64)]


def _is_missing(value: Any) -> bool:
    """None, NaN, and pandas' NA and NaT, which is not to be imported for this."""
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _as_floats(column) -> np.ndarray:
    if getattr(column.dtype, "kind", "O") in "biuf" and isinstance(column.dtype, np.dtype):
        return np.asarray(column)
    return np.array([np.nan if _is_missing(value) else float(value) for value in np.asarray(column, dtype=object)])


def _present(column) -> list:
    """The values that are not missing."""
    return [value for value in np.asarray(column, dtype=object) if not _is_missing(value)]


def _is_numeric(column) -> bool:
    """Numbers and bools by dtype; or objects that are all numbers, as an array has them that was a DataFrame."""
    kind = getattr(column.dtype, "kind", "O")
    if kind != "O" or not isinstance(column.dtype, np.dtype):
        return kind in "biuf"
    present = _present(column)
    return bool(present) and all(isinstance(value, Real | np.bool_) for value in present)


def _is_categorical(column) -> bool:
    """Texts and pandas' categories; among objects, nothing but texts, numbers and bools."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "US" or type(column.dtype).__name__ in ("CategoricalDtype", "StringDtype"):
        return True
    return kind == "O" and all(isinstance(value, str | bytes | Real | np.bool_) for value in _present(column))
