"""PiecewiseLinearEncoder: numeric columns as positions among their quantiles, for scikit-learn's pipelines."""

from numbers import Integral
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import _check_feature_names_in, _check_sample_weight, check_is_fitted, validate_data

from skbce._drafts import draft_of, snapshot
from skbce._files import SavesModel
from skbce._inputs import about, refuse_unreadable
from skbce._state import check_feature_names, count, flag, require, state_of, vector
from skbce._threads import fair_share, thread_limit, working
from skbce._typed import fit_context
from skbce.kernels import doors

# Numbers of the output that are worth a thread: about 100 us, where waking a thread takes 10.
_THREAD_OUTPUT = 2**18


class Plan(NamedTuple):
    """Where in the encoding what lies, for columns that leave any output, as the kernels read it.

    The rows of `places`: the column of X, its bins, where its edges begin, and where in the output its value, its
    components and its indicator begin, -1 where it has none. Those of `robust`: center and scale. `edges` are those of
    all columns, one behind the other, and `width` is the output's.
    """

    places: NDArray[np.int64]
    robust: NDArray[np.float64]
    edges: NDArray[np.float64]
    width: int


class PiecewiseLinearEncoder(SavesModel, TransformerMixin, BaseEstimator):
    """Numeric columns as their piecewise-linear encoding over quantile bins.

    A network learns a function of a column more easily when it need not bend a straight line for it. So a column
    becomes T components [1]_, each the share of its bin that lies below x ::

        component t of x = clip((x - b_(t-1)) / (b_t - b_(t-1)), 0, 1),    t = 1 .. T

    over edges b_0 < ... < b_T, quantiles of the column. A linear function of the components is a piecewise linear
    function of x.

    The first and last components are clipped too; in [1]_ they go on beyond the edges. One row far outside would then
    reach the network as a number of any size, and heavy tails have such rows. Little is lost by it where the column
    itself stands beside its components (`include_value`): scaled by its quartiles and bounded smoothly [2]_, as
    z / sqrt(1 + (z/3)^2) with z = (x - median) / (q75 - q25). Where the quartiles are one value, [2]_ divides by
    (max - min) / 2, and a single row far outside then makes all others look alike; here it is the spread of those that
    are another value (`scale_`).

    Parameters
    ----------
    n_bins : int, default=16
        Most bins of a column. Quantiles that coincide are one edge; a column of at most n_bins + 1 values has its edges
        at these values.
    include_value : bool, default=True
        Whether the column itself, tamed as above, stands before its components. A column of two values has one
        component, 0 or 1, and the column itself would be that again, scaled: it never stands there.
    subsample : int or None, default=200_000
        Most values of a column that quantiles are taken from, drawn without replacement; None takes all. Minimum and
        maximum, columns of one or two values and missing values are always those of all rows.
    random_state : int, RandomState instance or None, default=None
        Draws the subsample. Not used where there are no more rows than that.
    n_threads : int or None, default=None
        Most threads that transform uses; None follows OMP_NUM_THREADS, the cores that the process may use and joblib's
        share of them. The result is the same to the last bit for any number.

    Attributes
    ----------
    edges_ : list of ndarray of shape (n_bins_[j] + 1,)
        The edges of each column, ascending, float64; from its minimum to its maximum. Empty where the column is
        constant.
    n_bins_ : ndarray of shape (n_features_in_,)
        Bins of each column, 0 where it is constant.
    center_ : ndarray of shape (n_features_in_,)
        Median of each column, which stands in for missing values; NaN where all are missing.
    scale_ : ndarray of shape (n_features_in_,)
        What z is divided by: q75 - q25; where that is 0, because half of the column is one value, twice the median
        distance of the other values from it. 0 where the column is constant.
    has_missing_ : ndarray of bool of shape (n_features_in_,)
        Columns with an indicator: those with missing values in fit, unless nothing else was in them.
    has_two_values_ : ndarray of bool of shape (n_features_in_,)
        Columns that had two values in fit, besides missing ones: one component, and no value before it.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had names that are all strings.

    Raises
    ------
    ValueError
        In fit: for infinite values, and where every column is constant. Nothing would be left then, and what comes
        after it could only fail with a message of its own. Single columns that are constant are left out.

    See Also
    --------
    sklearn.preprocessing.KBinsDiscretizer : Which bin, without the place in it.
    sklearn.preprocessing.SplineTransformer : With degree=1 as many dimensions, as overlapping tents.

    Notes
    -----
    Missing values (NaN) are encoded as the median, and a column that had any in fit has an indicator as well, 1 where
    the value is missing. In other columns missing values are encoded as the median, silently. A column in which all
    values that are not missing are equal leaves its indicator only.

    References
    ----------
    .. [1] Y. Gorishniy, I. Rubachev, A. Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning"
       (2022). :doi:`10.48550/arXiv.2203.05556`
    .. [2] D. Holzmueller, L. Grinsztajn, I. Steinwart, "Better by Default: Strong Pre-Tuned MLPs and Boosted Trees on
       Tabular Data" (2024). :doi:`10.48550/arXiv.2407.04491`

    Examples
    --------
    >>> import numpy as np
    >>> from skbce import PiecewiseLinearEncoder
    >>> X = np.array([[0.0], [1.0], [3.0], [np.nan]])
    >>> encoder = PiecewiseLinearEncoder(include_value=False).fit(X)
    >>> encoder.edges_
    [array([0., 1., 3.])]
    >>> encoder.get_feature_names_out()
    array(['x0_bin1', 'x0_bin2', 'x0_missing'], dtype=object)
    >>> encoder.transform([[0.5], [2.0], [100.0], [np.nan]])
    array([[0.5, 0. , 0. ],
           [1. , 0.5, 0. ],
           [1. , 1. , 0. ],
           [1. , 0. , 1. ]], dtype=float32)
    """

    edges_: list[NDArray[np.float64]]
    center_: NDArray[np.float64]
    scale_: NDArray[np.float64]
    has_missing_: NDArray[np.bool_]
    has_two_values_: NDArray[np.bool_]
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints: dict = {
        "n_bins": [Interval(Integral, 1, None, closed="left")],
        "include_value": ["boolean"],
        "subsample": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        n_bins: int = 16,
        *,
        include_value: bool = True,
        subsample: int | None = 200_000,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ):
        self.n_bins = n_bins
        self.include_value = include_value
        self.subsample = subsample
        self.random_state = random_state
        self.n_threads = n_threads

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Take edges, medians and scales from X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two rows; may have missing values (NaN).
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), default=None
            Quantiles are those of a table that has each row so many times; a row of weight 0 is not looked at.

        Returns
        -------
        self : PiecewiseLinearEncoder
        """
        with draft_of(self) as draft:
            draft._fit(X, sample_weight)
        return self

    def _fit(self, X, sample_weight) -> None:
        X = self._validated(X, reset=True)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
            X, sample_weight = X[sample_weight > 0], sample_weight[sample_weight > 0]
            if not len(X):
                raise ValueError("sample_weight is zero in every row: there is nothing to fit to.")
        seed = None
        if self.subsample is not None and len(X) > self.subsample:
            # One seed for all columns: what becomes of a column does not depend on those beside it.
            seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        columns = [self._fit_column(X[:, j], sample_weight, seed) for j in range(X.shape[1])]
        edges, center, scale, has_missing, has_two_values = zip(*columns)
        if not any(has_missing) and not any(len(of_column) for of_column in edges):
            raise ValueError("Every column of X is constant: there is nothing to encode.")
        self.edges_ = list(edges)
        self.center_ = np.array(center)
        self.scale_ = np.array(scale)
        self.has_missing_ = np.array(has_missing)
        self.has_two_values_ = np.array(has_two_values)

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """The encoding of each column of X, side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            May have missing values (NaN). Never changed; float32 and float64 are not copied.

        Returns
        -------
        X_encoded : ndarray of float32 of shape (n_samples, n_features_out)
            Column by column: the value, in (-3, 3), its components, in [0, 1], and whether it is missing, 0 or 1; as
            far as the column has them.
        """
        check_is_fitted(self, "edges_")
        fitted = snapshot(self)
        with state_of(fitted):
            plan = fitted._plan()
        X = np.require(fitted._validated(X, reset=False), requirements="A")
        X_encoded = np.empty((len(X), plan.width), np.float32)
        most = X_encoded.size // _THREAD_OUTPUT
        with working(most > 1) as work, work:
            n_threads = 1 if most < 2 else min(fair_share(thread_limit(self.n_threads)), most)
            doors.encode_columns(doors.Table(X), plan.places, plan.robust, plan.edges, X_encoded, n_threads)
        return X_encoded

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Names of the output's columns: for "age" they are "age", "age_bin1", ..., "age_missing".

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X; by default `feature_names_in_`, or "x0", "x1", ... where there are none.

        Returns
        -------
        feature_names_out : ndarray of str objects
        """
        check_is_fitted(self, "edges_")
        with state_of(self):
            self._check_state()
        names = []
        of_X = _check_feature_names_in(self, input_features)
        for name, has_value, n_bins, has_missing in zip(of_X, self._has_value(), self.n_bins_, self.has_missing_):
            names += [name] * bool(has_value)
            names += [f"{name}_bin{t}" for t in range(1, n_bins + 1)]
            names += [f"{name}_missing"] * bool(has_missing)
        return np.array(names, dtype=object)

    @property
    def n_bins_(self) -> NDArray[np.intp]:
        return np.array([max(0, len(edges) - 1) for edges in self.edges_])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _validated(self, X, reset: bool) -> np.ndarray:
        with about("X"):
            refuse_unreadable("X", X)
            return validate_data(
                self,
                X,
                reset=reset,
                dtype=(np.float64, np.float32),
                ensure_all_finite="allow-nan",
                ensure_min_samples=2 if reset else 1,
            )

    def _fit_column(
        self, column: np.ndarray, weight: np.ndarray | None, seed: int | None
    ) -> tuple[np.ndarray, float, float, bool, bool]:
        """A column's edges, center and scale; whether it has an indicator, and whether it has two values."""
        column = np.ascontiguousarray(column)  # read once where rows lie together
        present = ~np.isnan(column)
        values = column[present]
        if values.size == 0:
            return np.empty(0), np.nan, 0.0, False, False
        low, high = float(values.min()), float(values.max())
        has_missing = values.size < column.size
        if low == high:
            return np.empty(0), low, 0.0, has_missing, False
        has_two_values = bool(((values == low) | (values == high)).all())
        weight = None if weight is None else weight[present]
        if seed is not None and values.size > self.subsample:
            rng = np.random.default_rng(seed)
            drawn = rng.choice(values.size, int(self.subsample), replace=False, shuffle=False)
            values, weight = values[drawn], None if weight is None else weight[drawn]
        values, below = _sorted(values, weight)
        edges = np.unique([low, *_distinct(values, self.n_bins + 2), high])
        if len(edges) > self.n_bins + 1:
            inner = _quantiles(values, below, np.arange(1, self.n_bins), self.n_bins)
            edges = np.unique([low, *inner, high])
        q25, center, q75 = _quantiles(values, below, np.array([1, 2, 3]), 4).tolist()
        scale = q75 - q25 if q75 > q25 else _scale_of_the_others(values, below, center) or 0.5 * high - 0.5 * low
        scale = min(max(scale, np.finfo(np.float64).smallest_subnormal), np.finfo(np.float64).max)
        return edges, center, scale, has_missing, has_two_values

    def _check_state(self) -> None:
        """Raise an error where the fitted attributes are not those of as many columns."""
        n = count("n_features_in_", self.n_features_in_)
        check_feature_names(self)
        flag("include_value", self.include_value)
        require(isinstance(self.edges_, list) and len(self.edges_) == n, f"edges_ is no list of {n}")
        for edges in self.edges_:
            vector("an array of edges_", edges, len(edges))
        for name in ("center_", "scale_", "has_missing_", "has_two_values_"):
            vector(name, getattr(self, name), n)
        require(
            self.has_missing_.dtype == self.has_two_values_.dtype == bool, "has_missing_, has_two_values_ are no bools"
        )

    def _has_value(self) -> NDArray[np.bool_]:
        """Columns that stand before their components themselves."""
        return (self.n_bins_ > 0) & ~self.has_two_values_ & self.include_value

    def _plan(self) -> Plan:
        """Where what lies, after a look at the fitted attributes."""
        self._check_state()
        n_edges = np.array([len(edges) for edges in self.edges_])
        n_bins = np.maximum(n_edges - 1, 0)
        has_value = (n_bins > 0) & ~self.has_two_values_ & self.include_value
        widths = has_value + n_bins + self.has_missing_
        start = np.cumsum(widths) - widths
        edges_end = np.cumsum(n_edges)
        places = np.array(
            [
                np.arange(len(n_bins)),
                n_bins,
                edges_end - n_edges,
                np.where(has_value, start, -1),
                start + has_value,
                np.where(self.has_missing_, start + has_value + n_bins, -1),
            ],
            dtype=np.int64,
        )
        used = widths > 0
        robust = np.array([self.center_, self.scale_], dtype=np.float64)
        require(bool(np.isfinite(robust[:, used]).all()), "center_ or scale_ contain NaN or infinity")
        require(bool((self.scale_[has_value] > 0).all()), "scale_ is not positive")
        edges = np.concatenate(self.edges_, dtype=np.float64)
        rises = edges[1:] > edges[:-1]
        # From one column to the next they need not.
        rises[edges_end[(edges_end > 0) & (edges_end < len(edges))] - 1] = True
        require(bool(np.isfinite(edges).all() and rises.all()), "edges_ do not rise")
        return Plan(
            np.ascontiguousarray(places[:, used]), np.ascontiguousarray(robust[:, used]), edges, int(widths.sum())
        )


