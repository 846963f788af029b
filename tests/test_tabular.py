"""TableEncoder and make_tabular_classifier: what becomes of columns of any kind, and no leak of the target."""

import datetime
import pickle
import re
import tracemalloc
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbce import BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder, make_tabular_classifier

NAN = np.nan


def frame_of(values, **kwargs):
    return pd.DataFrame({"a": pd.Series(values, **kwargs)})


def names_and_table(X, y=None, **parameters):
    encoder = TableEncoder(**parameters)
    encoded = encoder.fit_transform(X, y)
    return encoder.get_feature_names_out().tolist(), encoded


def mixed(n_rows, seed=0):
    """A table with columns of many kinds, a target that depends on several of them, and gaps."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "age": rng.integers(18, 90, n_rows),
            "income": np.where(rng.random(n_rows) < 0.1, NAN, rng.lognormal(10, 1, n_rows)),
            "town": rng.choice(["Bonn", "Ulm", "Genk"], n_rows),
            "member": rng.random(n_rows) < 0.5,
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n_rows), categories=["S", "M", "L", "XL"], ordered=True),
            "shop": [f"shop{k}" for k in rng.integers(0, 60, n_rows)],
        }
    )
    X.loc[rng.random(n_rows) < 0.1, "town"] = None
    score = (X.age - 54) / 20 + (X.town == "Ulm") + 2 * X.member - 1 + rng.standard_normal(n_rows)
    return X, np.where(score > 0, "yes", "no")


# What becomes of a column.

NUMBERS = {
    "int8": [frame_of([1, 2, 3], dtype="int8"), [1, 2, 3]],
    "uint64": [frame_of([1, 2, 2**63], dtype="uint64"), [1, 2, 2.0**63]],
    "float16": [frame_of([1.5, NAN], dtype="float16"), [1.5, NAN]],
    "bool": [frame_of([True, False]), [1, 0]],
    "Int64": [frame_of([1, pd.NA, 3], dtype="Int64"), [1, NAN, 3]],
    "Float64": [frame_of([1.5, pd.NA], dtype="Float64"), [1.5, NAN]],
    "boolean": [frame_of([True, pd.NA, False], dtype="boolean"), [1, NAN, 0]],
    "Sparse": [frame_of([0.0, 2.5], dtype=pd.SparseDtype("float64", 0.0)), [0, 2.5]],
    "bools with None": [frame_of([True, None, False], dtype=object), [1, NAN, 0]],
    "objects": [
        frame_of([1, 2.5, Decimal("1.25"), Fraction(1, 2), np.int8(3), pd.NA], dtype=object),
        [1, 2.5, 1.25, 0.5, 3, NAN],
    ],
    "constant": [frame_of([7, 7, 7]), [7, 7, 7]],
    "one row": [frame_of([7]), [7]],
    "dates as int": [frame_of([20240130, 20240131]), [20240130, 20240131]],
    "huge": [frame_of([1e300, -1e300]), [1e300, -1e300]],
    "huge int": [frame_of([10**300, 1], dtype=object), [1e300, 1]],
}


@pytest.mark.parametrize(("X", "expected"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_stay_as_they_are_for_any_dtype(X, expected):
    names, encoded = names_and_table(X)
    assert names == ["a"]
    assert encoded.dtype == np.float64
    assert_array_equal(encoded[:, 0], expected)
    assert_array_equal(TableEncoder().fit(X).transform(X), encoded)


A_B_NONE = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
CATEGORIES = {
    "str": [frame_of(["u", "v", None]), ["u", "v", "(missing)"], A_B_NONE],
    "string": [frame_of(["u", "v", pd.NA], dtype="string"), ["u", "v", "(missing)"], A_B_NONE],
    "object": [frame_of(["u", "v", NAN], dtype=object), ["u", "v", "(missing)"], A_B_NONE],
    "bytes": [frame_of([b"u", b"v", None], dtype=object), ["u", "v", "(missing)"], A_B_NONE],
    "category": [frame_of(["u", "v", None], dtype="category"), ["u", "v", "(missing)"], A_B_NONE],
    "category of int": [frame_of([1, 2, None], dtype="Int64").astype("category"), ["1", "2", "(missing)"], A_B_NONE],
    "category of float": [frame_of([1.0, 2.5, NAN], dtype="category"), ["1", "2.5", "(missing)"], A_B_NONE],
    "category of bool": [frame_of([False, True, None], dtype="category"), ["False", "True", "(missing)"], A_B_NONE],
    "unused category": [frame_of(pd.Categorical(["u", "v", "w"], categories=list("zwvu"))), ["u", "v", "w"], A_B_NONE],
    "intervals": [frame_of(pd.cut([1, 5, 9], [0, 2, 6, 10])), ["(0, 2]", "(2, 6]", "(6, 10]"], A_B_NONE],
    "texts and numbers": [frame_of(["1", 2.5, True], dtype=object), ["1", "2.5", "True"], A_B_NONE],
    "equal numbers": [
        frame_of([1, 1.0, "1", Decimal(1), "u"], dtype=object).assign(b=0),
        ["u"],
        [[0, 0]] * 4 + [[0, 1]],
    ],
    "the words": [frame_of(["None", "nan", None]), ["None", "nan", "(missing)"], A_B_NONE],
    "two": [frame_of(["u", "v", "u"]), ["v"], [[0], [1], [0]]],
    "one and missing": [frame_of(["u", None]), ["(missing)"], [[0], [1]]],
}


@pytest.mark.parametrize(("X", "categories", "expected"), CATEGORIES.values(), ids=CATEGORIES)
def test_categories_become_indicators_for_any_dtype(X, categories, expected):
    names, encoded = names_and_table(X)
    assert names[X.shape[1] - 1 :] == [f"a_{category}" for category in categories]
    assert_array_equal(encoded, expected)
    assert_array_equal(TableEncoder().fit(X).transform(X), encoded)


@pytest.mark.parametrize("dtype", ["int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]", "string[pyarrow]"])
def test_columns_of_pyarrow_are_as_those_of_numpy(dtype):
    pytest.importorskip("pyarrow")
    values = ["u", None, "v"] if "string" in dtype else [1, None, 0]
    X, expected = frame_of(values, dtype=dtype), frame_of(values, dtype=object)
    assert_array_equal(TableEncoder().fit_transform(X), TableEncoder().fit_transform(expected))


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3], [1, 2, None], ["1", "2", "3"], [1.0, 2.0, 3.0]],
    ids=["int", "int and missing", "text", "float"],
)
def test_codes_are_the_same_categories_whether_or_not_some_are_missing(values):
    encoder = TableEncoder().fit(frame_of([3, 1, 2, None], dtype="category"))
    encoded = encoder.transform(frame_of(values, dtype="category"))
    assert_array_equal(encoded[:2], [[1, 0, 0, 0], [0, 1, 0, 0]])
    assert_array_equal(encoder.transform(frame_of(values, dtype=object)), encoded)


EMPTY = {
    "float": frame_of([NAN, NAN]),
    "object": frame_of([None, NAN], dtype=object),
    "Int64": frame_of([pd.NA, pd.NA], dtype="Int64"),
    "category": frame_of([None, None], dtype="category"),
}


@pytest.mark.parametrize("n", [2, 127, 128, 300])  # codes of 8 bits hold 127 categories, and of 16 more
def test_categories_of_any_number_are_those_of_their_texts(n):
    texts = pd.Series([f"c{k}" for k in range(n)] * 2 + [None] * 2, dtype=object)
    texts = texts.sample(frac=1, random_state=0).reset_index(drop=True)
    y = np.arange(len(texts)) % 3 == 0
    encoder, of_texts = TableEncoder(random_state=0), TableEncoder(random_state=0)
    encoded = encoder.fit_transform(pd.DataFrame({"x": texts.astype("category")}), y)
    assert_array_equal(encoded, of_texts.fit_transform(pd.DataFrame({"x": texts}), y))
    # Another order of the categories, one of them in no row, and one that was not there.
    other = texts[::-1].replace("c1", "new").astype(pd.CategoricalDtype(["new", *sorted(set(texts) - {None})]))
    assert_array_equal(
        encoder.transform(pd.DataFrame({"x": other})), of_texts.transform(pd.DataFrame({"x": other.astype(object)}))
    )


def test_objects_whose_texts_are_equal_are_one_category():
    missing = [None, np.nan, float("nan"), np.float64("nan"), pd.NA]
    values = ["1", 1, 1.0, np.int8(1), Decimal(1), *missing, "True", True, "a", "b"]
    column = pd.Series(values, dtype=object)
    as_texts = pd.Series(["1"] * 5 + [None] * 5 + ["True"] * 2 + ["a", "b"], dtype=object)
    encoder = TableEncoder().fit(as_texts.to_frame("x"))
    assert_array_equal(encoder.transform(column.to_frame("x")), encoder.transform(as_texts.to_frame("x")))
    # Of texts and floats alone, which are told apart by their values.
    some = column[[0, 2, 5, 6, 7, 10, 12, 13]].reset_index(drop=True)
    expected = as_texts[[0, 2, 5, 6, 7, 10, 12, 13]].reset_index(drop=True)
    assert_array_equal(encoder.transform(some.to_frame("x")), encoder.transform(expected.to_frame("x")))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i2", "u8", "bool"])
def test_numbers_of_one_dtype_are_those_of_their_columns_beside_others(dtype):
    X = pd.DataFrame(np.arange(12).reshape(4, 3) % 5, columns=list("abc")).astype(dtype)
    alone = TableEncoder().fit_transform(X)
    beside = TableEncoder().fit_transform(X.assign(d=["p", "q", "p", "q"]))
    assert_array_equal(alone, beside[:, :3])
    assert_array_equal(alone, X.to_numpy(float))


@pytest.mark.parametrize("column", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("later", [["u", None], [1.5, 2], [NAN, NAN]], ids=str)
def test_column_that_is_all_missing_in_fit_leaves_nothing_and_may_hold_anything_later(column, later):
    X = column.assign(b=[1.0, 2.0])
    encoder = TableEncoder().fit(X)
    assert encoder.get_feature_names_out().tolist() == ["b"]
    assert_array_equal(encoder.transform(X), [[1], [2]])
    assert_array_equal(encoder.transform(X.assign(a=later)), [[1], [2]])


def test_single_category_leaves_nothing():
    names, encoded = names_and_table(pd.DataFrame({"a": ["u", "u"], "b": [1, 2]}))
    assert names == ["b"]
    assert_array_equal(encoded, [[1], [2]])


@pytest.mark.parametrize("X", [frame_of(["u", "u"]), frame_of([NAN, NAN]), frame_of(["u"])], ids=repr)
def test_table_that_leaves_nothing_is_refused_with_the_reason(X):
    with pytest.raises(ValueError, match="nothing to encode"):
        TableEncoder().fit(X)


def test_unseen_categories_have_no_indicator_and_beside_two_the_middle():
    X = pd.DataFrame({"three": list("uvw"), "two": list("uvv")})
    encoder = TableEncoder().fit(X)
    expected = [[0, 0, 0, 0.5]]
    assert_array_equal(encoder.transform(pd.DataFrame({"three": ["x"], "two": ["x"]})), expected)
    assert_array_equal(encoder.transform(pd.DataFrame({"three": [None], "two": [NAN]})), expected)
    assert_array_equal(encoder.transform(pd.DataFrame({"three": [7], "two": [True]})), expected)


def test_rare_categories_share_an_indicator_with_unseen_ones():
    X = frame_of(list("aaabbccdde"))
    names, encoded = names_and_table(X, max_categories=3)
    assert names == ["a_a", "a_b", "a_(other)"]  # of those equally frequent the first
    assert_array_equal(encoded[[0, 3, 5, 9]], [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]])
    encoder = TableEncoder(max_categories=3).fit(X)
    assert_array_equal(encoder.transform(frame_of(["new", None])), [[0, 0, 1], [0, 0, 1]])
    assert names_and_table(X, max_categories=5)[0] == ["a_a", "a_b", "a_c", "a_d", "a_e"]


def test_columns_lie_where_their_names_say():
    X, y = mixed(200)
    encoder = TableEncoder(random_state=0).set_output(transform="pandas")
    encoded = encoder.fit_transform(X, y)
    assert encoded.columns.tolist() == encoder.get_feature_names_out().tolist()
    assert encoded.index.equals(X.index)
    assert (encoder.numeric_, encoder.categorical_) == ([0, 1, 3], [2, 4, 5])
    for name in ("age", "income", "member"):
        assert_array_equal(encoded[name], X[name])
    for name in ("town", "size"):
        for value in X[name].dropna().unique():
            assert_array_equal(encoded[f"{name}_{value}"], X[name] == value)
    assert_array_equal(encoded["town_(missing)"], X.town.isna())
    assert (encoded.filter(like="shop_").drop(columns="shop_mean_target").sum(axis=1) == 1).all()
    assert encoded.columns[-1] == "shop_mean_target"


def test_table_of_a_single_kind_is_encoded():
    for X, n_encoded in ((frame_of([1, 2]), 1), (frame_of(["u", "v"]), 1), (frame_of([True, False]), 1)):
        assert TableEncoder().fit_transform(X).shape == (2, n_encoded)


# Names, arrays and lists.


def test_columns_with_integer_names_are_taken_by_their_places():
    X = pd.DataFrame({2019: ["u", "v"], 2020: [1.5, 2.5]})
    encoder = TableEncoder().fit(X)
    assert_array_equal(encoder.transform(X.to_numpy()), [[1.5, 0], [2.5, 1]])
    assert encoder.get_feature_names_out().tolist() == ["x1", "x0_v"]


@pytest.mark.parametrize("name", ["a", 0])
def test_columns_that_share_a_name_are_refused(name):
    with pytest.raises(ValueError, match=re.escape(f"Columns of X share a name: [{name!r}].")):
        TableEncoder().fit(pd.DataFrame([[1, 2, 3, 4]], columns=[name, name, "b", name]))


def test_integer_column_name_is_the_one_in_the_message():
    X = pd.DataFrame({2019: [1.0, 2.0], 2020: pd.to_datetime(["2020-01-01", "2020-01-02"])})
    with pytest.raises(ValueError, match="Column 2020 has the dtype datetime64"):
        TableEncoder().fit(X)


ROWS = [[1.5, "u", True], [2.5, "v", False], [None, "w", None]]
ROWS_ENCODED = [[1.5, 1, 1, 0, 0], [2.5, 0, 0, 1, 0], [NAN, NAN, 0, 0, 1]]


@pytest.mark.parametrize("as_table", [list, pd.DataFrame, lambda rows: np.array(rows, dtype=object), tuple])
def test_lists_arrays_and_frames_of_objects_are_the_same(as_table):
    encoder = TableEncoder().fit(as_table(ROWS))
    assert_array_equal(encoder.transform(as_table(ROWS)), ROWS_ENCODED)
    assert_array_equal(encoder.transform(as_table(ROWS[:1])), ROWS_ENCODED[:1])
    assert encoder.get_feature_names_out(["x", "y", "z"]).tolist() == ["x", "z", "y_u", "y_v", "y_w"]


@pytest.mark.parametrize("dtype", [float, "float32", int, bool, "U3", "S3", object])
def test_arrays_of_any_dtype_are_encoded(dtype):
    X = np.array([[0, 1], [1, 0], [1, 1]]).astype(dtype)
    assert_array_equal(TableEncoder().fit_transform(X), [[0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize("X", [[1.0, 2.0], pd.Series([1.0, 2.0]), "table", 3.0, np.zeros((2, 2, 2))], ids=repr)
def test_what_is_no_table_is_refused(X):
    with pytest.raises(ValueError, match=r"Expected (2D array|a 2-dimensional container)|dim 3"):
        TableEncoder().fit(X)


def test_sparse_tables_are_refused():
    with pytest.raises(TypeError, match="Sparse data was passed"):
        TableEncoder().fit(sp.csr_array(np.eye(3)))


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (pd.DataFrame({"a": []}), r"0 sample\(s\)"),
        (pd.DataFrame(index=[0, 1]), r"0 feature\(s\)"),
        (np.empty((0, 2)), r"0 sample\(s\)"),
        (np.empty((2, 0)), r"0 feature\(s\)"),
    ],
    ids=repr,
)
def test_table_without_rows_or_columns_is_refused(X, message):
    with pytest.raises(ValueError, match=message):
        TableEncoder().fit(X)


def test_other_columns_than_in_fit_give_scikit_learns_message():
    X, _ = mixed(20)
    encoder = TableEncoder().fit(X)
    for other in (X[X.columns[::-1]], X.drop(columns="town"), X.rename(columns={"town": "city"})):
        with pytest.raises(ValueError, match="feature names"):
            encoder.transform(other)
    with pytest.raises(ValueError, match="X has 1 features, but TableEncoder is expecting 3"):
        TableEncoder().fit(ROWS).transform([[1.5]])


# What is refused, by its name.

REFUSED = {
    "datetime": (pd.to_datetime(["2020-01-01", None]), "dtype datetime64"),
    "time zone": (pd.to_datetime(["2020-01-01", None], utc=True), "dtype datetime64"),
    "timedelta": (pd.to_timedelta([1, 2], "D"), "dtype timedelta64"),
    "period": (pd.period_range("2020", periods=2), "values of type Period"),
    "interval": (pd.interval_range(0, 2), "values of type Interval"),
    "complex": (np.array([1j, 2]), "dtype complex128"),
    "dates": (pd.Series([datetime.date(2020, 1, 1), None], dtype=object), "values of type date"),
    "lists": (pd.Series([[1], [2, 3]]), "values of type list"),
    "arrays": (pd.Series([np.zeros(2), "u"]), "values of type ndarray"),
    "dict among texts": (pd.Series([{}, "u"], dtype=object), "values of type dict"),
    "complex objects": (pd.Series([1j, 2], dtype=object), "values of type complex"),
}


@pytest.mark.parametrize(("values", "message"), REFUSED.values(), ids=REFUSED)
def test_columns_of_other_kinds_are_refused_by_their_names(values, message):
    X = pd.DataFrame({"good": [1.5, 2.5], "bad one": values})
    with pytest.raises(ValueError, match=f"Column 'bad one' has (the )?{message}"):
        TableEncoder().fit(X)
    encoder = TableEncoder().fit(X.assign(**{"bad one": ["u", "v"]}))
    with pytest.raises(ValueError, match="Column 'bad one' has"):
        encoder.transform(X)


@pytest.mark.parametrize(
    "values",
    [
        [1.0, np.inf],
        np.array([1.0, -np.inf], "float32"),
        pd.array([1, np.inf], "Float64"),
        pd.Series([10**400, 1], dtype=object),
    ],
    ids=["inf", "-inf", "Float64", "int"],
)
def test_infinite_numbers_are_refused_by_their_column(values):
    X = pd.DataFrame({"good": [1.5, 2.5], "bad one": values})
    with pytest.raises(ValueError, match="Column 'bad one' contains infinity"):
        TableEncoder().fit(X)
    with pytest.raises(ValueError, match="Column 'bad one' contains infinity"):
        TableEncoder().fit(X.assign(**{"bad one": [1, 2]})).transform(X)


@pytest.mark.parametrize("values", [["1.5", "2"], ["u", 2.0], pd.Categorical(["1", "2"])], ids=repr)
def test_numbers_that_become_texts_are_refused_by_their_column(values):
    encoder = TableEncoder().fit(pd.DataFrame({"a": [1.0, 2.0]}))
    with pytest.raises(ValueError, match=r"Column 'a' held numbers in fit, and has values of type str now"):
        encoder.transform(pd.DataFrame({"a": values}))


def test_numeric_column_takes_numbers_of_another_dtype_and_missing_values_later():
    encoder = TableEncoder().fit(frame_of([1, 2]))
    for values in ([None, 3], pd.array([pd.NA, 3], "Int64"), [NAN, True], [None, Decimal(3)]):
        assert_array_equal(encoder.transform(frame_of(values))[0], [NAN])
    assert_array_equal(encoder.transform(frame_of([None], dtype=object)), [[NAN]])


# State.


@pytest.mark.parametrize(
    "bad",
    [
        pd.DataFrame({"x": [1.0, np.inf], "z": ["u", "v"]}),
        pd.DataFrame({"x": pd.to_datetime(["2020-01-01", "2020-01-02"])}),
        np.full((2, 3), NAN),
        [[1.0], ["u"], [[]]],
    ],
    ids=["infinite", "dates", "all missing", "lists"],
)
def test_failing_fit_leaves_the_old_state(bad):
    X, y = mixed(100)
    encoder = TableEncoder(random_state=0).fit(X, y)
    before, encoded = vars(encoder).copy(), encoder.transform(X)
    for fit in (encoder.fit, encoder.fit_transform):
        with pytest.raises(ValueError, match=r"Column|nothing to encode"):
            fit(bad)
        assert vars(encoder) == before
        assert_array_equal(encoder.transform(X), encoded)
    new = TableEncoder()
    with pytest.raises(ValueError, match=r"Column|nothing to encode"):
        new.fit(bad)
    assert vars(new) == vars(TableEncoder())


def test_failing_mean_targets_leave_the_old_state():
    X, y = mixed(200)
    encoder = TableEncoder(random_state=0).fit(X, y)
    before = vars(encoder).copy()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        encoder.fit(X, y[:-1])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        encoder.fit(X, np.full(200, NAN))
    assert vars(encoder) == before


def test_second_fit_forgets_the_first():
    X, y = mixed(200)
    encoder = TableEncoder(random_state=0).fit(X, y)
    assert_array_equal(encoder.fit(ROWS).transform(ROWS), ROWS_ENCODED)
    assert not hasattr(encoder, "feature_names_in_")
    assert vars(encoder).keys() - {"_target_labels"} == vars(TableEncoder().fit(ROWS)).keys()
    assert "shop_mean_target" not in encoder.fit(X).get_feature_names_out()


def test_before_fit_the_encoder_says_so():
    for call in (lambda encoder: encoder.transform([[1]]), lambda encoder: encoder.get_feature_names_out()):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(TableEncoder())


def test_encoder_is_the_same_after_a_pickle():
    X, y = mixed(200)
    encoder = TableEncoder(random_state=0).fit(X, y)
    restored = pickle.loads(pickle.dumps(encoder))
    assert_array_equal(restored.transform(X), encoder.transform(X))
    assert restored.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()


def test_table_is_not_changed():
    X, y = mixed(200)
    before = X.copy(deep=True)
    TableEncoder().fit(X, y).transform(X)
    pd.testing.assert_frame_equal(X, before)


@pytest.mark.parametrize(("name", "value"), [("max_categories", 1), ("max_categories", 2.5), ("random_state", "seed")])
def test_parameter_outside_its_range_is_named(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of TableEncoder"):
        TableEncoder(**{name: value}).fit([[0.0], [1.0]])


# Mean targets.


def many(n_rows=3000, n_categories=300, spread=0.0, seed=0):
    """A column of many categories, and a binary y whose mean differs between them by `spread` or not at all."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, n_categories, n_rows)
    p = np.clip(0.5 + spread * rng.standard_normal(n_categories), 0.02, 0.98)
    return frame_of([f"c{k}" for k in code]), (rng.random(n_rows) < p[code]).astype(int), p[code]


