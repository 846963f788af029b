"""The kernels through their doors, against the NumPy twin, over dtypes, shapes, kinds of tables, weights and blocks."""

import ctypes

import numpy as np
import pytest
import scipy.sparse as sp

from skbce import _parameters
from skbce._parameters import ACTIVATIONS, STORED, Layout, aligned_zeros
from skbce.kernels import LEVEL, doors
from tests import numpy_twin as twin

DTYPES = (np.float32, np.float64)

# Odd sizes, width 1, no hidden layer, one output (matrix-vector products) and several (matrix products).
NETWORKS = [(1, 1), (3, 1), (4, 3), (5, 4, 1), (1, 1, 1, 1), (7, 5, 3, 2), (2, 17, 9, 5, 3)]


def in_rows(X, step):
    """X with other numbers between its rows and columns."""
    around = np.full((X.shape[0] * step + 1, X.shape[1] * step + 2), 7, X.dtype)
    inside = around[1::step, 1 : 1 + step * X.shape[1] : step][: len(X)]
    inside[...] = X
    return inside


def backwards(X, rows, columns):
    """X, stored from its last row or column to its first."""
    return np.ascontiguousarray(X[::rows, ::columns])[::rows, ::columns]


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def csr(X, duplicates=False, unsorted=False, index_dtype=np.int32):
    """X as CSR; with stored zeros and duplicates, or each row's columns from last to first, or wider indices."""
    X = sp.csr_matrix(X)
    if duplicates:
        rows = np.repeat(np.arange(X.shape[0]), np.diff(X.indptr))
        parts = [(X.data * share, rows, X.indices) for share in (0.25, 0.75, 0.0)]
        data, rows, columns = (np.concatenate(part) for part in zip(*parts, strict=True))
        order = np.argsort(rows, kind="stable")
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=X.shape[0]))])
        X = sp.csr_matrix((data[order].astype(X.dtype), columns[order], indptr), X.shape)
        assert not X.has_canonical_format
    if unsorted:
        for start, stop in zip(X.indptr, X.indptr[1:], strict=False):
            X.indices[start:stop] = X.indices[start:stop][::-1].copy()
            X.data[start:stop] = X.data[start:stop][::-1].copy()
        X.has_sorted_indices = False
    X.indices, X.indptr = X.indices.astype(index_dtype), X.indptr.astype(index_dtype)
    return X


TABLES = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "columns of a wider one": lambda X: in_rows(np.hstack([X, X]), 1)[:, : X.shape[1]],
    "every second row and column": lambda X: in_rows(X, 2),
    "rows backwards": lambda X: backwards(X, -1, 1),
    "columns backwards": lambda X: backwards(X, 1, -1),
    "both backwards": lambda X: backwards(X, -1, -1),
    "both backwards in Fortran order": lambda X: np.asfortranarray(X[::-1, ::-1])[::-1, ::-1],
    "CSR": csr,
    "CSR with int64 indices": lambda X: csr(X, index_dtype=np.int64),
    "CSR with duplicates": lambda X: csr(X, duplicates=True),
    "CSR with unsorted columns": lambda X: csr(X, unsorted=True),
}


