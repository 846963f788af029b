"""PiecewiseLinearEncoder: against exact arithmetic, its properties, and what it makes of any table."""

import pickle
import tracemalloc
from fractions import Fraction
from itertools import pairwise
from math import ceil, isnan, sqrt

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbce import BCEMLPClassifier, PiecewiseLinearEncoder
from skbce.kernels import doors

MAX = float(np.finfo(np.float64).max)
SUBNORMAL = 5e-324

# Two roundings in float64 and one to float32: at most the float32 beside the nearest one.
ROUNDING = 2.0**-23

# The same examples in every run, and no limit to their time: a busy machine changes nothing.
search = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=200)

# Any number, numbers that are often equal, and numbers a few bits apart.
numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-3, 3).map(float),
    st.integers(-8, 8).map(lambda k: k * SUBNORMAL),
    st.integers(0, 4).map(lambda k: 1 + k * 2.0**-52),
)
columns = st.lists(numbers, min_size=2, max_size=40).filter(lambda values: min(values) < max(values))
three_values = columns.filter(lambda values: len(set(values)) > 2)  # with two, the column itself is left out
with_missing = st.lists(st.one_of(numbers, st.just(np.nan)), min_size=1, max_size=20)


def column(values):
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def twin_quantile(values, q):
    """The least value with at least the share q at or below it, or its mean with the next where it is exactly q."""
    values, rank = sorted(values), q * len(values)
    if rank.denominator == 1 and 0 < rank < len(values):
        return float((Fraction(values[int(rank) - 1]) + Fraction(values[int(rank)])) / 2)
    return values[max(ceil(rank) - 1, 0)]


def twin_edges(values, n_bins):
    if len(set(values)) <= n_bins + 1:
        return sorted(set(values))
    return sorted({twin_quantile(values, Fraction(k, n_bins)) for k in range(n_bins + 1)})


def twin_components(x, edges):
    """The share of each bin below x, in exact arithmetic."""
    ends = [Fraction(edge) for edge in edges]
    return [float(min(max((Fraction(x) - a) / (b - a), 0), 1)) for a, b in pairwise(ends)]


def twin_value(x, values):
    q25, median, q75 = (Fraction(twin_quantile(values, Fraction(k, 4))) for k in (1, 2, 3))
    distances = sorted(abs(Fraction(value) - median) for value in values if Fraction(value) != median)
    n = len(distances)
    scale = q75 - q25 if q75 > q25 else distances[(n - 1) // 2] + distances[n // 2]
    z = min(max((Fraction(x) - median) / scale, -(10**12)), 10**12)
    return float(z) / sqrt(1 + float(z / 3) ** 2)


@search
@given(st.data(), columns, st.integers(1, 12))
def test_row_of_weight_k_is_k_rows(data, values, n_bins):
    weight = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(values), max_size=len(values))))
    repeated = column(values).repeat(weight, axis=0)
    if len(set(repeated.ravel())) < 2:
        return
    weighted = PiecewiseLinearEncoder(n_bins).fit(column(values), sample_weight=weight)
    expected = PiecewiseLinearEncoder(n_bins).fit(repeated)
    assert_array_equal(weighted.edges_[0], expected.edges_[0])
    assert_array_equal([*weighted.center_, *weighted.scale_], [*expected.center_, *expected.scale_])


def test_weights_follow_their_values_where_some_are_missing_and_a_subsample_is_drawn():
    rng = np.random.default_rng(0)
    X = np.where(rng.random(4000) < 0.3, np.nan, rng.standard_normal(4000)).reshape(-1, 1)
    weight = np.where(X.ravel() > 0, 4.0, 1.0)  # so the median is that of 4 halves above 0 and one below: 0.489
    for subsample in (2000, None):
        encoder = PiecewiseLinearEncoder(subsample=subsample, random_state=0).fit(X, sample_weight=weight)
        # The standard error of the median of 2000 such rows is 0.03, and 5 times that is far from the unweighted 0.
        assert encoder.center_[0] == pytest.approx(0.489, abs=0.15)


def test_weights_that_leave_no_row_are_told():
    with pytest.raises(ValueError, match="zero"):
        PiecewiseLinearEncoder().fit(column([1.0, 2.0]), sample_weight=[0, 0])