def exact_means(categories, y, m):
    """(total + m * mean) / (rows + m), in exact arithmetic."""
    mean = Fraction(int(sum(y)), len(y))
    totals = {c: [int(v) for k, v in zip(categories, y) if k == c] for c in set(categories)}
    return {c: float((sum(own) + m * mean) / (len(own) + m)) for c, own in totals.items()}, float(mean)


def test_mean_targets_of_new_rows_are_totals_mixed_with_the_mean():
    categories, y = list("aaaabbbbcccc"), [1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 1, 1]
    encoder = TableEncoder(max_categories=2).fit(frame_of(categories), y)
    # Within categories the sum of squares is 3/4 + 3/4 + 0 over 12 - 3; between them 4 (1/12^2 + 5/12^2 + 4/12^2).
    variance = Fraction(3, 2) / 9
    of_means = (Fraction(4 * (1 + 25 + 16), 144) - 2 * variance) / 8
    means, mean = exact_means(categories, y, max(1, variance / of_means))
    encoded = encoder.transform(frame_of([*"abc", "new", None]))[:, -1]
    # A few roundings in float64.
    assert_allclose(encoded, [means["a"], means["b"], means["c"], mean, mean], rtol=1e-14)


def test_mean_target_of_a_row_does_not_depend_on_its_own_y():
    X, y, _ = many(400, 60, spread=0.3)
    one_way = TableEncoder(random_state=0).fit_transform(X, y)[:, -1]
    changed = []
    for i in range(20):
        other = y.copy()
        other[i] = 1 - other[i]
        other[np.flatnonzero(y == other[i])[-1]] = y[i]  # so that the mean stays
        changed.append(abs(TableEncoder(random_state=0).fit_transform(X, other)[i, -1] - one_way[i]))
    # What is left is m, which all rows share: it changes by one part in some hundred.
    assert max(changed) < 0.02
    assert_array_equal(TableEncoder(random_state=0).fit_transform(X, y)[:, -1], one_way)