def problem(units, rows, dtype, seed=0):
    """A twin's example with zeros in X, and two rows of nothing but zeros."""
    X, Y, weight, W, b = twin.example(units, rows, seed, dtype)
    X[np.random.default_rng(seed).random(X.shape) < 0.3] = 0
    X[[rows // 2, -1]] = 0
    return X, Y, weight, twin.flat(W, b)


def guarded(size, dtype, value=np.nan):
    """An array inside a larger one: the array, and a function that tells whether what lies around is untouched."""
    around = np.full(size + 32, 123.0, dtype)
    around[16 : 16 + size] = value
    return around[16 : 16 + size], lambda: (around[:16] == 123).all() and (around[16 + size :] == 123).all()


class Memory:
    """A Workspace full of NaN, watched at its ends, whose blocks may be smaller than a shard."""

    def __init__(self, layout, rows, dtype, block_rows=None, n_threads=1):
        n_shards = layout.network.shards(rows)
        self.n_threads = n_threads
        self.block_rows = block_rows or -(-rows // n_shards)
        self._kept = []
        self.blocks = self._rows(n_threads, layout.network.workspace_size(self.block_rows), dtype)
        self.gradients = self._rows(n_shards, layout.n_parameters, dtype)
        self.partials = self._rows(1, layout.network.partials_size(), np.float64)[0]

    def _rows(self, n_rows, size, dtype):
        array, kept = guarded(n_rows * size, dtype)
        self._kept.append(kept)
        return array.reshape(n_rows, size)

    def arguments(self):
        return self.block_rows, self.blocks, self.gradients, self.partials, self.n_threads

    def kept(self):
        return all(kept() for kept in self._kept)


def cost_and_gradient(units, f, theta, X, Y, weight=None, alpha=0.0, block_rows=None, n_threads=1):
    """The door, with memory full of NaN at the start and watched at its ends."""
    layout = Layout(units, f)
    memory = Memory(layout, len(Y), theta.dtype, block_rows, n_threads)
    gradient, gradient_kept = guarded(layout.n_parameters, theta.dtype)
    cost = doors.cost_and_gradient(
        layout.network, alpha, theta, gradient, doors.Table(X), Y, weight, 0.0, *memory.arguments()
    )
    assert memory.kept()
    assert gradient_kept()
    return cost, gradient


def logits(layout, theta, table, ids, block_rows, Z, n_threads=1):
    """The door, likewise."""
    memory = Memory(layout, 1, theta.dtype, block_rows, n_threads)
    doors.logits(layout.network, theta, table, ids, block_rows, memory.blocks, Z, n_threads)
    assert memory.kept()


def assert_vectors_close(units, actual, expected, ulps, floor=0.0):
    """Each W and b within `ulps` of actual's precision at its largest entry, or at `floor` of the largest of all."""
    least = floor * np.abs(expected).max()
    for part, part_twin in zip(twin.unflat(actual, units), twin.unflat(expected, units), strict=True):
        for array, array_twin in zip(part, part_twin, strict=True):
            error, scale = np.abs(array - array_twin).max(), max(np.abs(array_twin).max(), least)
            assert error <= ulps * np.finfo(actual.dtype).eps * scale, f"{error / scale:.2e} of the largest entry"


# Cost and gradient of these networks differ from the twin's by the rounding of sums over at most 31 rows and 17 units,
# layer after layer: at most 20 ulp were seen; another BLAS adds in another order.
GRADIENT_ULPS = 64

# f' of gelu, silu and mish passes through 0, where it is right to an ulp of 1, not of itself. A single unit below may
# then have a gradient that is all difference.
GRADIENT_FLOOR = dict.fromkeys(STORED, 0.001)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 31])
@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("units", NETWORKS)
def test_cost_and_gradient_are_the_twins_for_any_network(units, f, rows, dtype):
    X, Y, weight, W, b = twin.example(units, rows, dtype=dtype)
    theta = twin.flat(W, b)
    for w in (None, weight):
        for alpha in (0.0, 0.5):
            cost, gradient = cost_and_gradient(units, f, theta, X, Y, w, alpha)
            expected = twin.cost_at(theta, units, f, X, Y, w, alpha)
            assert cost == pytest.approx(expected, rel=8 * float(np.finfo(dtype).eps), abs=0)  # positive terms
            expected = twin.gradient_at(theta, units, f, X, Y, w, alpha)
            assert_vectors_close(units, gradient, expected, GRADIENT_ULPS, GRADIENT_FLOOR.get(f, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize(
    "f", [("relu", "tanh"), ("logistic", "identity", "relu"), ("tanh", "relu", "relu", "logistic")]
)
def test_cost_and_gradient_are_the_twins_for_layers_of_different_activations(f, n_outputs, sparse, dtype):
    units = (6, *(5, 3, 4, 2)[: len(f)], n_outputs)
    X, Y, weight, theta = problem(units, 31, dtype)
    cost, gradient = cost_and_gradient(units, f, theta, csr(X) if sparse else X, Y, weight, 0.5)
    expected = twin.cost_at(theta, units, f, X, Y, weight, 0.5)
    assert cost == pytest.approx(expected, rel=8 * float(np.finfo(dtype).eps), abs=0)  # positive terms
    assert_vectors_close(units, gradient, twin.gradient_at(theta, units, f, X, Y, weight, 0.5), GRADIENT_ULPS)


@pytest.mark.parametrize("f", ["tanh", ("tanh", "tanh"), ["tanh", "tanh"], np.array(["tanh", "tanh"])])
def test_one_activation_for_all_layers_is_the_same_to_the_bit_as_one_for_each(f):
    X, Y, _, theta = problem((6, 5, 3, 1), 31, np.float64)
    _, gradient = cost_and_gradient((6, 5, 3, 1), f, theta, X, Y)
    np.testing.assert_array_equal(gradient, cost_and_gradient((6, 5, 3, 1), "tanh", theta, X, Y)[1])


@pytest.mark.parametrize("f", [(), ("relu",), ("relu",) * 3])
def test_wrong_number_of_activations_raises_an_error_that_says_how_many_are_needed(f):
    with pytest.raises(ValueError, match=rf"activation .* each hidden layer, which are 2, got {len(f)}"):
        Layout((6, 5, 3, 1), f)


@pytest.mark.parametrize(
    ("units", "f"),
    [((6, 1), "softmax"), ((6, 5, 3, 1), "softmax"), ((6, 5, 3, 1), ("relu", "softmax")), ((6, 5, 1), [["softmax"]])],
)
def test_unknown_activation_raises_an_error_that_lists_the_known(units, f):
    with pytest.raises(ValueError, match=r"activation must be one of \('identity', .*got \[?'softmax'"):
        Layout(units, f)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(6, 1), (6, 3), (6, 5, 3, 2)])
@pytest.mark.parametrize("kind", TABLES)
def test_cost_and_gradient_are_the_twins_for_any_table(kind, units, dtype):
    X, Y, weight, theta = problem(units, 13, dtype)
    table = TABLES[kind](X)
    kept = table.copy()
    for w in (None, weight):
        cost, gradient = cost_and_gradient(units, "tanh", theta, table, Y, w, 0.5)
        expected = twin.cost_at(theta, units, "tanh", X, Y, w, 0.5)
        assert cost == pytest.approx(expected, rel=8 * float(np.finfo(dtype).eps), abs=0)  # positive terms
        assert_vectors_close(units, gradient, twin.gradient_at(theta, units, "tanh", X, Y, w, 0.5), GRADIENT_ULPS)
    assert (table != kept).sum() == 0


@pytest.mark.parametrize("rows", [1, 9])
def test_cost_and_gradient_are_the_twins_for_a_broadcast_table(rows):
    _, Y, _, W, b = twin.example((4, 3, 1), rows)
    for X in (
        np.broadcast_to([1.0, -2.0, 3.0, 0.5], (rows, 4)),
        np.broadcast_to(np.arange(rows)[:, None] / 9, (rows, 4)),
    ):
        theta = twin.flat(W, b)
        _, gradient = cost_and_gradient((4, 3, 1), "tanh", theta, X, Y)
        assert_vectors_close((4, 3, 1), gradient, twin.gradient_at(theta, (4, 3, 1), "tanh", X, Y), GRADIENT_ULPS)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cost_and_gradient_are_the_twins_for_a_sparse_table_without_any_entry(dtype):
    units, X = (5, 3, 1), np.zeros((4, 5), dtype)
    _, Y, _, W, b = twin.example(units, 4, dtype=dtype)
    theta = twin.flat(W, b)
    _, gradient = cost_and_gradient(units, "relu", theta, csr(X), Y)
    assert not twin.unflat(gradient, units)[0][0].any()
    _, expected = cost_and_gradient(units, "relu", theta, X, Y)
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", [(6, 1), (6, 5, 3, 2)])
@pytest.mark.parametrize("kind", ["C", "Fortran", "columns of a wider one", "rows backwards", "CSR"])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_add_up_to_the_whole(weighted, kind, units, dtype):
    X, Y, weight, theta = problem(units, 23, dtype)
    weight = weight if weighted else None
    cost, gradient = cost_and_gradient(units, "tanh", theta, TABLES[kind](X), Y, weight, 0.1)
    for block_rows in (1, 2, 7, 22, 40):
        cost_blocks, gradient_blocks = cost_and_gradient(
            units, "tanh", theta, TABLES[kind](X), Y, weight, 0.1, block_rows
        )
        # The same 23 terms, added in another order.
        assert cost_blocks == pytest.approx(cost, rel=1e-14 if dtype == np.float64 else 1e-6, abs=0)
        assert_vectors_close(units, gradient_blocks, gradient, 16)


@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("sparse", [False, True])
def test_nan_in_a_parameter_or_the_table_reaches_the_cost(sparse, f):
    units = (3, 4, 1)
    X, Y, _, W, b = twin.example(units, 6)
    theta = twin.flat(W, b)
    for at in (0, len(theta) - 1):
        spoilt = theta.copy()
        spoilt[at] = np.nan
        assert np.isnan(cost_and_gradient(units, f, spoilt, csr(X) if sparse else X, Y)[0])
    X[3, 1] = np.nan
    assert np.isnan(cost_and_gradient(units, f, theta, csr(X) if sparse else X, Y)[0])


def test_read_only_arguments_are_taken():
    units = (3, 4, 1)
    X, Y, weight, W, b = twin.example(units, 6)
    theta = twin.flat(W, b)
    expected = cost_and_gradient(units, "relu", theta, X, Y, weight)
    X, Y, weight, theta = (read_only(array) for array in (X, Y, weight, theta))
    cost, gradient = cost_and_gradient(units, "relu", theta, X, Y, weight)
    assert cost == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])
    ids = read_only(np.arange(6)[::-1])
    layout = Layout(units, "relu")
    Z = np.empty((6, 1))
    logits(layout, theta, doors.Table(X), ids, 6, Z)
    rule = RULES["adam"]
    theta = theta.copy()
    doors.run_steps(
        layout.network, rule, 0, theta, np.zeros_like(theta), np.zeros_like(theta), doors.Table(X), Y, weight, ids,
        0.0, None, 0, 6, 3, 10.0, 0.0, *Memory(layout, 3, float).arguments(),
    )  # fmt: skip
    assert np.isfinite(theta).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", TABLES)