@search
@given(columns, st.integers(1, 12))
def test_edges_are_those_of_exact_arithmetic_for_any_column(values, n_bins):
    encoder = PiecewiseLinearEncoder(n_bins).fit(column(values))
    expected = twin_edges(values, n_bins)
    # The mean of two subnormal numbers may be rounded to the other of its neighbours.
    assert_allclose(encoder.edges_[0], expected, rtol=0, atol=SUBNORMAL)
    assert encoder.n_bins_.tolist() == [len(expected) - 1]


@search
@given(columns, st.lists(numbers, min_size=1, max_size=20), st.integers(1, 12))
@example([-MAX, MAX], [-MAX, 0.0, MAX / 2, MAX], 1)
@example([0.0, SUBNORMAL], [-1.0, 0.0, SUBNORMAL, 1.0], 1)
@example([-MAX, 0.0, SUBNORMAL, MAX], [-MAX, -1.0, SUBNORMAL, MAX], 3)
def test_components_are_those_of_exact_arithmetic_for_any_numbers(values, X, n_bins):
    encoder = PiecewiseLinearEncoder(n_bins, include_value=False).fit(column(values))
    expected = [twin_components(x, encoder.edges_[0]) for x in X]
    assert_allclose(encoder.transform(column(X)), expected, rtol=ROUNDING, atol=1e-45)


@search
@given(three_values, st.lists(numbers, min_size=1, max_size=20))
@example([0.0, 0.0, 0.0, 0.0, 1.0, 8.0], [0.0, 1.0, 1e300])  # quartiles that are equal
def test_value_is_that_of_exact_arithmetic_for_any_numbers(values, X):
    encoder = PiecewiseLinearEncoder().fit(column(values))
    if SUBNORMAL < encoder.scale_[0] < MAX:  # at these, scale_ is held to what float64 has
        expected = [twin_value(x, values) for x in X]
        # The median of subnormal numbers is rounded, and counts for much where the quartiles are too.
        atol = 3 * SUBNORMAL / encoder.scale_[0] + 1e-45
        assert_allclose(encoder.transform(column(X))[:, 0], expected, rtol=2 * ROUNDING, atol=atol)


@pytest.mark.parametrize("tail", [100.0, 1e9])
def test_scale_of_a_column_that_is_mostly_one_value_is_that_of_the_others_whatever_their_tail(tail):
    encoder = PiecewiseLinearEncoder().fit(column([0.0] * 90 + [1.0, 2.0, 3.0, 4.0, tail]))
    assert encoder.scale_.tolist() == [6.0]  # twice the median of 1, 2, 3, 4 and the tail


def test_scale_is_half_the_range_where_the_subsample_is_one_value():
    X = column([0.0] * 1000 + [-1.0, 7.0])
    assert PiecewiseLinearEncoder(subsample=2, random_state=0).fit(X).scale_.tolist() == [4.0]


@search
@given(columns, with_missing, st.integers(1, 12), st.booleans())
@example([0.0] * 9 + [-SUBNORMAL, SUBNORMAL], [0.0, SUBNORMAL], 2, True)  # equal quartiles, a range of 2 bits
@example([-MAX] * 5 + [MAX] * 2 + [0.0], [-MAX, MAX], 2, True)  # the quartiles are further apart than float64 goes
def test_output_is_finite_and_bounded_for_any_numbers(values, X, n_bins, include_value):
    encoder = PiecewiseLinearEncoder(n_bins, include_value=include_value).fit(column(values))
    encoded = encoder.transform(column(X))
    assert encoded.dtype == np.float32
    n_values = int(include_value and len(set(values)) > 2)
    assert encoded.shape == (len(X), n_values + encoder.n_bins_[0])
    components = encoded[:, n_values:]
    assert ((components >= 0) & (components <= 1)).all()
    assert (np.abs(encoded) <= 3).all()


@search
@given(three_values, st.lists(numbers, min_size=2, max_size=20), st.integers(1, 12))
def test_output_does_not_fall_where_the_column_rises(values, X, n_bins):
    encoded = PiecewiseLinearEncoder(n_bins).fit(column(values)).transform(column(sorted(X)))
    assert (np.diff(encoded, axis=0) >= 0).all()
    # And a component begins where the one before it is full.
    assert ((encoded[:, 2:] == 0) | (encoded[:, 1:-1] == 1)).all()