def test_mean_targets_tell_nothing_where_categories_do_not():
    X, y, _ = many()
    encoder = TableEncoder(random_state=0)
    crossed, own = encoder.fit_transform(X, y)[:, -1], encoder.transform(X)[:, -1]
    # Means of the rows' own y would have an area near 0.66 here. 0.03 is 3 standard errors of an area of 3000 rows.
    assert roc_auc_score(y, crossed) < 0.53
    naive = pd.Series(y).groupby(X.a).transform("mean")
    assert roc_auc_score(y, naive) > 0.6
    # And m is large: what new rows are shown lies close to the mean.
    assert own.std() < 0.3 * naive.std()


def test_column_of_identifiers_tells_nothing_and_is_constant():
    X, y = frame_of([f"id{k}" for k in range(500)]), np.arange(500) % 2
    encoder = TableEncoder(random_state=0)
    assert set(encoder.fit_transform(X, y)[:, -1]) == {0.5}
    assert set(encoder.transform(X)[:, -1]) == {0.5}


def test_memory_grows_with_the_rows_and_not_with_the_square_of_the_categories():
    X, y = frame_of([f"id{k // 2}" for k in range(20_000)]), np.arange(20_000) % 2
    tracemalloc.start()
    encoded = TableEncoder(random_state=0).fit_transform(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 33 numbers a row, 5 MB, and 3 times that at most; 10,000 x 10,000 would be 800 MB.
    assert peak < 4 * encoded.nbytes


def test_mean_targets_are_close_to_the_probabilities_where_categories_differ():
    X, y, p = many(20_000, 100, spread=0.25)
    encoder = TableEncoder(random_state=0)
    crossed, own = encoder.fit_transform(X, y)[:, -1], encoder.transform(X)[:, -1]
    assert not np.array_equal(crossed, own)
    # 200 rows a category: a standard error of 0.035; 160 of them in fit_transform.
    assert np.sqrt(np.mean((own - p) ** 2)) < 0.04
    assert np.sqrt(np.mean((crossed - p) ** 2)) < 0.045


def test_fit_then_transform_is_fit_transform_apart_from_mean_targets():
    X, y = mixed(300)
    encoder = TableEncoder(random_state=0)
    crossed = encoder.fit_transform(X, y)
    own = TableEncoder(random_state=0).fit(X, y).transform(X)
    assert_array_equal(crossed[:, :-1], own[:, :-1])
    assert not np.array_equal(crossed[:, -1], own[:, -1])
    assert_array_equal(TableEncoder().fit(X).transform(X), TableEncoder().fit_transform(X))
    assert_array_equal(TableEncoder().fit_transform(X), own[:, :-1])


TARGETS = {
    "text": ["no", "yes"],
    "bool": [False, True],
    "int": [-1, 1],
    "float": [0.0, 1.0],
    "object": np.array([3, 7], dtype=object).tolist(),
}


@pytest.mark.parametrize("labels", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize("as_y", [list, np.array, pd.Series, pd.Categorical], ids=lambda f: f.__name__)
def test_labels_of_any_kind_have_the_same_mean_targets(labels, as_y):
    X, y, _ = many(200, 40, spread=0.3)
    expected = TableEncoder(random_state=0).fit_transform(X, y)
    assert_array_equal(TableEncoder(random_state=0).fit_transform(X, as_y([labels[k] for k in y])), expected)


def test_several_outputs_have_a_mean_target_each():
    X, y, _ = many(200, 40, spread=0.3)
    expected = TableEncoder(random_state=0).fit_transform(X, y)[:, -1]
    Y = np.column_stack((y, 1 - y, y))
    names, encoded = names_and_table(X, Y, random_state=0)
    assert names[-3:] == ["a_mean_target_0", "a_mean_target_1", "a_mean_target_2"]
    # x and 1 - x, after a few roundings.
    assert_allclose(encoded[:, -3:], np.column_stack((expected, 1 - expected, expected)), rtol=1e-13)
    assert_array_equal(TableEncoder(random_state=0).fit_transform(X, sp.csr_array(Y)), encoded)
    three = np.where(np.arange(200) < 20, "x", np.where(y, "y", "z"))
    names, encoded = names_and_table(X, three, random_state=0)
    assert names[-3:] == ["a_mean_target_x", "a_mean_target_y", "a_mean_target_z"]
    names, encoded = names_and_table(X, y + 0.5, random_state=0)
    assert_allclose(encoded[:, -1], expected + 0.5, rtol=1e-13)


@pytest.mark.parametrize("n_rows", [3, 4, 7])
def test_mean_targets_of_few_rows_and_of_one_class_are_finite(n_rows):
    X = frame_of([f"c{k // 2}" for k in range(2 * n_rows)])
    for y in (np.zeros(2 * n_rows), np.arange(2 * n_rows) == 0, np.arange(2 * n_rows) // 2 % 2):
        encoder = TableEncoder(max_categories=2, random_state=0)
        assert np.isfinite(encoder.fit_transform(X, y)).all()
        assert np.isfinite(encoder.transform(X)).all()


# scikit-learn's checks. Only numeric columns are in them, and objects that are numbers.
@parametrize_with_checks([TableEncoder(), TableEncoder(max_categories=2, random_state=0)])
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)


def test_column_transformers_and_networks_take_it():
    X, y = mixed(400)
    model = make_pipeline(TableEncoder(random_state=0), PiecewiseLinearEncoder(8), LogisticRegression(max_iter=1000))
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    # Numbers and a few categories decide, with noise; chance is 0.5.
    assert model.fit(X_train, y_train).score(X_test, y_test) > 0.75


# make_tabular_classifier. Few members, of small networks that stop soon, where only their plumbing is looked at.


def quick(**overrides):
    return make_tabular_classifier(**{"n_estimators": 2, "random_state": 0, **overrides})


def test_parameters_that_do_not_exist_are_named():
    with pytest.raises(TypeError, match=r"unexpected 'max_iter', 'n_estimator'\. It takes .*n_estimators"):
        make_tabular_classifier(n_estimator=3, max_iter=4, random_state=0)


def test_overrides_reach_the_ensemble_and_random_state_both_steps():
    model = make_tabular_classifier(n_estimators=3, calibration="temperature", random_state=5)
    assert list(model.named_steps) == ["table", "ensemble"]
    parameters = model.get_params()
    assert (parameters["table__random_state"], parameters["ensemble__random_state"]) == (5, 5)
    assert (parameters["ensemble__n_estimators"], parameters["ensemble__calibration"]) == (3, "temperature")
    default = make_tabular_classifier().named_steps["ensemble"].get_params(deep=False)
    assert default["n_estimators"] == BCEMLPEnsembleClassifier().n_estimators
    assert all(isinstance(encoder, PiecewiseLinearEncoder) for encoder in default["encoders"])
    n_bins = [encoder.n_bins for encoder in default["encoders"]]
    assert (min(n_bins), len(set(n_bins))) == (1, 4)  # one all but bare, and no two alike
    assert make_tabular_classifier(encoders=None).named_steps["ensemble"].encoders is None
    first, second = make_tabular_classifier(), make_tabular_classifier()
    assert first.named_steps["ensemble"].encoders[0] is not second.named_steps["ensemble"].encoders[0]


def test_parameters_can_be_set_afterwards_and_models_cloned():
    model = make_tabular_classifier(random_state=0).set_params(ensemble__n_estimators=2, table__max_categories=5)
    X, y = mixed(120)
    model = clone(model).fit(X, y)
    assert len(model.named_steps["ensemble"].estimators_) == 2
    assert "shop_(other)" in model.named_steps["table"].get_feature_names_out()


def test_same_seed_gives_the_same_model_before_and_after_a_pickle():
    X, y = mixed(200)
    model, again = quick().fit(X, y), quick().fit(X, y)
    assert_array_equal(model.predict_proba(X), again.predict_proba(X))
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))