@pytest.mark.parametrize("order", ["as they lie", "shuffled", "some, repeated"])
def test_logits_are_the_twins_for_any_table_order_and_block(order, kind, dtype):
    units = (6, 5, 3, 2)
    X, _, _, theta = problem(units, 13, dtype)
    rng = np.random.default_rng(5)
    ids = {"as they lie": None, "shuffled": rng.permutation(13), "some, repeated": rng.integers(0, 13, 29)}[order]
    expected = twin.forward(X if ids is None else X[ids], *twin.unflat(theta, units), "tanh")[0][-1]
    layout, table = Layout(units, "tanh"), doors.Table(TABLES[kind](X))
    for block_rows in (1, 4, len(expected), 64):
        flat_Z, Z_kept = guarded(expected.size, dtype)
        Z = flat_Z.reshape(expected.shape)
        logits(layout, theta, table, ids, block_rows, Z)
        assert Z_kept()
        # Three layers of sums of up to 6 products.
        assert np.abs(Z - expected).max() <= 16 * np.finfo(dtype).eps * np.abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [kind for kind in TABLES if "CSR" not in kind])
@pytest.mark.parametrize("stray", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_has_logits_of_nan_where_relu_would_hide_it(stray, kind, dtype):
    units = (6, 5, 2)
    X, _, _, theta = problem(units, 13, dtype)
    layout = Layout(units, "relu")
    layout.views(theta)[0][0][3] = np.copysign(1, -stray)  # A[1] = relu(-inf) in that row
    clean, Z = np.empty((2, 13, 2), dtype)
    logits(layout, theta, doors.Table(TABLES[kind](X)), None, 4, clean)
    X[7, 3] = stray
    logits(layout, theta, doors.Table(TABLES[kind](X)), None, 4, Z)
    assert np.isnan(Z[7]).all()
    np.testing.assert_array_equal(np.delete(Z, 7, 0), np.delete(clean, 7, 0))


# Around every width at which products take another way: a vector of 4 to 16 numbers, panels of up to four vectors, the
# last one of them a half, and more rows than a packed panel has; 1 to 13 rows are one tile and each smaller one.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "n_out",
    [2, 4, 5, 7, 8, 9, 12, 13, 15, 16, 17, 20, 24, 25, 31, 33, 36, 41, 47, 48, 56, 63, 64, 65, 80, 100, 128, 300],
)
@pytest.mark.parametrize("n_in", [2, 8, 16, 19, 64, 129, 260])
def test_products_of_any_shape_are_those_of_a_wider_type_and_stay_in_their_arrays(n_in, n_out, dtype):
    rng = np.random.default_rng(0)
    for rows in (1, 2, 3, 5, 6, 13, 128):
        A, dZ = rng.normal(size=(rows, n_in)).astype(dtype), rng.normal(size=(rows, n_out)).astype(dtype)
        W, b = rng.normal(size=(n_in, n_out)).astype(dtype), rng.normal(size=n_out).astype(dtype)
        outputs = {name: guarded(size, dtype) for name, size in (("Z", dZ.size), ("dW", W.size), ("dA", A.size))}
        Z, dW, dA = (array.reshape(-1, n) for (array, _), n in zip(outputs.values(), (n_out, n_out, n_in)))
        doors.layer_forward(A, W, b, False, Z)
        doors.layer_gradient(A, dZ, dW)
        doors.layer_backward(ACTIVATIONS.index("identity"), A, dZ, W, dA, np.zeros(n_in, dtype))
        assert all(is_kept() for _, is_kept in outputs.values())
        # Products of long doubles are loops of NumPy's, those of float64 are BLAS's.
        wide = [array.astype(np.float64 if dtype == np.float32 else np.longdouble) for array in (A, W, b, dZ)]
        exact = [product(*wide) for product in PRODUCTS]
        sizes = [product(*map(abs, wide)) for product in PRODUCTS]
        # A sum of k products rounds by at most k + 1 times half a unit of the sum of their sizes.
        for name, found, expected, size, k in zip(outputs, (Z, dW, dA), exact, sizes, (n_in, rows, n_out)):
            assert (abs(found - expected) <= (k + 1) * np.finfo(dtype).eps / 2 * size).all(), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_out", [1, 3, 8, 16, 17, 24, 36, 48, 100])