@search
@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=30, unique=True), st.integers(1, 12))
def test_components_times_widths_of_bins_give_back_the_clipped_column(values, n_bins):
    encoder = PiecewiseLinearEncoder(n_bins, include_value=False).fit(column(values))
    edges = encoder.edges_[0]
    X = np.linspace(-1200, 1200, 50)
    restored = edges[0] + encoder.transform(column(X)).astype(np.float64) @ np.diff(edges)
    # One component of a row is rounded, to float32; edges lie within 2000 of each other.
    assert_allclose(restored, np.clip(X, edges[0], edges[-1]), rtol=0, atol=2000 * 2.0**-24)


@search
@given(with_missing.filter(lambda values: len({x for x in values if not isnan(x)}) > 1), st.booleans())
def test_missing_values_are_encoded_as_the_median_beside_an_indicator(values, include_value):
    X = column(values)
    encoder = PiecewiseLinearEncoder(4, include_value=include_value).fit(X)
    missing = np.isnan(X[:, 0])
    has_value = include_value and len(set(X[~missing, 0])) > 2
    encoded, n_columns = encoder.transform(X), has_value + encoder.n_bins_[0]
    as_median = encoder.transform(column([encoder.center_[0]]))[0, :n_columns]
    assert_array_equal(encoded[missing, :n_columns], np.broadcast_to(as_median, (missing.sum(), n_columns)))
    assert_array_equal(encoded[:, n_columns:], column(missing) if missing.any() else np.empty((len(X), 0)))
    without = PiecewiseLinearEncoder(4, include_value=include_value).fit(X[~missing])
    assert_array_equal(encoder.edges_[0], without.edges_[0])


def test_values_first_missing_after_fit_are_encoded_as_the_median_silently():
    encoder = PiecewiseLinearEncoder(4).fit(column(range(9)))
    assert_array_equal(encoder.transform([[np.nan]]), encoder.transform([[4.0]]))
    assert not encoder.has_missing_.any()


TABLE = np.array([[0, 7, np.nan, 5, 1], [1, 7, np.nan, np.nan, 2], [1, 7, np.nan, 5, 8], [1, 7, np.nan, 5, np.nan]])


