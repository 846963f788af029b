"""A table as it comes, with numbers, texts and gaps, for a network: TableEncoder, and a whole model in one call."""

from collections import Counter
from decimal import Decimal
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from skbce._drafts import draft_of, snapshot
from skbce._files import SavesModel
from skbce._inputs import about, refuse_unreadable
from skbce._state import check_feature_names, count, require, state_of
from skbce._typed import fit_context
from skbce.encoder import PiecewiseLinearEncoder
from skbce.ensemble import BCEMLPEnsembleClassifier

# Parts of the rows for the mean targets: each row's is taken from four fifths of the others.
_N_FOLDS = 5

_FLOATS = (float, np.floating, Decimal)  # what may be NaN, or whole
_NUMBERS = (Real, Decimal, np.bool_)


class TableEncoder(SavesModel, TransformerMixin, BaseEstimator):
    """Columns of any kind as numbers: numbers stay, categories become indicators, many categories a mean target too.

    A column is numeric where its dtype is (bools are 0 and 1), or where it is of objects that are all numbers. Texts,
    pandas' categories, and objects that are texts and numbers are categories, told apart by their text: 1, 1.0 and "1"
    are the same. A column of codes, such as postcodes in digits, is for `astype("category")`.

    Missing values stay NaN in numeric columns, and are one more category elsewhere. Two categories have one indicator,
    and a single one has none; so a column that is all missing in fit leaves nothing, and may hold anything later. Rare
    categories, beyond the `max_categories` - 1 most frequent, share an indicator.

    Categories that were not there in fit have the indicator of the rare ones, or none; beside two, 1/2. Their mean
    target is that of all rows.

    Parameters
    ----------
    max_categories : int, default=32
        Most indicators of a column. One with more categories has its mean target as well.
    random_state : int, RandomState instance or None, default=None
        Cuts the rows for the mean targets. Not used where there are none.

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
        In fit and transform, naming the column: for dates and other values that are neither numbers nor categories, for
        infinite numbers, and where a numeric column has come to hold texts. In fit, where no column leaves anything. A
        fit that fails leaves the encoder as it was.
    TypeError
        For sparse matrices.

    See Also
    --------
    sklearn.compose.make_column_transformer : Where columns are to be chosen by hand.
    sklearn.preprocessing.TargetEncoder : Mean targets alone.

    Notes
    -----
    A mean target is (total of y in the category + m * mean of y) / (rows of the category + m). m is the variance of y
    within categories over that of the categories' means, from a one-way analysis of variance, and at least 1: where
    categories tell nothing of y, all have its mean [1]_.

    In `fit_transform` a row's mean target is that of the rows in other fifths of the table, so that it does not contain
    the row's own y. Hence it differs from `fit` and then `transform`, which is for new rows. Without y there are none.
    Where y has more than two classes, or several columns, there is one for each.

    References
    ----------
    .. [1] D. Micci-Barreca, "A Preprocessing Scheme for High-Cardinality Categorical Attributes in Classification and
       Prediction Problems" (2001). :doi:`10.1145/507533.507538`

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
           [41.,  0.,  1.,  0.]])
    """

    numeric_: list[int]
    categorical_: list[int]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints: dict = {
        "max_categories": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, max_categories: int = 32, *, random_state: int | np.random.RandomState | None = None):
        self.max_categories = max_categories
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn the columns' kinds and categories.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            For the mean targets; labels of any kind, or numbers. Without it there are none.

        Returns
        -------
        self : TableEncoder
        """
        self._fit_transform(X, y)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X: ArrayLike, y: ArrayLike | None = None) -> NDArray[np.float64]:
        """Fit to X, and encode it; mean targets of a row are those of other rows.

        Parameters
        ----------
        X, y
            As in `fit`.

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_encoded)
            float64: numeric columns, indicators, mean targets.
        """
        return self._fit_transform(X, y)

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """X as numbers.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)

        Returns
        -------
        encoded : ndarray of shape (n_samples, n_encoded)
            float64, as in fit_transform. (float32 would not tell 20240131 from the day before.)
        """
        check_is_fitted(self, "numeric_")
        fitted = snapshot(self)
        with state_of(fitted):
            fitted._check_state()
        names, columns = fitted._columns(X, reset=False)
        codes = [levels.codes(*_texts(columns[j])) for j, levels in zip(fitted.categorical_, fitted._levels)]
        means = [levels.mean_target[code] for levels, code in zip(fitted._levels, codes) if levels.has_mean_target]
        return fitted._joined(names, columns, codes, means)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Names of the encoded columns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of X's columns, where they had none; those of fit otherwise.

        Returns
        -------
        names : ndarray of str
            "age", "town_Bonn", "town_(missing)", "town_(other)" of the rare ones, "town_mean_target".
        """
        check_is_fitted(self, "numeric_")
        with state_of(self):
            self._check_state()
        names = _check_feature_names_in(self, input_features)
        of_levels = list(zip(names[self.categorical_], self._levels))
        found = list(names[self.numeric_])
        found += [f"{name}_{indicator}" for name, levels in of_levels for indicator in levels.indicators]
        found += [
            f"{name}_mean_target{label}"
            for name, levels in of_levels
            if levels.has_mean_target
            for label in self._target_labels
        ]
        return np.array(found, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _check_state(self) -> None:
        """Raise an error where the fitted attributes are not those of as many columns."""
        check_feature_names(self)
        for name in ("numeric_", "categorical_"):
            require(isinstance(getattr(self, name), list), f"{name} is no list.")
        columns = [count("a column", j) for j in (*self.numeric_, *self.categorical_)]
        require(sorted(columns) == list(range(self.n_features_in_)), "numeric_ and categorical_ are not all columns")
        levels = self._levels
        require(isinstance(levels, list) and len(levels) == len(self.categorical_), "_levels is not as categorical_")
        require(all(isinstance(one, _Levels) for one in levels), "_levels are none")
        if any(one.has_mean_target for one in levels):
            require(isinstance(self._target_labels, list), "_target_labels is no list")
            n = len(self._target_labels)
            require(all(one.mean_target.shape[1] == n for one in levels if one.has_mean_target), "_target_labels")

    def _fit_transform(self, X, y) -> np.ndarray:
        """Fit and encode; where that fails, the encoder is what it was before."""
        with draft_of(self) as draft:
            encoded = draft._fitted_and_encoded(X, y)
        return encoded

    def _fitted_and_encoded(self, X, y) -> np.ndarray:
        names, columns = self._columns(X, reset=True)
        self.numeric_ = [j for j, column in enumerate(columns) if _is_numeric(column)]
        self.categorical_ = sorted(set(range(len(columns))) - set(self.numeric_))
        texts = [_texts(columns[j]) for j in self.categorical_]
        self._levels = [_Levels(*of_column, self.max_categories) for of_column in texts]
        codes = [levels.codes(*of_column) for levels, of_column in zip(self._levels, texts)]
        means = []
        if y is not None:
            with about("X and y"):
                check_consistent_length(columns[0], y)
            many = [k for k, levels in enumerate(self._levels) if levels.are_many]
            means = self._fit_mean_targets(many, codes, y) if many else []
        encoded = self._joined(names, columns, codes, means)
        if encoded.shape[1] == 0:
            raise ValueError("Every column of X is all missing, or one category: there is nothing to encode.")
        return encoded

    def _fit_mean_targets(self, many: list[int], codes: list, y) -> list[np.ndarray]:
        """The mean targets of the columns of many categories, each row's from other rows."""
        Y, self._target_labels = _targets(y)
        n_rows = len(Y)
        fold = check_random_state(self.random_state).permutation(n_rows) % min(_N_FOLDS, n_rows)
        return [self._levels[k].fit_mean_target(codes[k], Y, fold) for k in many]

    @about("X")
    def _columns(self, X, reset: bool) -> tuple[list[str], list]:
        """X column by column, as DataFrames have a dtype for each; and what to call them in messages."""
        refuse_unreadable("X", X)
        is_frame = hasattr(X, "iloc") and len(X.shape) == 2
        table = X if is_frame else _as_array(X)
        if is_frame and not X.columns.is_unique:
            raise ValueError(f"Columns of X share a name: {X.columns[X.columns.duplicated()].unique().tolist()}.")
        validate_data(self, X, reset=reset, skip_check_array=True)
        for axis, kind in enumerate(("sample", "feature")):
            if table.shape[axis] == 0:
                raise ValueError(
                    f"Found array with 0 {kind}(s) (shape={table.shape}) while a minimum of 1 is required."
                )
        columns = _columns_of(X) if is_frame else list(table.T)
        names = [repr(name) for name in X.columns] if is_frame else list(map(str, range(len(columns))))
        for name, column in zip(names, columns):
            _refuse_other_values(name, column)
        return names, columns

    def _joined(self, names: list[str], columns: list, codes: list, means: list) -> np.ndarray:
        """Numeric columns, indicators and mean targets side by side."""
        indicators = [levels.pattern[levels.pattern_of[code]] for levels, code in zip(self._levels, codes)]
        width = len(self.numeric_) + sum(block.shape[1] for block in (*indicators, *means))
        # Column by column, as they come, and as PiecewiseLinearEncoder reads them.
        encoded = np.empty((len(columns[0]), width), order="F")
        for at, j in enumerate(self.numeric_):
            encoded[:, at] = _numbers(names[j], columns[j])
        at = len(self.numeric_)
        _refuse_infinite([names[j] for j in self.numeric_], encoded[:, :at])
        for block in (*indicators, *means):
            encoded[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        return encoded


class _Levels:
    """The categories of a column by number, and what each is encoded as; the last row is of those unseen in fit.

    Category c has the indicators pattern[pattern_of[c]], and the mean targets mean_target[c]. Columns come as `_texts`
    gives them.
    """

    def __init__(self, texts: list[str | None], number: NDArray[np.intp], max_categories: int) -> None:
        counts: Counter[str | None] = Counter()
        for text, rows in zip(texts, np.bincount(number, minlength=len(texts)).tolist()):
            if rows:
                counts[text] += rows
        found = sorted(counts, key=lambda text: (text is None, text or ""))
        n = len(found)
        # Missing is the last one.
        self.number = {text: c for c, text in enumerate(found) if text is not None}
        self.has_missing = None in counts
        self.are_many = n > max_categories
        self.mean_target: np.ndarray | None = None
        self.indicators = ["(missing)" if text is None else text for text in found]
        self.pattern_of = np.arange(n + 1)
        if n == 1:
            self.indicators, self.pattern = [], np.empty((2, 0))
        elif n == 2:
            # An unseen one is neither: in the middle.
            self.indicators, self.pattern = self.indicators[1:], np.array([[0.0], [1.0], [0.5]])
        elif not self.are_many:
            self.pattern = np.eye(n + 1, n)
        else:
            frequent = sorted(range(n), key=lambda c: -counts[found[c]])[: max_categories - 1]
            kept = sorted(frequent)
            self.indicators = [self.indicators[c] for c in kept] + ["(other)"]
            self.pattern_of = np.full(n + 1, len(kept))
            self.pattern_of[kept] = np.arange(len(kept))
            self.pattern = np.eye(len(kept) + 1)

    @property
    def n_categories(self) -> int:
        return len(self.number) + self.has_missing

    @property
    def has_mean_target(self) -> bool:
        return self.mean_target is not None

    def codes(self, texts: list[str | None], number: NDArray[np.intp]) -> NDArray[np.intp]:
        """Number of each row's category."""
        # Missing is unseen too, where there was none.
        known, unseen = self.number | {None: len(self.number)}, self.n_categories
        return np.array([known.get(text, unseen) for text in texts], np.intp)[number]

    def fit_mean_target(self, codes: NDArray[np.intp], Y: np.ndarray, fold: np.ndarray) -> np.ndarray:
        """Learn the mean targets, and return those of the rows, each from the rows of other folds."""
        count, total = self._sums(codes, Y)
        mean, m = Y.mean(axis=0), _prior_rows(count, total, Y)
        self.mean_target = mean + (total - count * mean) / (count + m)
        of_rows = np.empty(Y.shape)
        for k in range(fold.max() + 1):
            rows = fold == k
            count_here, total_here = self._sums(codes[rows], Y[rows])
            count_there, total_there = count - count_here, total - total_here
            # The mean of all rows, not of the others: that would tell of the y left out, where a category is new.
            of_rows[rows] = (mean + (total_there - count_there * mean) / (count_there + m))[codes[rows]]
        return of_rows

    def _sums(self, codes: NDArray[np.intp], Y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of each category, as a column, and the totals of Y in it; 0 for the unseen."""
        n = self.n_categories + 1
        totals = [np.bincount(codes, weights=of_output, minlength=n) for of_output in Y.T]
        return np.bincount(codes, minlength=n)[:, None].astype(float), np.column_stack(totals)


def _prior_rows(count: np.ndarray, total: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """For each target how many rows of the mean of y a category's rows are mixed with: m of TableEncoder's notes."""
    seen = count[:, 0] > 0
    count, total = count[seen], total[seen]
    n_rows, n_levels, mean = len(Y), len(count), Y.mean(axis=0)
    between = (count * (total / count - mean) ** 2).sum(axis=0)
    within = np.maximum(0, ((Y - mean) ** 2).sum(axis=0) - between)
    if n_rows == n_levels:
        return np.full(Y.shape[1], np.inf)
    variance = within / (n_rows - n_levels)
    variance_of_means = (between - (n_levels - 1) * variance) / (n_rows - (count**2).sum() / n_rows)
    m = np.full(Y.shape[1], np.inf)
    np.divide(variance, variance_of_means, out=m, where=variance_of_means > 0)
    return np.maximum(1, m)


@about("y")
def _targets(y) -> tuple[np.ndarray, list[str]]:
    """Columns of numbers from y, and what is appended to the names of their means."""
    if not sp.issparse(y):
        y = check_array(y, dtype=None, ensure_2d=False, input_name="y")
    kind = type_of_target(y, input_name="y", raise_unknown=True)
    if kind in ("binary", "multiclass"):
        y = column_or_1d(y, warn=True)
        classes = np.unique(y)
        if len(classes) > 2:
            return (y[:, None] == classes).astype(float), [f"_{label}" for label in classes]
        return (y == classes[-1]).astype(float)[:, None], [""]
    Y = check_array(y.toarray() if sp.issparse(y) else y, dtype=float, ensure_2d=False, input_name="y")
    if Y.ndim == 1 or Y.shape[1] == 1:
        return Y.reshape(-1, 1), [""]
    return Y, [f"_{k}" for k in range(Y.shape[1])]


def make_tabular_classifier(**overrides: Any) -> Pipeline:
    """A classifier for tables as they come: a Pipeline of TableEncoder and BCEMLPEnsembleClassifier.

    A Pipeline, rather than an estimator of its own, shows its two steps and lets either be exchanged: what a user knows
    of scikit-learn holds here too. docs/tabular.md tells when to take it.

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
        For parameters that BCEMLPEnsembleClassifier does not have, by their names.

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
    ensemble = BCEMLPEnsembleClassifier(encoders=_default_encoders(), linear_share="oof")
    known = ensemble.get_params(deep=False)
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise TypeError(
            f"make_tabular_classifier() got unexpected {', '.join(map(repr, unknown))}. It takes the parameters of "
            f"BCEMLPEnsembleClassifier: {', '.join(known)}. Those of the steps are for "
            "set_params(table__max_categories=...) afterwards."
        )
    table = TableEncoder(random_state=overrides.get("random_state"))
    return Pipeline([("table", table), ("ensemble", ensemble.set_params(**overrides))])


def _default_encoders() -> list[PiecewiseLinearEncoder]:
    """One of four has next to nothing but the columns themselves: where these act smoothly, bins are noise.

    docs/tabular.md has what was compared.
    """
    return [PiecewiseLinearEncoder(n_bins) for n_bins in (1, 32, 16, 64)]


def _columns_of(X) -> list:
    """The columns of a DataFrame; as arrays where they are all numbers of one dtype, for each Series takes 20 us."""
    dtypes = set(X.dtypes)
    if len(dtypes) == 1 and all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes):
        return list(X.to_numpy().T)
    return [column for _, column in X.items()]


def _as_array(X) -> np.ndarray:
    """X as an array; lists keep the type of each value, of which an array of texts would leave none."""
    if not hasattr(X, "shape") and not hasattr(X, "__array__"):
        X = np.array(X, dtype=object)
    return check_array(
        X, dtype=None, ensure_all_finite=False, ensure_min_samples=0, ensure_min_features=0, input_name="X"
    )


def _is_missing(value: Any) -> bool:
    """None, NaN, and pandas' NA and NaT, which is not to be imported for this."""
    if isinstance(value, _FLOATS):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _objects(column) -> np.ndarray:
    return np.asarray(column, dtype=object)


def _has_dtype_of_numbers(column) -> bool:
    return getattr(column.dtype, "kind", "O") in "biuf"


def _has_dtype_of_texts(column) -> bool:
    return getattr(column.dtype, "kind", "O") in "UST" or type(column.dtype).__name__ in (
        "CategoricalDtype",
        "StringDtype",
    )


def _types(column) -> set[type]:
    """The types of the values that are not missing."""
    values = _objects(column).tolist()
    kinds = set(map(type, values)) - {type(None)}
    # A look at each value takes its time, and texts need none.
    doubtful = {kind for kind in kinds if kind is not str}
    if not doubtful:
        return kinds
    return kinds - doubtful | {type(value) for value in values if type(value) in doubtful and not _is_missing(value)}


def _is_type_of_numbers(kind: type) -> bool:
    return issubclass(kind, _NUMBERS)


def _is_numeric(column) -> bool:
    """Numbers and bools by dtype; or objects that are all numbers, as an array has them that was a DataFrame.

    What is all missing is not: a column of texts is, where few rows of it are seen.
    """
    if _has_dtype_of_texts(column):
        return False
    if getattr(column.dtype, "kind", "O") in "biu" and isinstance(column.dtype, np.dtype):
        return True
    if _has_dtype_of_numbers(column):
        return not np.isnan(_as_floats(column)).all()
    kinds = _types(column)
    return bool(kinds) and all(map(_is_type_of_numbers, kinds))


def _refuse_other_values(name: str, column) -> None:
    """Raise an error for what is neither numbers nor categories."""
    if _has_dtype_of_numbers(column) or _has_dtype_of_texts(column):
        return
    what = f"the dtype {column.dtype}"
    if getattr(column.dtype, "kind", "O") == "O":
        others = [kind for kind in _types(column) if not (_is_type_of_numbers(kind) or issubclass(kind, str | bytes))]
        if not others:
            return
        what = f"values of type {', '.join(sorted(kind.__name__ for kind in others))}"
    raise ValueError(
        f"Column {name} has {what}: neither numbers nor categories. Turn dates into numbers (days since one, "
        "month, weekday), or drop it."
    )


def _as_floats(column) -> np.ndarray:
    """A column of numbers in float64, missing values as NaN."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return np.asarray(column, dtype=np.float64)
    if _has_dtype_of_numbers(column):
        return column.to_numpy(np.float64, na_value=np.nan)
    return np.array([np.nan if _is_missing(value) else float(value) for value in _objects(column)])


def _numbers(name: str, column) -> np.ndarray:
    """`_as_floats`, or an error that names the column."""
    if not _has_dtype_of_numbers(column):
        other = [kind.__name__ for kind in _types(column) if not _is_type_of_numbers(kind)]
        if other:
            raise ValueError(f"Column {name} held numbers in fit, and has values of type {', '.join(other)} now.")
    try:
        return _as_floats(column)
    except OverflowError:
        return np.full(len(column), np.inf)  # which is refused


def _refuse_infinite(names: list[str], numbers: np.ndarray) -> None:
    """Raise an error that names the first of the columns with an infinite number in it."""
    infinite = np.isinf(numbers)
    if infinite.any():
        name = names[infinite.any(axis=0).argmax()]
        raise ValueError(f"Column {name} contains infinity, or numbers too large for float64.")


def _texts(column) -> tuple[list[str | None], NDArray[np.intp]]:
    """A column of categories as texts, missing values as None, and for each row which of them it has.

    Texts may be there twice, or in no row: what is done for each should be done for few.
    """
    if type(column.dtype).__name__ == "CategoricalDtype":
        # By their codes: with missing values among them, integers would come out of pandas as floats.
        texts = [*map(_text, column.array.categories), None]
        # -1, for missing values, is the last one. Codes have as few bits as categories need: too few for one more.
        return texts, column.array.codes.astype(np.intp) % len(texts)
    values = _objects(column).tolist()
    # Of these alone, values that are equal have the same text; 1 and True have not.
    if not set(map(type, values)) <= {str, float, type(None)}:
        values = list(map(_text, values))
    number = {value: k for k, value in enumerate(dict.fromkeys(values))}
    return list(map(_text, number)), np.fromiter(map(number.__getitem__, values), np.intp, len(values))


def _text(value: Any) -> str | None:
    """The same text for numbers that are equal, whatever their type."""
    if type(value) is str:
        return value
    if _is_missing(value):
        return None
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    # Beyond 2^53 float64 has no fractions anyway, and texts would have hundreds of digits.
    if isinstance(value, _FLOATS) and abs(value) < 2**53 and value == int(value):
        return str(int(value))
    return str(value)