@pytest.mark.parametrize("n_in", [1, 16, 129])
def test_a_layer_that_ends_in_relu_has_the_bits_of_its_product_and_relu_after_it(n_in, n_out, dtype):
    rng = np.random.default_rng(0)
    for rows in (1, 5, 13, 128):
        A, W = rng.normal(size=(rows, n_in)).astype(dtype), rng.normal(size=(n_in, n_out)).astype(dtype)
        b = rng.normal(size=n_out).astype(dtype)
        A[0, 0] = np.nan
        Z, fused = np.empty((2, rows, n_out), dtype)
        doors.layer_forward(A, W, b, False, Z)
        doors.layer_forward(A, W, b, True, fused)
        doors.apply_activation(ACTIVATIONS.index("relu"), Z)
        assert np.isnan(fused[0]).all()
        assert fused.tobytes() == Z.tobytes()


VECTOR_BYTES = {"x86_64_v3": 32, "x86_64_v4": 64}  # as in tiles.h


# Around a vector's width, which the last one of a row shares with the one before it, and the rows of a block.
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_in", [1, 7, 8, 9, 15, 16, 17, 31, 100])
def test_a_product_with_one_unit_is_that_of_a_wider_type_and_its_rows_do_not_depend_on_each_other(n_in, dtype):
    rng = np.random.default_rng(0)
    A, w, b = (rng.normal(size=shape).astype(dtype) for shape in ((130, n_in), (n_in, 1), 1))
    A[7] = np.inf
    A[9] = np.nan
    flat_z, is_kept = guarded(len(A), dtype)
    z = flat_z.reshape(-1, 1)
    doors.layer_forward(A, w, b, False, z)
    assert is_kept()
    assert not np.isfinite(z[[7, 9]]).any()
    finite = np.isfinite(A[:, 0])
    wide = [array.astype(np.longdouble) for array in (A[finite], w, b)]
    exact, size = wide[2] + wide[0] @ wide[1], abs(wide[2]) + abs(wide[0]) @ abs(wide[1])
    # As for the products above.
    assert (abs(z[finite] - exact) <= (n_in + 1) * np.finfo(dtype).eps / 2 * size).all()
    # Those of BLAS, for narrower matrices and instruction sets without tiles, may.
    if n_in * A.itemsize >= VECTOR_BYTES.get(LEVEL, np.inf):
        for rows in (1, 3, 64, 65):
            some = np.empty((rows, 1), dtype)
            doors.layer_forward(A[:rows].copy(), w, b, False, some)
            assert some.tobytes() == z[:rows].tobytes()


PRODUCTS = (
    lambda A, W, b, dZ: b + A @ W,
    lambda A, W, b, dZ: A.T @ dZ,
    lambda A, W, b, dZ: dZ @ W.T,
)


@pytest.mark.parametrize("stored", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [kind for kind in TABLES if "CSR" not in kind])
def test_gathered_rows_are_the_tables_for_any_dense_table(kind, dtype, stored):
    X, ids = problem((7, 1), 31, stored)[0], np.random.default_rng(0).integers(0, 31, 40)
    flat_rows, rows_kept = guarded(40 * 7, dtype)
    rows = flat_rows.reshape(40, 7)
    doors.gather(doors.Table(TABLES[kind](X)), ids, rows)
    assert rows_kept()
    np.testing.assert_array_equal(rows, X[ids].astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
# Up to the pieces that rows are copied in, of 4, 16 and 64 bytes, around them and beyond, where memcpy takes over.
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 31, 32, 33, 100, 128, 129, 256, 257, 300])
def test_gathered_rows_are_the_tables_at_any_width(width, dtype):
    X, ids = np.random.default_rng(width).normal(size=(9, width)).astype(dtype), np.array([8, 0, 3, 3, 1])
    flat_rows, rows_kept = guarded(len(ids) * width, dtype)
    rows = flat_rows.reshape(len(ids), width)
    doors.gather(doors.Table(X), ids, rows)
    assert rows_kept()
    np.testing.assert_array_equal(rows, X[ids])


@pytest.mark.parametrize("dtype", DTYPES)
# The pass takes up to four vectors beside each other, of 4 to 16 numbers each.
@pytest.mark.parametrize("width", [1, 4, 15, 16, 17, 40, 64, 100, 300])
@pytest.mark.parametrize("rows", [1, 2, 31])
@pytest.mark.parametrize("f", range(4), ids=ACTIVATIONS[:4])  # those that the pass is for
def test_pass_below_one_unit_gives_what_a_layers_two_doors_give(f, rows, width, dtype):
    rng = np.random.default_rng(0)
    dz, w = rng.normal(size=(rows, 1)).astype(dtype), rng.normal(size=(width, 1)).astype(dtype)
    A = rng.uniform(-1, 1, (rows, width)).clip(0).astype(dtype)  # relu has units that are off
    dZ, dW, db = np.empty_like(A), np.empty_like(w), rng.normal(size=width).astype(dtype)
    flat_dZ, kept = guarded(A.size, dtype)
    dZ_one, dw_one, db_one = flat_dZ.reshape(A.shape), np.ones(width, dtype), db.copy()
    dZ_one[...] = A
    doors.layer_gradient(A, dz, dW)
    doors.layer_backward(f, A, dz, w, dZ, db)
    doors.unit_layer_backward(f, dz[:, 0], w[:, 0], dZ_one, dw_one, db_one)
    assert kept()
    # Sums of at most 32 terms up to 4 or so, in another order, and one term more.
    tolerance = 32 * 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(dZ_one, dZ, rtol=0, atol=tolerance)
    np.testing.assert_allclose(db_one, db, rtol=0, atol=tolerance)
    np.testing.assert_allclose(dw_one, 1 + dW[:, 0], rtol=0, atol=tolerance)


def rule(solver, **changes):
    numbers = {"solver": ("sgd", "adam").index(solver), "learning_rate": 0.05, "alpha": 0.3, "momentum": 0.0}
    numbers |= {"nesterov": False, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3}
    numbers |= {"weight_decay": 0.0, "max_grad_norm": np.inf}
    return numbers | changes