def test_constant_columns_are_left_out_and_their_missing_values_are_not():
    encoder = PiecewiseLinearEncoder().fit(TABLE)
    names = ["x0_bin1", "x3_missing", "x4", "x4_bin1", "x4_bin2", "x4_missing"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.n_bins_.tolist() == [1, 0, 0, 0, 2]
    assert encoder.has_missing_.tolist() == [False, False, False, True, True]
    assert_array_equal(encoder.center_, [1, 7, np.nan, 5, 2])
    assert_array_equal(encoder.scale_, [0.5, 0, 0, 0, 7])
    encoded = pd.DataFrame(encoder.transform(TABLE), columns=names)
    assert encoded.x3_missing.tolist() == [0, 1, 0, 0]
    assert encoded.x4_bin1.tolist() == [0, 1, 1, 1]
    assert encoded.x4_missing.tolist() == [0, 0, 0, 1]


def test_table_of_indicators_alone_is_encoded():
    X = TABLE[:, 3:4]
    assert_array_equal(PiecewiseLinearEncoder().fit_transform(X), np.isnan(X))


@pytest.mark.parametrize("X", [TABLE[:, 1:2], TABLE[:, 1:3], TABLE[:, 2:3], TABLE[2:3]], ids=str)
def test_table_that_leaves_nothing_to_encode_is_refused_with_the_reason(X):
    encoder = PiecewiseLinearEncoder()
    with pytest.raises(ValueError, match=r"Every column of X is constant|1 sample.* minimum of 2 is required"):
        encoder.fit(X)
    with pytest.raises(NotFittedError):
        encoder.transform(X)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_values_are_refused(value):
    X = np.arange(6.0).reshape(3, 2)
    encoder = PiecewiseLinearEncoder().fit(X)
    X[1, 1] = value
    with pytest.raises(ValueError, match="Input X contains infinity"):
        encoder.fit(X)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        encoder.transform(X)


@pytest.mark.parametrize("rare", [1, 5])
def test_column_of_few_values_has_an_edge_at_each_however_rare(rare):
    X = column([0.0] * 1000 + [1.0] * 500 + [2.5] * rare + [9.0] * rare)
    assert PiecewiseLinearEncoder(3).fit(X).edges_[0].tolist() == [0, 1, 2.5, 9]
    # One bin fewer, and the quantiles decide: 0 is minimum and median.
    assert PiecewiseLinearEncoder(2).fit(X).edges_[0].tolist() == [0, 9]


@pytest.mark.parametrize("missing", [[], [np.nan]], ids=["complete", "with missing"])
@pytest.mark.parametrize("values", [[0.0, 1.0], [-7.0, 1e300]], ids=str)
def test_column_of_two_values_is_one_indicator_alone(values, missing):
    X = column([values[0]] * 5 + [values[1]] + missing)
    encoder = PiecewiseLinearEncoder(4).fit(X)
    assert encoder.has_two_values_.tolist() == [True]
    expected = [[0.0], [1.0]] if not missing else [[0.0, 0.0], [1.0, 0.0]]
    assert_array_equal(encoder.transform(column(values)), expected)
    without = clone(encoder).set_params(include_value=False).fit(X)
    assert_array_equal(without.transform(X), encoder.transform(X))
    assert encoder.get_feature_names_out().tolist() == without.get_feature_names_out().tolist()


def test_column_of_one_bin_and_many_values_keeps_its_value():
    X = column([0.0] * 100 + [1.0, 2.0, 50.0])
    encoder = PiecewiseLinearEncoder(2).fit(X)
    assert encoder.edges_[0].tolist() == [0, 50]
    assert encoder.get_feature_names_out().tolist() == ["x0", "x0_bin1"]


def test_third_value_that_the_subsample_has_not_is_seen():
    X = column([0.0, 1.0] * 500 + [0.25])
    assert PiecewiseLinearEncoder(subsample=10, random_state=0).fit(X).get_feature_names_out().tolist()[0] == "x0"


FRAME = pd.DataFrame({"age": [20, 35, 50, 65], "member": [True, False, True, True], "sum": [1.5, 2.5, 4.0, 9.0]})


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "Int64", "Float32", "boolean", "object"])
def test_tables_of_any_dtype_are_encoded_as_their_numbers(dtype):
    X = FRAME[["member"]].astype("int64").astype(dtype)
    assert_array_equal(PiecewiseLinearEncoder(include_value=False).fit_transform(X), [[1], [0], [1], [1]])


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "object"])
def test_missing_values_of_nullable_dtypes_are_missing(dtype):
    X = pd.DataFrame({"age": [1, 2, pd.NA if dtype != "object" else None, 3]}, dtype=dtype)
    expected = PiecewiseLinearEncoder().fit_transform(column([1, 2, np.nan, 3]))
    assert_array_equal(PiecewiseLinearEncoder().fit_transform(X), expected)