def test_one_row_as_a_dict_is_predicted_as_in_the_table():
    X, y = mixed(200)
    model = quick().fit(X, y)
    row = pd.DataFrame([X.iloc[3].to_dict()])
    # The order of sums in a product of one row and of many differs, in float32.
    assert_allclose(model.predict_proba(row), model.predict_proba(X)[3:4], rtol=1e-4)
    new = pd.DataFrame([{"age": 30, "income": None, "town": "Rome", "member": True, "size": None, "shop": "new"}])
    assert np.isfinite(model.predict_proba(new)).all()
    assert model.predict(new)[0] in ("yes", "no")


def test_cross_validation_and_search_take_the_whole_model():
    X, y = mixed(400)
    scores = cross_val_score(quick(), X, y, cv=2, scoring="roc_auc", error_score="raise")
    # Chance is 0.5; the columns that decide leave an area of about 0.9.
    assert scores.min() > 0.75
    search = GridSearchCV(quick(), {"table__max_categories": [3, 32]}, cv=2, error_score="raise").fit(X, y)
    assert set(search.best_params_) == {"table__max_categories"}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("shape", [(300, 8), (450, 260), (24, 3)], ids=str)
def test_small_and_wide_tables_give_finite_probabilities(shape):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal(shape)).add_prefix("x")
    X["town"] = rng.choice(["Bonn", "Ulm", None], len(X))
    y = (X.x0 + 0.5 * rng.standard_normal(len(X)) > 0).astype(int)
    model = quick(n_estimators=3).fit(X, y)
    ensemble = model.named_steps["ensemble"]
    assert len(ensemble.estimators_) == 3
    for p in (model.predict_proba(X), ensemble.oof_proba_):
        assert np.isfinite(p).all()
        # Each pair is p and 1 - p.
        assert_allclose(p.sum(axis=1), 1, rtol=1e-15)
