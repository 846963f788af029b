"""Arrays of every kind, right and wrong, from what a case says of them."""

import tempfile

import numpy as np
import pandas as pd
import scipy.sparse as sp

from tests.fuzz.cases import Table, Target, Weight

HUGE = {"huge": 1e30, "largest": 1.7e308, "beyond float32": 1e39, "tiny": 1e-30, "subnormal": 5e-324}
SPARSE = {"csr", "csc", "csr array", "coo", "bsr", "lil", "dok", "dia"}


def numbers(table: Table) -> np.ndarray:
    """The values of X, in C order and its dtype."""
    rng = np.random.default_rng(table.seed)
    X = rng.standard_normal((table.rows, table.columns))
    X = {
        "constant": np.ones_like, "zeros": np.zeros_like, "two values": np.sign,
        "mixed scales": lambda X: X * 10.0 ** rng.integers(-300, 300, X.shape),
        **{name: lambda X, scale=scale: np.sign(X) * scale for name, scale in HUGE.items()},
    }.get(table.values, lambda X: X)(X)  # fmt: skip
    single = {"one NaN": np.nan, "one infinity": np.inf, "minus infinity": -np.inf, "one huge": 1e308}
    if table.values in single and X.size:
        X.flat[table.seed % X.size] = single[table.values]
    if table.values == "all NaN":
        X[...] = np.nan
    with np.errstate(all="ignore"):
        if np.dtype(table.dtype).kind in "Mm":
            return np.nan_to_num(X).astype(np.int64, casting="unsafe").astype(table.dtype)
        return X.astype(table.dtype)


def make_table(table: Table):
    """X."""
    X = numbers(table)
    if table.form.split()[0] in SPARSE:
        return make_sparse(table.form, X, table.seed)
    return dense_form(table.form, X)


def dense_form(form: str, X: np.ndarray):
    """X in an array that lies in memory in some way, or in something else than an array."""
    rows, columns = X.shape
    if form in ("reversed", "strided", "unaligned", "read-only", "memmap", "broadcast"):
        return laid_out(form, X)
    return {
        "fortran": np.asfortranarray, "list": np.ndarray.tolist, "matrix": np.matrix, "dict": lambda X: {"X": X},
        "frame": lambda X: pd.DataFrame(X, columns=[f"x{j}" for j in range(columns)], copy=True),
        "frame of one name": lambda X: pd.DataFrame(X, columns=["x"] * columns),
        "frame of strings": lambda X: pd.DataFrame(X.astype(str)),
        "frame of categories": lambda X: pd.DataFrame(X.astype(str)).astype("category"),
        "frame with gaps": lambda X: pd.DataFrame(X).convert_dtypes(),
        "byte-swapped": lambda X: X.astype(X.dtype.newbyteorder()),
        "masked": lambda X: np.ma.masked_array(X, np.arange(X.size).reshape(X.shape) % 5 == 1),
        "object": lambda X: X.astype(object),
        "object of lists": lambda X: object_of_lists(rows, columns),
        "strings": lambda X: np.full(X.shape, "one"), "numbers as strings": lambda X: X.astype(str),
        "one dimension": np.ravel, "three dimensions": lambda X: X[:, :, None], "scalar": lambda X: 1.0,
        "None": lambda X: None, "text": lambda X: "no_validation",
        "ragged": lambda X: [[1.0] * (i + 1) for i in range(rows)],
        "generator": lambda X: (row for row in X),
        "structured": lambda X: np.zeros(rows, [("a", "f8"), ("b", "f8")]),
        "huge integers": lambda X: [[10**400] * columns for _ in range(rows)],
    }.get(form, lambda X: X)(X)  # fmt: skip


def object_of_lists(rows: int, columns: int) -> np.ndarray:
    X = np.empty((rows, columns), object)
    X[...] = None
    for i in range(rows):
        for j in range(min(columns, 3)):
            X[i, j] = [1.0]
    return X