def table(n_rows=200, n_columns=7, dtype=np.float64):
    """Columns of different scales, tails and numbers of values, with missing ones in two of them."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_columns)) * np.geomspace(1e-3, 1e3, n_columns)
    X[:, 1] = np.round(X[:, 1] / X[:, 1].std())
    X[:, 2] **= 5
    X[rng.random(n_rows) < 0.2, 3] = np.nan
    X[rng.random(n_rows) < 0.9, 4] = np.nan
    X[:, 5] = 1
    return X.astype(dtype)


# Rows around one tile of the kernel and several; columns, and bins, around the width of a vector.
@pytest.mark.parametrize("n_rows", [2, 63, 64, 65, 200])
@pytest.mark.parametrize("n_bins", [1, 2, 7, 8, 15, 16, 17, 40])
@pytest.mark.parametrize("include_value", [False, True])
def test_each_column_lies_where_its_name_says(n_rows, n_bins, include_value):
    X = table(n_rows)
    encoder = PiecewiseLinearEncoder(n_bins, include_value=include_value).set_output(transform="pandas").fit(X)
    encoded = encoder.transform(X)
    n_outputs = 0
    for j in np.flatnonzero((encoder.n_bins_ > 0) | encoder.has_missing_):
        filled = np.where(np.isnan(X[:, j]), encoder.center_[j], X[:, j])
        outputs = {f"x{j}_missing": np.isnan(X[:, j])} if encoder.has_missing_[j] else {}
        for t, (left, right) in enumerate(pairwise(encoder.edges_[j]), 1):
            outputs[f"x{j}_bin{t}"] = np.clip((filled - left) / (right - left), 0, 1)
        if include_value and len(set(X[~np.isnan(X[:, j]), j])) > 2:
            z = (filled - encoder.center_[j]) / encoder.scale_[j]
            outputs[f"x{j}"] = z / np.sqrt(1 + (z / 3) ** 2)
        for name, expected in outputs.items():
            assert_allclose(encoded[name], expected, rtol=ROUNDING, err_msg=name)
        n_outputs += len(outputs)
    assert encoded.shape == (n_rows, n_outputs)


def test_columns_in_another_order_give_the_encoding_in_that_order():
    X = table()
    order = np.array([3, 6, 0, 5, 2, 4, 1])
    for subsample in (None, 50):
        encoder = PiecewiseLinearEncoder(subsample=subsample, random_state=0).set_output(transform="pandas")
        frame = pd.DataFrame(X).add_prefix("column")
        encoded = clone(encoder).fit_transform(frame)
        reordered = clone(encoder).fit_transform(frame.iloc[:, order])
        assert reordered.columns.tolist() != encoded.columns.tolist()
        pd.testing.assert_frame_equal(reordered[encoded.columns], encoded)


def in_rows(X):
    return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]


def in_records(X):
    """X as a field of records with one more byte, so that rows lie at no whole number of elements."""
    records = np.zeros(len(X), [("row", X.dtype, X.shape[1:]), ("byte", np.uint8)])
    records["row"] = X
    return records["row"]


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": in_rows,
    "backwards": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "big-endian": lambda X: X.astype(X.dtype.newbyteorder(">")),
    "records": in_records,
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_encoding_does_not_depend_on_the_layout_and_the_table_is_not_changed(layout, dtype):
    expected = PiecewiseLinearEncoder().fit_transform(table(dtype=dtype))
    X = layout(table(dtype=dtype))
    before = X.copy()
    X.flags.writeable = False
    assert_array_equal(PiecewiseLinearEncoder().fit(X).transform(X), expected)
    assert_array_equal(X, before)


def test_float32_is_encoded_as_the_same_numbers_in_float64():
    X = table(dtype=np.float32)
    encoders = [PiecewiseLinearEncoder().fit(X.astype(dtype)) for dtype in (np.float32, np.float64)]
    assert {edges.dtype.name for encoder in encoders for edges in encoder.edges_} == {"float64"}
    assert_array_equal(encoders[0].transform(X), encoders[1].transform(X.astype(np.float64)))


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    encode_columns, used = doors.encode_columns, []

    def counted(*args):
        used.append(args[-1])
        return encode_columns(*args)

    monkeypatch.setattr(doors, "encode_columns", counted)
    X = table(20_011)
    encoder = PiecewiseLinearEncoder().fit(X)
    expected = encoder.set_params(n_threads=1).transform(X)
    for n_threads in (2, 3, 5):
        assert_array_equal(encoder.set_params(n_threads=n_threads).transform(X), expected)
    assert_array_equal(encoder.transform(X[:100]), expected[:100])
    assert used == [1, 2, 3, 5, 1]


def test_transform_takes_little_memory_beside_its_output():
    X = table(100_000)
    encoder = PiecewiseLinearEncoder().fit(X)
    encoder.transform(X)  # the first call of a process looks for BLAS libraries
    tracemalloc.start()
    encoded = encoder.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # X has 5.6 MB; one byte for each of its numbers would be 0.7 MB.
    assert encoded.nbytes <= peak < encoded.nbytes + 300_000


def test_subsample_changes_inner_edges_a_little_and_outer_ones_not():
    X = np.random.default_rng(0).standard_normal((20_000, 3))
    X[5, 1] = 1e6
    X[:, 2] = 0
    X[7, 2] = 1  # seldom in a sample of 1000, and not constant
    full = PiecewiseLinearEncoder(8, subsample=None).fit(X)
    encoder = PiecewiseLinearEncoder(8, subsample=1000, random_state=0).fit(X)
    for edges, expected in zip(encoder.edges_, full.edges_):
        assert edges[[0, -1]].tolist() == expected[[0, -1]].tolist()
    assert encoder.n_bins_.tolist() == [8, 8, 1]
    # The standard error of a quantile of 1000 normal numbers is 0.05 at the octiles.
    assert_allclose(encoder.edges_[0][1:-1], full.edges_[0][1:-1], rtol=0, atol=0.2)
    assert not np.array_equal(encoder.edges_[0], full.edges_[0])
    again = PiecewiseLinearEncoder(8, subsample=1000, random_state=0).fit(X)
    other = PiecewiseLinearEncoder(8, subsample=1000, random_state=1).fit(X)
    assert_array_equal(again.edges_[0], encoder.edges_[0])
    assert not np.array_equal(other.edges_[0], encoder.edges_[0])


@search
@given(columns, st.integers(1, 6), st.integers(1, 10))
def test_subsample_never_gives_more_bins_than_asked_for_nor_a_column_away(values, n_bins, subsample):
    encoder = PiecewiseLinearEncoder(n_bins, subsample=subsample, random_state=0).fit(column(values))
    edges = encoder.edges_[0]
    assert 1 <= encoder.n_bins_[0] <= n_bins
    assert (edges[0], edges[-1]) == (min(values), max(values))
    assert (edges[1:] > edges[:-1]).all()


def test_names_are_those_of_the_frame():
    encoder = PiecewiseLinearEncoder(2).set_output(transform="pandas").fit(FRAME)
    encoded = encoder.transform(FRAME)
    names = ["age", "age_bin1", "age_bin2", "member_bin1", "sum", "sum_bin1", "sum_bin2"]
    assert encoded.columns.tolist() == encoder.get_feature_names_out().tolist() == names
    assert set(encoded.dtypes) == {np.dtype("float32")}
    assert encoder.feature_names_in_.tolist() == list(FRAME)
    assert encoder.set_params(include_value=False).get_feature_names_out()[0] == "age_bin1"
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        encoder.get_feature_names_out(["a", "b", "c"])
    with pytest.raises(ValueError, match="feature names should match"):
        encoder.transform(FRAME.rename(columns={"age": "years"}))


def test_column_transformer_and_pipeline_take_it_before_a_network():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.standard_normal(400), "word": rng.choice(["a", "b"], 400)})
    y = np.abs(X.x) < 0.7  # no line through x tells them apart
    columns = make_column_transformer((PiecewiseLinearEncoder(8), ["x"]), remainder="drop")
    network = BCEMLPClassifier((), solver="lbfgs", max_iter=1000, random_state=0)
    model = make_pipeline(columns, network).fit(X, y)
    assert model[0].get_feature_names_out().tolist()[:2] == [
        "piecewiselinearencoder__x",
        "piecewiselinearencoder__x_bin1",
    ]
    assert model[-1].coefs_[0].dtype == np.float32
    assert model.score(X, y) > 0.9
    assert network.fit(X[["x"]], y).score(X[["x"]], y) < 0.6


def test_encoder_is_the_same_after_a_pickle():
    X = table()
    encoder = PiecewiseLinearEncoder(5).fit(X)
    restored = pickle.loads(pickle.dumps(encoder))
    assert vars(restored).keys() == vars(encoder).keys()
    assert_array_equal(restored.transform(X), encoder.transform(X))
    assert restored.get_feature_names_out().tolist() == encoder.get_feature_names_out().tolist()


def test_transform_before_fit_says_so():
    for call in (lambda encoder: encoder.transform([[1.0]]), lambda encoder: encoder.get_feature_names_out()):
        with pytest.raises(NotFittedError, match="not fitted"):
            call(PiecewiseLinearEncoder())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_bins", 0),
        ("n_bins", 2.5),
        ("include_value", "yes"),
        ("subsample", 0),
        ("random_state", "seed"),
        ("n_threads", 0),
    ],
)
def test_parameter_outside_its_range_is_named(name, value):
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of PiecewiseLinearEncoder"):
        PiecewiseLinearEncoder(**{name: value}).fit([[0.0], [1.0]])


# The subsample is more than the rows of the check of weights, 30: of repeated rows it would be another one.
@parametrize_with_checks(
    [
        PiecewiseLinearEncoder(),
        PiecewiseLinearEncoder(2, include_value=False),
        PiecewiseLinearEncoder(n_bins=5, subsample=40, n_threads=2),
    ]
)
def test_scikit_learn_check_passes(estimator, check):
    check(estimator)