def _distinct(values: np.ndarray, most: int) -> np.ndarray:
    """Each of the sorted values once, the first so many of them."""
    return values[np.concatenate(([True], values[1:] != values[:-1]))][:most]


def _sorted(values: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The values in order, in float64, and the weight up to and with each."""
    if weight is None:
        return np.sort(values.astype(np.float64)), None
    order = np.argsort(values, kind="stable")
    return values[order].astype(np.float64), np.cumsum(weight[order])


def _quantiles(values: np.ndarray, below: np.ndarray | None, k: np.ndarray, of: int) -> np.ndarray:
    """Quantiles k / of of sorted values: what has that share below it; the mean of two where both are such a value.

    `below` is the weight up to and with each value, None where all have the same. Weights that are counts give what so
    many values of each would.
    """
    if below is None:
        first, last = -(-k * len(values) // of) - 1, k * len(values) // of
    else:
        first, last = (np.searchsorted(below * of, k * below[-1], side) for side in ("left", "right"))
    left, right = values[np.maximum(first, 0)], values[np.minimum(last, len(values) - 1)]
    # Neither the sum of two large numbers nor the halves of two subnormal ones may leave what lies between them.
    return np.clip(0.5 * left + 0.5 * right, left, right)


def _scale_of_the_others(values: np.ndarray, below: np.ndarray | None, center: float) -> float:
    """Twice the median distance from the center of those of the sorted values that are not there; 0 where none is.

    That is q75 - q25 of a symmetric column. `below` is as for `_quantiles`.
    """
    others = values != center
    if not others.any():
        return 0.0
    weight = None if below is None else np.diff(below, prepend=0.0)[others]
    with np.errstate(over="ignore"):  # an infinite one is held to float64's largest
        distances, below = _sorted(np.abs(values[others] - center), weight)
    return 2 * float(_quantiles(distances, below, np.array([1]), 2)[0])