def laid_out(form: str, X: np.ndarray) -> np.ndarray:
    """X in memory that is not simply C order."""
    if form == "reversed":
        return X[::-1, ::-1].copy()[::-1, ::-1]
    if form == "strided":
        return np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    if form == "broadcast":
        return np.broadcast_to(X[:1] if len(X) else X, X.shape)
    if form == "unaligned":
        raw = np.zeros(X.nbytes + 1, np.uint8)
        out = raw[1:].view(X.dtype).reshape(X.shape) if X.size else X
        out[...] = X
        return out
    if form == "memmap" and X.size:
        file = tempfile.TemporaryFile()  # noqa: SIM115  (the array keeps it)
        file.write(X.tobytes())
        file.flush()
        return np.memmap(file, X.dtype, "r", shape=X.shape)
    X.flags.writeable = False
    return X


def make_sparse(form: str, X: np.ndarray, seed: int):
    """X as a sparse matrix, whole or with something broken."""
    kind, _, change = form.partition(" ")
    if X.dtype.kind not in "biuf" or X.dtype == np.float16:
        X = np.nan_to_num(X.astype(np.complex128).real) if X.dtype.kind == "c" else np.zeros(X.shape)
    thin = np.where(np.random.default_rng(seed + 1).random(X.shape) < 0.5, X, X.dtype.type(0))
    if change == "array":
        return sp.csr_array(thin)
    S = getattr(sp, f"{kind}_matrix")(thin)
    if change and S.nnz:
        {"csr": break_compressed, "csc": break_compressed, "bsr": break_compressed, "coo": break_coo,
         "lil": break_lil, "dia": break_dia}[kind](S, change)  # fmt: skip
    return S