RULES = {
    "sgd": rule("sgd"),
    "sgd without L2": rule("sgd", alpha=0.0),
    "sgd with momentum": rule("sgd", momentum=0.9),
    "sgd with Nesterov's momentum": rule("sgd", momentum=0.9, nesterov=True),
    "adam": rule("adam"),
    "adam without L2": rule("adam", alpha=0.0),
    "adam without memory": rule("adam", beta1=0.0, beta2=0.0),
    "sgd with decay": rule("sgd", weight_decay=0.7),
    "sgd with Nesterov's momentum and decay": rule("sgd", momentum=0.9, nesterov=True, weight_decay=0.7, alpha=0.0),
    "adam with decay": rule("adam", weight_decay=0.7, alpha=0.0),
    # Of the steps below, some have a longer gradient than this, and some a shorter.
    "sgd with momentum, clipped": rule("sgd", momentum=0.9, max_grad_norm=0.5),
    "adam with decay, clipped": rule("adam", weight_decay=0.7, max_grad_norm=0.5),
}


class Training:
    """theta and moments of the kernels, and a twin beside them that starts from the same."""

    def __init__(self, units, f, rule_name, theta, t=0):
        self.units, self.f, self.rule = units, f, RULES[rule_name]
        self.layout = Layout(units, f)
        rng = np.random.default_rng(8)
        n_moments = 1 + self.rule["solver"]
        # Moments as they are in the middle of training; the second is not negative.
        moments = [rng.uniform(0, 0.1, theta.size).astype(theta.dtype) * (t > 0) for _ in range(n_moments)]
        self.theta, self.theta_kept = guarded(theta.size, theta.dtype, theta)
        self.moments, self.moments_kept = zip(*[guarded(m.size, m.dtype, m) for m in moments], strict=True)
        self.theta_twin = theta.astype(float)
        self.moments_twin = [moment.astype(float) for moment in moments]
        self.t = self.t_twin = t

    def run(self, table, Y, weight, ids, start, stop, batch_size, block_rows, n_threads=1):
        """The door, to the end: cost x rows summed, rows, steps."""
        memory = Memory(self.layout, batch_size, self.theta.dtype, block_rows, n_threads)
        at, *result = doors.run_steps(
            self.layout.network, self.rule, self.t, self.theta, *(*self.moments, None)[:2],
            doors.Table(table), Y, weight, ids, 0.0, None, start, stop, batch_size, 60.0, 0.0, *memory.arguments(),
        )  # fmt: skip
        self.t += result[2]
        assert at == stop
        assert memory.kept()
        assert self.theta_kept()
        assert all(kept() for kept in self.moments_kept)
        return tuple(result)

    def run_twin(self, X, Y, weight, ids, start, stop, batch_size):
        """The same from the equations."""
        ids = (np.arange(len(X)) if ids is None else ids)[start:stop]
        cost_sum, counted, steps = 0.0, 0, 0
        for at in range(0, len(ids), batch_size):
            batch = ids[at : at + batch_size]
            part = (
                self.units,
                self.f,
                X[batch],
                Y[batch],
                None if weight is None else weight[batch],
                self.rule["alpha"],
            )
            if weight is not None and not weight[batch].any():
                continue
            cost_sum += twin.cost_at(self.theta_twin, *part) * len(batch)
            counted += len(batch)
            steps += 1
            self._step_twin(twin.gradient_at(self.theta_twin, *part))
        return cost_sum, counted, steps

    def _step_twin(self, g):
        self.t_twin += 1
        g = twin.clipped(g, self.rule["max_grad_norm"])
        self.theta_twin = twin.shrunk(
            self.theta_twin, self.units, self.rule["learning_rate"] * self.rule["weight_decay"]
        )
        if self.rule["solver"] == 0:
            names = ("learning_rate", "momentum", "nesterov")
            self.theta_twin, *self.moments_twin = twin.sgd(
                self.theta_twin, g, *self.moments_twin, **{name: self.rule[name] for name in names}
            )
        else:
            names = ("learning_rate", "beta1", "beta2", "eps")
            self.theta_twin, *self.moments_twin = twin.adam(
                self.theta_twin, g, *self.moments_twin, self.t_twin, **{name: self.rule[name] for name in names}
            )

    def assert_same(self, result, result_twin):
        assert result[1:] == result_twin[1:]
        assert result[0] == pytest.approx(result_twin[0], rel=float(self.allowed), abs=0)
        self.assert_same_parameters()

    @property
    def allowed(self):
        # A step adds a rounding of theta and passes on earlier ones: no more than 9 ulp of the largest entry were seen
        # after 8 steps. (Adam divides g by its own size, so that roundings of a g near zero grow: eps holds them.)
        return 50 * np.finfo(self.theta.dtype).eps

    def assert_same_parameters(self):
        for actual, expected in zip((self.theta, *self.moments), (self.theta_twin, *self.moments_twin), strict=True):
            assert np.abs(actual - expected).max() <= self.allowed * np.abs(expected).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule_name", [name for name in RULES if "decay" not in name and "clipped" not in name])
def test_step_of_a_flat_vector_is_the_twins_for_any_rule(rule_name, dtype):
    theta = problem((4, 3, 1), 5, dtype)[-1]
    gradient = np.random.default_rng(11).normal(size=theta.size).astype(dtype)
    training = Training((4, 3, 1), "relu", rule_name, theta, t=2)
    training._step_twin(gradient + training.rule["alpha"] * training.theta_twin)
    doors.descend(training.rule, 3, gradient, training.theta, *(*training.moments, None)[:2])
    assert training.theta_kept()
    training.assert_same_parameters()


@pytest.mark.parametrize(("beta_1", "beta_2"), [(0.9, 0.999), (0.0, 0.0), (1 - 2**-20, 1 - 2**-30)])
def test_adams_rate_is_the_formulas_to_the_last_bit_at_any_step(beta_1, beta_2):
    # With g = 1, m = (1 - beta_1) and v = (1 - beta_2) after one step from zeros, so theta tells the rate.
    rule = RULES["adam"] | {"alpha": 0.0, "weight_decay": 0.0, "beta1": beta_1, "beta2": beta_2, "eps": 0.0}
    for t in (1, 2, 39, 40, 41, 310, 345, 380, 399, 401, 402, 39_999, 40_001, 10**7):
        theta, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
        doors.descend(rule, t, np.ones(1), theta, m, v)
        rate = rule["learning_rate"] * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        assert theta[0] == -(rate * m[0] / np.sqrt(v[0]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule_name", RULES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("units", [(3, 1), (1, 1, 1), (6, 5, 3, 2)])
def test_steps_are_the_twins_for_any_rule(units, weighted, rule_name, dtype):
    # 8 steps in 2 epochs, with a smaller batch at the end of each, which goes through in blocks of 3 rows.
    X, Y, weight, theta = problem(units, 23, dtype)
    weight = weight if weighted else None
    training = Training(units, "tanh", rule_name, theta)
    for ids in (None, np.random.default_rng(6).permutation(23)):
        result = training.run(X, Y, weight, ids, 0, 23, 7, 3)
        result_twin = training.run_twin(X, Y, weight, ids, 0, 23, 7)
        assert result[1:] == (23, 4)
        training.assert_same(result, result_twin)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule_name", ["sgd with Nesterov's momentum", "adam"])
@pytest.mark.parametrize("order", ["as they lie", "shuffled", "some, repeated"])
@pytest.mark.parametrize("kind", TABLES)
def test_steps_are_the_twins_for_any_table_and_order(kind, order, rule_name, dtype):
    units = (6, 4, 2)
    X, Y, weight, theta = problem(units, 13, dtype)
    rng = np.random.default_rng(7)
    ids = {"as they lie": None, "shuffled": rng.permutation(13), "some, repeated": rng.integers(0, 13, 19)}[order]
    stop = 13 if ids is None else len(ids)
    training = Training(units, "tanh", rule_name, theta)
    result = training.run(TABLES[kind](X), Y, weight, ids, 0, stop, 5, 2)
    training.assert_same(result, training.run_twin(X, Y, weight, ids, 0, stop, 5))


@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("rule_name", ["sgd with momentum", "adam"])
def test_steps_are_the_twins_for_any_activation(rule_name, f):
    X, Y, _, theta = problem((5, 4, 3, 1), 20, np.float64)
    training = Training((5, 4, 3, 1), f, rule_name, theta)
    result = training.run(X, Y, None, None, 0, 20, 6, 6)
    training.assert_same(result, training.run_twin(X, Y, None, None, 0, 20, 6))


@pytest.mark.parametrize("rule_name", RULES)
@pytest.mark.parametrize("batch_size", [1, 11])
def test_steps_go_on_from_moments_and_step_count_on_rows_in_the_middle(batch_size, rule_name):
    X, Y, weight, theta = problem((4, 3, 1), 30, np.float64)
    ids = np.random.default_rng(9).permutation(30)
    training = Training((4, 3, 1), "logistic", rule_name, theta, t=5)
    result = training.run(X, Y, weight, ids, 8, 19, batch_size, 4)
    training.assert_same(result, training.run_twin(X, Y, weight, ids, 8, 19, batch_size))


@pytest.mark.parametrize("rule_name", ["sgd with momentum", "adam"])
def test_one_call_over_whole_batches_is_the_same_to_the_bit_as_several(rule_name):
    X, Y, weight, theta = problem((4, 3, 1), 30, np.float32)
    at_once, in_parts = (Training((4, 3, 1), "relu", rule_name, theta) for _ in range(2))
    whole = at_once.run(X, Y, weight, None, 0, 30, 7, 7)
    parts = [in_parts.run(X, Y, weight, None, start, stop, 7, 7) for start, stop in ((0, 7), (7, 21), (21, 30))]
    assert whole[1:] == tuple(sum(counts) for counts in zip(*parts, strict=True))[1:]
    assert whole[0] == pytest.approx(sum(part[0] for part in parts), rel=1e-14, abs=0)  # 5 costs, added otherwise
    np.testing.assert_array_equal(at_once.theta, in_parts.theta)


@pytest.mark.parametrize("rule_name", ["sgd with Nesterov's momentum", "adam"])
@pytest.mark.parametrize("ordered", [False, True])
def test_batch_whose_weights_are_all_zero_is_passed_over(ordered, rule_name):
    X, Y, weight, theta = problem((4, 3, 1), 20, np.float64)
    ids = np.random.default_rng(10).permutation(20) if ordered else np.arange(20)
    weight[ids[5:10]] = 0
    weight[ids[12]] = 0  # one row alone is not a batch
    training = Training((4, 3, 1), "tanh", rule_name, theta)
    result = training.run(X, Y, weight, ids if ordered else None, 0, 20, 5, 5)
    assert result[1:] == (15, 3)
    training.assert_same(result, training.run_twin(X, Y, weight, ids, 0, 20, 5))
    without = Training((4, 3, 1), "tanh", rule_name, theta)
    assert without.run(X, Y, weight, np.delete(ids, slice(5, 10)), 0, 15, 5, 5) == result
    np.testing.assert_array_equal(training.theta, without.theta)


def test_nothing_happens_where_every_weight_is_zero():
    X, Y, _, theta = problem((4, 3, 1), 20, np.float64)
    training = Training((4, 3, 1), "tanh", "adam", theta, t=3)
    moments = [moment.copy() for moment in training.moments]
    assert training.run(X, Y, np.zeros(20), None, 0, 20, 5, 5) == (0.0, 0, 0)
    np.testing.assert_array_equal(training.theta, theta)
    np.testing.assert_equal(training.moments, tuple(moments))


HUGE = {
    np.float32: [17.0, 40.0, 88.0, 104.0, 1000.0, 3.4e38, np.inf],
    np.float64: [37.0, 40.0, 709.0, 746.0, 1000.0, 1e308, np.inf],
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_are_strictly_between_0_and_1_for_huge_logits(dtype):
    Z = np.array(HUGE[dtype], dtype)
    Z = np.stack([Z, -Z], axis=1)
    both = np.empty((len(Z), 2), dtype)
    doors.class_probabilities(np.ascontiguousarray(Z[:, :1]), both)
    doors.probabilities(Z)
    for Y_hat in (Z, both):
        assert (Y_hat > 0).all()
        assert (Y_hat < 1).all()
    np.testing.assert_array_equal(both[:, ::-1], Z)


@pytest.mark.parametrize("dtype", DTYPES)
def test_probabilities_are_the_twins_sigmoid_and_the_other_class_is_not_rounded_from_it(dtype):
    Z = np.linspace(-12, 12, 101, dtype=dtype).reshape(-1, 1)
    both = np.empty((len(Z), 2), dtype)
    doors.class_probabilities(Z, both)
    # 3 ulp of either probability itself: the small one keeps all its digits.
    wide, rtol = Z[:, 0].astype(float), 3 * np.finfo(dtype).eps
    np.testing.assert_allclose(both[:, 1], twin.sigmoid(wide), rtol=rtol)
    np.testing.assert_allclose(both[:, 0], twin.sigmoid(-wide), rtol=rtol)
    several = np.ascontiguousarray(np.hstack([Z, -Z, Z]))
    doors.probabilities(several)
    np.testing.assert_array_equal(several, both[:, [1, 0, 1]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_probability_of_a_nan_logit_is_nan(dtype):
    Z, both = np.full((1, 1), np.nan, dtype), np.zeros((1, 2), dtype)
    doors.class_probabilities(Z, both)
    doors.probabilities(Z)
    assert np.isnan(Z).all()
    assert np.isnan(both).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", TABLES)
def test_table_of_the_other_precision_is_converted_row_by_row(kind, dtype):
    X, Y, weight, theta = problem((6, 5, 1), 13, np.float32)
    theta, weight = theta.astype(dtype), weight.astype(dtype)
    other = X.astype(np.float64 if dtype == np.float32 else np.float32)
    table = TABLES[kind](other)
    cost, gradient = cost_and_gradient((6, 5, 1), "tanh", theta, table, Y, weight)
    expected = cost_and_gradient((6, 5, 1), "tanh", theta, table.astype(dtype), Y, weight)
    # The same numbers; SciPy's conversion adds duplicates up and sorts, so that sums of 6 terms round otherwise.
    eps = float(np.finfo(np.float32).eps) if kind.startswith("CSR with") else 0.0
    assert cost == pytest.approx(expected[0], rel=4 * eps, abs=0)
    np.testing.assert_allclose(gradient, expected[1], rtol=0, atol=4 * eps)


def test_run_ends_after_the_step_that_passes_its_time():
    layout = Layout((4, 3, 1), "relu")
    X, Y, _, theta = problem((4, 3, 1), 40, np.float64)
    memory = Memory(layout, 8, np.float64)
    at, _, rows, steps = doors.run_steps(
        layout.network, RULES["adam"], 0, theta, np.zeros_like(theta), np.zeros_like(theta), doors.Table(X), Y, None,
        None, 0.0, None, 0, 40, 8, -1.0, 0.0, *memory.arguments(),
    )  # fmt: skip
    assert (at, rows, steps) == (8, 8, 1)


def test_table_outlives_the_array_that_it_was_made_of():
    X, _, _, theta = problem((4, 3, 1), 12, np.float64)
    layout, Z = Layout((4, 3, 1), "relu"), np.empty((12, 1))
    for make in (np.array, lambda X: csr(X, index_dtype=np.int64)):
        table = doors.Table(make(X))
        noise = [np.full(X.shape, np.nan) for _ in range(50)]  # would take the array's place if it were free
        logits(layout, theta, table, None, 12, Z)
        expected = twin.forward(X, *twin.unflat(theta, (4, 3, 1)), "relu")[0][-1]
        np.testing.assert_allclose(Z, expected, rtol=0, atol=1e-14)  # sums of 4 and of 3 products of size 1
        del noise


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("units", NETWORKS)
def test_initial_parameters_are_the_seed_equations(units, f, dtype):
    theta = Layout(units, f).initial(np.random.RandomState(3), dtype)
    expected = twin.flat(*twin.initial(units, f, np.random.RandomState(3)))
    assert theta.dtype == dtype
    # The bound may be rounded in another order.
    np.testing.assert_allclose(theta, expected.astype(dtype), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize(
    "f",
    [("logistic", "relu"), ("relu", "logistic"), ("logistic", "logistic"), ("selu", "gelu"), ("leaky_relu", "tanh")],
)
def test_initial_parameters_follow_each_layers_activation_and_the_output_the_one_below(f):
    units = (7, 5, 3, 2)
    theta = Layout(units, f).initial(np.random.RandomState(3), np.float64)
    expected = twin.flat(*twin.initial(units, f, np.random.RandomState(3)))
    np.testing.assert_allclose(theta, expected, rtol=1e-15)  # the bound may be rounded in another order


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("units", NETWORKS)
def test_views_show_all_W_row_by_row_then_all_b(units, dtype):  # noqa: N802
    layout = Layout(units, "relu")
    theta = np.arange(layout.n_parameters).astype(dtype)
    views, expected = layout.views(theta), twin.unflat(theta, units)
    for arrays, arrays_twin in zip(views, expected, strict=True):
        assert len(arrays) == len(arrays_twin) == len(units) - 1
        for view, array in zip(arrays, arrays_twin, strict=True):
            np.testing.assert_array_equal(view, array)
            assert np.shares_memory(view, theta)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flat_is_a_new_vector_that_gives_the_parameters_back(dtype):
    units = (3, 4, 2)
    _, _, _, W, b = twin.example(units, 1)
    theta = Layout(units, "relu").flat(W, b, dtype)
    assert theta.dtype == dtype
    np.testing.assert_array_equal(theta, twin.flat(W, b).astype(dtype))
    assert not any(np.shares_memory(theta, array) for array in (*W, *b))


def test_vectors_begin_on_a_cache_line_and_hold_zeros():
    for size in range(1, 40):
        for dtype in DTYPES:
            vector = aligned_zeros(size, dtype)
            assert vector.ctypes.data % 64 == 0
            assert vector.tolist() == [0.0] * size


@pytest.mark.parametrize("dtype", DTYPES)
def test_shared_is_the_vector_itself_where_parameters_are_its_views(dtype):
    layout = Layout((3, 4, 2), "relu")
    theta = layout.initial(np.random.RandomState(0), dtype)
    W, b = layout.views(theta)
    W[1][...] = 5  # editing in place keeps them its views
    shared = layout.shared(W, b)
    assert shared.ctypes.data == theta.ctypes.data
    assert shared.dtype == dtype
    np.testing.assert_array_equal(shared, theta)


EDITS = {
    "one W a new array": lambda W, b: W.__setitem__(0, W[0] * 2),
    "one b a new array": lambda W, b: b.__setitem__(1, b[1] + 1),
    "a W in Fortran order": lambda W, b: W.__setitem__(1, np.asfortranarray(W[1])),
    "two W exchanged": lambda W, b: W.__setitem__(slice(1, 3), [W[2], W[1]]),
    "one W twice": lambda W, b: W.__setitem__(2, W[1]),
    "W with its rows backwards": lambda W, b: W.__setitem__(1, W[1][::-1]),
    "all new": lambda W, b: (W.__setitem__(slice(None), [w + 1 for w in W]), b.__setitem__(0, b[0] - 1)),
    "a b of views of another vector": lambda W, b: b.__setitem__(0, np.arange(20.0)[5:9]),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("edit", EDITS)
def test_shared_is_a_copy_with_the_right_parameters_where_they_were_edited(edit, dtype):
    layout = Layout((3, 4, 4, 4, 2), "relu")
    theta = layout.initial(np.random.RandomState(0), dtype)
    W, b = layout.views(theta)
    EDITS[edit](W, b)
    shared = layout.shared(W, b)
    np.testing.assert_array_equal(shared, twin.flat(W, b))
    assert not np.shares_memory(shared, theta)


@pytest.mark.parametrize(("given", "expected"), [(np.float16, np.float32), (np.int64, np.float64)])
def test_shared_computes_in_float32_or_float64_whatever_was_put_in(given, expected):
    W, b = [np.ones((2, 1), given)], [np.ones(1, given)]
    assert Layout((2, 1), "relu").shared(W, b).dtype == expected


@pytest.mark.parametrize("method", ["flat", "shared"])
@pytest.mark.parametrize("views", [False, True])
@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("coefs_", lambda W, b: W.__setitem__(0, W[0].T)),
        ("coefs_", lambda W, b: W.__setitem__(1, W[1][:-1])),
        ("coefs_", lambda W, b: W.pop()),
        ("coefs_", lambda W, b: W.append(W[0])),
        ("intercepts_", lambda W, b: b.__setitem__(1, b[1][:, None])),
        ("intercepts_", lambda W, b: b.__setitem__(0, b[0][1:])),
        ("intercepts_", lambda W, b: b.pop()),
        ("intercepts_", lambda W, b: b.append(b[0])),
    ],
    ids=[
        "W turned",
        "W shorter",
        "a W too few",
        "a W too many",
        "b a column",
        "b shorter",
        "a b too few",
        "a b too many",
    ],
)
def test_parameters_of_wrong_shapes_raise_an_error_that_names_them(name, edit, views, method):
    layout = Layout((3, 4, 2), "relu")
    W, b = layout.views(layout.initial(np.random.RandomState(0), np.float64))
    if not views:
        W, b = [w.copy() for w in W], [v.copy() for v in b]
    edit(W, b)
    arguments = (W, b, np.float64) if method == "flat" else (W, b)
    with pytest.raises(ValueError, match=rf"{name} has the shapes .*layers of \(3, 4, 2\) units need"):
        getattr(layout, method)(*arguments)


@pytest.mark.parametrize("units", [(3, 1), (100, 256, 256, 1), (5000, 3000, 1)])
@pytest.mark.parametrize("rows", [1, 7, 200, 99_999])
def test_block_rows_cut_the_rows_into_few_equal_blocks_that_keep_to_a_size(units, rows):
    size = _parameters.block_rows(rows, Layout(units, "relu"), 2**19, 64)
    n_blocks = -(-rows // size)
    assert min(rows, 64) <= size <= rows
    assert size == min(rows, 64) or size * sum(units) <= 2**19 + sum(units)
    assert n_blocks == 1 or (n_blocks - 1) * 2**19 < rows * sum(units)  # there could not be fewer
    assert size == 64 or n_blocks * size - rows < n_blocks  # no block is much smaller than the others


def test_blocks_of_a_sparse_table_hold_no_copy_of_it():
    dense, sparse = (Layout((5000, 8, 1), "relu", is_sparse).network.workspace_size(10) for is_sparse in (False, True))
    assert dense - sparse == 10 * 5000


# Around powers of two, where the mask changes, around runs of 256 draws, and around the 624 words of a state.
@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 4, 5, 8, 9, 255, 256, 257, 511, 513, 625, 6400, 100_003])
@pytest.mark.parametrize("n_before", [0, 1, 623, 624, 625])
def test_shuffle_leaves_the_order_and_the_generator_that_numpys_leaves(n_rows, n_before):
    expected, order = np.arange(n_rows), np.arange(n_rows)
    theirs, ours = np.random.RandomState(5), np.random.RandomState(5)
    for state in (theirs, ours):
        state.bytes(4 * n_before)
    for _ in range(3):
        theirs.shuffle(expected)
        doors.shuffle(ours._bit_generator, order)
        np.testing.assert_array_equal(order, expected)
        assert ours.randint(2**31) == theirs.randint(2**31)


def test_a_twister_goes_on_from_a_state_that_it_had():
    generator = np.random.MT19937(7)
    generator.random_raw(100)
    state = doors.twister_state(generator)
    np.testing.assert_array_equal(state[:624], generator.state["state"]["key"])
    assert state[624] == generator.state["state"]["pos"]
    drawn = generator.random_raw(1000)
    doors.set_twister_state(generator, state)
    np.testing.assert_array_equal(generator.random_raw(1000), drawn)


def test_a_place_that_no_twister_can_be_at_reads_no_word_beyond_its_state():
    generator, fresh = np.random.MT19937(7), np.random.MT19937(7)
    fresh.random_raw(1)  # the last word that a seed makes
    # Where it lies, for newer NumPys refuse such a place.
    ctypes.c_int.from_address(generator.ctypes.state_address + 4 * 624).value = -5
    doors.set_twister_state(np.random.MT19937(0), doors.twister_state(generator))  # it is a state that goes on
    order, expected = np.arange(50), np.arange(50)
    doors.shuffle(generator, order)
    doors.shuffle(fresh, expected)
    np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize("generator", [np.random.RandomState(0), np.random.PCG64(0), None])
@pytest.mark.parametrize(
    "door", [lambda g: doors.shuffle(g, np.arange(3)), doors.twister_state,
             lambda g: doors.set_twister_state(g, np.zeros(625, np.uint32))],
    ids=["shuffle", "twister_state", "set_twister_state"],
)  # fmt: skip
def test_a_twisters_doors_refuse_what_is_none(door, generator):
    with pytest.raises(ValueError, match="bit_generator is an MT19937"):
        door(generator)


@pytest.mark.parametrize("state", [np.zeros(624, np.uint32), np.full(625, 625, np.uint32)], ids=["short", "beyond"])
def test_a_twister_refuses_what_is_no_state(state):
    with pytest.raises(ValueError, match="state is of twister_state"):
        doors.set_twister_state(np.random.MT19937(0), state)