def break_compressed(S, change: str) -> None:
    """The index arrays of CSR, CSC or BSR changed in place."""
    most = 10**6 if change == "index too large" else -1
    if change.startswith("index"):
        S.indices[len(S.indices) // 2] = most
    elif change == "indptr decreases":
        S.indptr[len(S.indptr) // 2] = S.indptr[-1] + 5
    elif change == "indptr past the end":
        S.indptr[-1] += 1000
    elif change == "indptr from 1":
        S.indptr[0] = 1
    elif change == "indptr short":
        S.indptr = S.indptr[:-1]
    elif change == "data short":
        S.data = S.data[:-1]
    elif change == "indices short":
        S.indices = S.indices[:-1]
    elif change == "indices in columns":
        S.indices = S.indices[:, None]
    elif change == "indices of floats":
        S.indices = S.indices.astype(float)
    elif change == "of objects":
        S.data = S.data.astype(object)
    else:
        rearrange(S, change)


def rearrange(S, change: str) -> None:
    """What is unusual in CSR, but right."""
    if change == "duplicates":
        S.indices[:] = np.repeat(S.indices[S.indptr[:-1].clip(max=len(S.indices) - 1)], np.diff(S.indptr))
    elif change == "unsorted":
        for at, end in zip(S.indptr, S.indptr[1:]):
            S.indices[at:end] = S.indices[at:end][::-1].copy()
        S.has_sorted_indices = False
    elif change == "int64":
        S.indices, S.indptr = S.indices.astype(np.int64), S.indptr.astype(np.int64)
    elif change == "spare room":
        S.indices, S.data = (
            np.append(S.indices, [-5, 10**6]).astype(S.indices.dtype),
            np.append(S.data, S.data[:1].repeat(2)),
        )
    elif change == "zeros stored":
        S.data[::2] = 0


def break_coo(S, change: str) -> None:
    S.row[0] = 10**7 if change == "index too large" else -(10**7)


def break_lil(S, change: str) -> None:
    row = max(range(S.shape[0]), key=lambda i: len(S.rows[i]))
    if change == "index too large":
        S.rows[row][-1] = 10**6
    elif change == "rows short":
        S.rows = S.rows[:-1]
    else:
        S.data[row] = S.data[row][:-1]


def break_dia(S, change: str) -> None:
    S.offsets = S.offsets[:-1]


def labels(kind: str, n: int, columns: int = 3) -> np.ndarray:
    """The values of y: every third row is of the first class."""
    code = np.arange(n) % 3 > 0
    indicator = (np.arange(n)[:, None] + np.arange(columns)) % 3 % 2
    reals = np.linspace(-1, 1, n)
    return {
        "strings": lambda: np.array(["no", "yes"])[code.astype(int)], "bools": lambda: code,
        "-1 and 1": lambda: 2 * code - 1, "indicator": lambda: indicator, "floats": lambda: code.astype(float),
        "objects": lambda: np.array(["no", "yes"], object)[code.astype(int)],
        "mixed objects": lambda: np.array(["no", 1], object)[code.astype(int)],
        "three classes": lambda: np.arange(n) % 3, "one class": lambda: np.ones(n, int), "real numbers": lambda: reals,
        "one NaN": lambda: np.where(np.arange(n) == 0, np.nan, code),
        "one infinity": lambda: np.where(np.arange(n) == 0, np.inf, code),
        "all NaN": lambda: np.full(n, np.nan),
        "None among them": lambda: np.array([None, "yes"], object)[code.astype(int)],
        "bytes": lambda: np.array([b"no", b"yes"])[code.astype(int)],
        "dates": lambda: np.array(["2000-01-01", "2001-01-01"], "M8[D]")[code.astype(int)],
        "complex": lambda: code + 0j, "indicator of 2": lambda: 2 * indicator,
        "indicator of NaN": lambda: np.where(indicator == 1, np.nan, 0.0),
        "indicator of reals": lambda: indicator + 0.5,
        "huge integers": lambda: np.array([2**62, 10**30], object)[code.astype(int)],
        "lists": lambda: np.array([[0], None] * n, object)[:n], "empty strings": lambda: np.array(["",
        "b"])[code.astype(int)],
    }.get(kind, lambda: code.astype(int))()  # fmt: skip


def make_target(target: Target, rows: int):
    """Y for so many rows."""
    y = labels(target.labels, max(0, rows + target.extra))
    return {
        "list": lambda: y.tolist(), "series": lambda: pd.Series(list(y)) if y.ndim > 1 else pd.Series(y),
        "column": lambda: y.reshape(len(y), max(1, y.size // max(1, len(y))))[:, :1],
        "two columns": lambda: np.column_stack([y, y]),
        "three dimensions": lambda: y[..., None, None], "None": lambda: None, "scalar": lambda: 1,
        "text": lambda: "no_validation", "csr": lambda: sparse_target(y, ""), "coo": lambda: sparse_target(y, "coo"),
        "csr index too large": lambda: sparse_target(y, "index too large"),
        "csr indptr decreases": lambda: sparse_target(y, "indptr decreases"),
        "masked": lambda: np.ma.masked_array(y, np.arange(y.size).reshape(y.shape) % 4 == 1),
        "byte-swapped": lambda: y.astype(y.dtype.newbyteorder()), "strided": lambda: np.repeat(y, 2, axis=0)[::2],
        "read-only": lambda: read_only(y), "ragged": lambda: [[1], *y.tolist()], "dict": lambda: {"y": y},
    }.get(target.form, lambda: y)()  # fmt: skip


def sparse_target(y: np.ndarray, change: str):
    if y.dtype.kind not in "biuf" or y.size == 0:
        y = np.ones((max(1, len(y)), 2))
    S = sp.csr_matrix(y.reshape(len(y), -1))
    if change == "coo":
        return S.tocoo()
    if change and S.nnz:
        break_compressed(S, change)
    return S


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def make_weight(weight: Weight, rows: int):
    """sample_weight for so many rows, or None."""
    if weight.form == "None":
        return None
    n = max(0, rows + weight.extra)
    w = np.random.default_rng(n).random(n) + 0.1
    values = {
        "ones": 1.0, "all zero": 0.0, "huge": 1e300, "largest": 1.7e308, "subnormal": 5e-324,
        "subnormal of float32": 1e-42,
        "all NaN": np.nan,
    }  # fmt: skip
    single = {"one zero": 0.0, "negative": -1.0, "one NaN": np.nan, "one infinity": np.inf}
    if weight.values in values:
        w[:] = values[weight.values]
    elif weight.values in single:
        w[:1] = single[weight.values]
    elif weight.values == "mostly zeros":
        w[n // 4 :] = 0
    elif weight.values == "one row alone":
        w[1:] = 0
    elif weight.values == "mixed scales":
        w *= 10.0 ** np.linspace(-300, 300, n)
    with np.errstate(all="ignore"):
        return weight_form(weight.form, w)


def weight_form(form: str, w: np.ndarray):
    return {
        "list": w.tolist, "float32": lambda: w.astype(np.float32), "float16": lambda: w.astype(np.float16),
        "longdouble": lambda: w.astype(np.longdouble), "integers": lambda: np.nan_to_num(w * 10).clip(-9,
        9).astype(int),
        "column": lambda: w[:, None], "scalar": lambda: w[:1].sum(), "text": lambda: "balanced",
        "strings": lambda: np.full(len(w), "one"), "object": lambda: w.astype(object),
        "masked": lambda: np.ma.masked_array(w, np.arange(len(w)) % 4 == 1), "strided": lambda: np.repeat(w, 2)[::2],
        "byte-swapped": lambda: w.astype(w.dtype.newbyteorder()), "csr": lambda: sp.csr_matrix(w[:, None]),
        "complex": lambda: w + 1j, "bool": lambda: w > 0.5, "dict": lambda: {"w": w},
    }.get(form, lambda: w)()  # fmt: skip


PLAIN_JUNK = {
    "None": None, "text": "junk", "minus one": -1, "huge integer": 10**30, "NaN": float("nan"),
    "infinity": float("inf"),
    "empty list": [], "empty array": np.empty(0), "object": object(), "zero": 0, "a third": 1 / 3, "dict": {},
}  # fmt: skip
CHANGES = {
    "shorter": lambda a: a[:-1], "longer": lambda a: np.append(a, a), "transposed": lambda a: a.T,
    "as lists": lambda a: a.tolist(), "as float16": lambda a: a.astype(np.float16),
    "as complex": lambda a: a.astype(complex), "as objects": lambda a: a.astype(object),
    "as strings": lambda a: a.astype(str), "as integers": lambda a: a.astype(np.int64),
    "of NaN": lambda a: np.full(a.shape, np.nan), "one NaN": lambda a: with_a_nan(a),
    "of infinity": lambda a: np.full(a.shape, -np.inf), "not contiguous": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()), "one more dimension": lambda a: a[None],
    "read-only": lambda a: read_only(a.copy()), "negated": lambda a: -a, "huge values": lambda a: a * 1e300,
    "reversed": lambda a: a[::-1],
}  # fmt: skip
JUNK_KINDS = {*PLAIN_JUNK, *CHANGES}


def junk(kind: str, value):
    """What an attribute is set to; for those that are lists of arrays, the change is made in the first."""
    if kind in PLAIN_JUNK:
        return PLAIN_JUNK[kind]
    if isinstance(value, list) and kind in ("shorter", "longer"):
        return value[:-1] if kind == "shorter" else [*value, *value[:1]]
    if isinstance(value, list) and value:
        return [junk(kind, value[0]), *value[1:]]
    try:
        with np.errstate(all="ignore"):
            return CHANGES[kind](np.asarray(value))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def with_a_nan(a: np.ndarray) -> np.ndarray:
    a = a.astype(float)
    a.flat[:1] = np.nan
    return a
