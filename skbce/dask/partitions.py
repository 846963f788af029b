"""A table in partitions: dask collections to checked blocks on the workers, and what the client has to know of them."""

from dataclasses import dataclass, field
from typing import Any

import dask
import dask.array as da
import numpy as np
import scipy.sparse as sp

from skbce._class_weight import row_weights
from skbce._inputs import converted_weight, encoded, kernel_table, validated, validation_targets
from skbce._training import Sample
from skbce.classifier import BCEMLPClassifier


@dataclass
class Checked:
    """A partition as arrays, its labels as they came."""

    X: np.ndarray | sp.csr_matrix
    y: np.ndarray
    weight: np.ndarray | None

    def __sizeof__(self) -> int:
        return nbytes(self.X) + nbytes(self.y) + nbytes(self.weight)  # Dask asks, to know what memory is taken


@dataclass
class Facts:
    """What the client knows of a partition; of one without rows, that there are none."""

    n_rows: int = 0
    n_features: int = 0
    feature_names: tuple[str, ...] | None = None
    dtype: Any = None
    n_columns: int = 1  # of y
    labels: np.ndarray | None = None  # of a y of one column
    counts: np.ndarray | None = None  # of the labels, by weight; else of 0 and 1 in each column
    weight: float = 0.0
    weightless: bool = False  # every row weighs 0


@dataclass
class Block:
    """A partition as the kernels take it."""

    X: np.ndarray | sp.csr_matrix | None
    Y: np.ndarray
    weight: np.ndarray | None
    _kept: dict[str, Any] = field(default_factory=dict)

    def __sizeof__(self) -> int:
        return nbytes(self.X) + nbytes(self.Y) + nbytes(self.weight)

    def __getstate__(self):
        return {**vars(self), "_kept": {}}

    @property
    def n_rows(self) -> int:
        return len(self.Y)

    @property
    def sparse(self) -> bool:
        return sp.issparse(self.X)

    @property
    def total(self) -> float:
        """Its rows, or their weights summed."""
        return float(self.n_rows if self.weight is None else self.weight.sum(dtype=np.float64))

    def sample(self, dtype, smoothing: float = 0.0) -> Sample:
        """Its rows for kernels that compute in dtype."""
        if "table" not in self._kept:
            self._kept["table"] = kernel_table(self.X, dtype)  # which looks through X
        return Sample(self._kept["table"], self.Y, self.weight, smoothing=smoothing)

    def order(self, seeds: tuple[int, ...]) -> np.ndarray:
        """The rows' order that follows from the seeds; the last one is kept, for the rounds of an epoch share it."""
        known, order = self._kept.get("order", (None, None))
        if known != seeds:
            order = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seeds))).permutation(self.n_rows)
            self._kept["order"] = seeds, order
        return order


def nbytes(array) -> int:
    """Bytes of an array, dense or CSR, or of none."""
    if array is None:
        return 0
    return array.nbytes if not sp.issparse(array) else array.data.nbytes + array.indices.nbytes + array.indptr.nbytes


def is_frame(X) -> bool:
    """Whether it is a dask dataframe or series."""
    return dask.is_dask_collection(X) and hasattr(X, "divisions")


def is_partitioned(X) -> bool:
    return isinstance(X, da.Array) or is_frame(X)


def parts_of(X: Any, y: Any, sample_weight: Any, suffix: str = "") -> list[tuple[Any, Any, Any]]:
    """The partitions of X, y and sample_weight side by side, as delayed objects; checked as far as their shapes go.

    Raises
    ------
    ValueError
        Where one is no dask collection, has several blocks a row, or is cut otherwise than X; `suffix` ends the names.
    """
    names = [f"{name}{suffix}" for name in ("X", "y", "sample_weight")]
    X_parts = _delayed_of(names[0], X)
    columns = [X_parts]
    for name, part in zip(names[1:], (y, sample_weight), strict=True):
        if part is None:
            columns.append([None] * len(X_parts))
            continue
        parts = _delayed_of(name, part)
        _check_aligned(names[0], X, len(X_parts), name, part, len(parts))
        columns.append(parts)
    return list(zip(*columns, strict=True))


def _delayed_of(name: str, X: Any) -> list[Any]:
    if is_frame(X):
        return list(X.to_delayed())
    if not isinstance(X, da.Array):
        raise ValueError(
            f"{name} must be a dask array or dataframe, got {type(X).__name__}. BCEMLPClassifier fits what is in "
            "memory; dask.array.from_array cuts it into partitions."
        )
    if X.ndim not in (1, 2) or (name.startswith("X") and X.ndim != 2):
        raise ValueError(
            f"{name} must have {'2 dimensions' if name.startswith('X') else '1 or 2 dimensions'}, got {X.ndim}."
        )
    if X.ndim == 2 and X.numblocks[1] > 1:
        raise ValueError(
            f"{name} is cut between its columns, into {X.numblocks[1]} blocks, and a partition has whole rows: "
            f"{name}.rechunk({{1: -1}})."
        )
    return list(X.to_delayed().ravel())


def _check_aligned(X_name: str, X, n_X: int, name: str, y, n_y: int) -> None:
    """Before any work: the same number of partitions, of the same rows as far as that is known."""
    advice = f"Cut {name} as {X_name}: {name}.rechunk or {name}.repartition."
    if n_y != n_X:
        raise ValueError(f"{X_name} has {n_X} partitions, and {name} has {n_y}. {advice}")
    if is_frame(X) and is_frame(y):
        if X.known_divisions and y.known_divisions and X.divisions != y.divisions:
            raise ValueError(f"{X_name} and {name} have different divisions, {X.divisions} and {y.divisions}. {advice}")
    elif isinstance(X, da.Array) and isinstance(y, da.Array):
        rows, of_y = np.array(X.chunks[0], float), np.array(y.chunks[0], float)
        for k in np.flatnonzero((rows != of_y) & np.isfinite(rows) & np.isfinite(of_y))[:1]:
            raise ValueError(f"Partition {k} has {rows[k]:g} rows in {X_name} and {of_y[k]:g} in {name}. {advice}")


def checked(number: int, names: str, X: Any, y: Any, sample_weight: Any, dtype) -> tuple[Checked | None, Facts]:
    """On a worker: one partition as arrays, and the facts about it.

    Raises
    ------
    ValueError
        As `fit` of BCEMLPClassifier, with the partition's number; `names` says which table it is of.
    """
    n_rows = [len_of(part) for part in (X, y, sample_weight) if part is not None]
    if len(set(n_rows)) > 1:
        raise ValueError(f"Partition {number} of {names} has {', '.join(map(str, n_rows))} rows.")
    if n_rows[0] == 0:
        return None, Facts()
    weightless = sample_weight is not None and not np.any(np.asarray(sample_weight))
    scratch = BCEMLPClassifier()
    try:
        X, y, weight = validated(
            scratch, X, _column(y), None if weightless else _column(sample_weight), dtype, reset=True
        )
    except ValueError as error:
        raise ValueError(f"Partition {number} of {names}: {error}") from error
    if weightless:
        weight = np.zeros(n_rows[0])
    names_of_X = getattr(scratch, "feature_names_in_", None)
    facts = Facts(
        n_rows=n_rows[0],
        n_features=X.shape[1],
        feature_names=None if names_of_X is None else tuple(names_of_X),
        dtype=X.dtype,
        weight=float(n_rows[0] if weight is None else weight.sum()),
        weightless=weightless,
    )
    y = y.toarray() if sp.issparse(y) else y
    _count_labels(facts, number, y, weight)
    return Checked(X.tocsr() if sp.issparse(X) else X, y, weight), facts


def len_of(part) -> int:
    return part.shape[0] if hasattr(part, "shape") else len(part)


def _column(part):
    """A frame of one column as that column."""
    return part.iloc[:, 0] if getattr(part, "ndim", 1) == 2 and part.shape[1] == 1 and hasattr(part, "iloc") else part


def _count_labels(facts: Facts, number: int, y: np.ndarray, weight: np.ndarray | None) -> None:
    if y.ndim == 1:
        facts.labels, inverse = np.unique(y, return_inverse=True)
        facts.counts = np.bincount(inverse, weights=weight, minlength=len(facts.labels))
        return
    facts.n_columns = y.shape[1]
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"Partition {number}: y as an indicator matrix must hold 0 and 1, got {np.unique(y)}.")
    facts.counts = np.array([np.bincount(column.astype(np.int64), weights=weight, minlength=2) for column in y.T])


@dataclass
class Table:
    """What the client knows of all partitions together."""

    facts: list[Facts]  # of those with rows
    numbers: list[int]  # and which they are
    names: str

    def __post_init__(self):
        if not self.facts:
            raise ValueError(f"{self.names} has no rows in any partition.")
        first, numbers = self.facts[0], self.numbers
        for name, what in _ALIKE.items():
            for number, facts in zip(numbers, self.facts, strict=True):
                if getattr(facts, name) != getattr(first, name):
                    raise ValueError(
                        f"Partition {number} of {self.names} has {what} {getattr(facts, name)}, and partition "
                        f"{numbers[0]} has {getattr(first, name)}."
                    )

    @property
    def first(self) -> Facts:
        return self.facts[0]

    @property
    def n_rows(self) -> int:
        return sum(facts.n_rows for facts in self.facts)

    @property
    def dtype(self) -> np.dtype:
        """The precision that all of X together would have."""
        return np.result_type(*(facts.dtype for facts in self.facts))

    @property
    def is_multilabel(self) -> bool:
        return self.first.n_columns > 1

    def check_weights(self) -> None:
        if all(facts.weightless for facts in self.facts):
            raise ValueError(f"sample_weight of {self.names} is zero for every row; at least one must be positive.")

    def labels(self, estimator, continues: bool) -> dict[str, Any]:
        """The attributes that describe the labels, of all partitions together."""
        if self.is_multilabel:
            y = np.zeros((2, self.first.n_columns), np.int64)
            y[1] = 1
            return encoded(estimator, y, continues, incremental=False)[1]
        kinds = {facts.labels.dtype.kind in "OUS" for facts in self.facts}
        if len(kinds) > 1:
            raise ValueError("y has texts in some partitions, and numbers in others.")
        union = np.unique(np.concatenate([facts.labels for facts in self.facts]))
        if len(union) > 2:
            raise ValueError(
                f"Only binary classification is supported, and y has {len(union)} labels: {self._where(union)}."
            )
        return encoded(estimator, union, continues, incremental=False)[1]

    def _where(self, union: np.ndarray) -> str:
        """Each label, and the partition that has it where that is one alone."""
        words = []
        for label in union[:10].tolist():
            having = [k for k, facts in zip(self.numbers, self.facts, strict=True) if label in facts.labels.tolist()]
            words.append(
                f"{label!r} in {f'partition {having[0]} alone' if len(having) == 1 else f'{len(having)} partitions'}"
            )
        return ", ".join(words) + (", ..." if len(union) > 10 else "")

    def balanced(self, labels: dict[str, Any]) -> Any:
        """class_weight='balanced' as weights: n_rows / (n_classes rows of the class), rows counted by weight."""
        counts = self.counts(labels)
        factors = counts.sum(axis=1, keepdims=True) / (
            np.count_nonzero(counts, axis=1)[:, None] * np.where(counts > 0, counts, 1)
        )
        if self.is_multilabel:
            return [dict(enumerate(row)) for row in factors.tolist()]
        return dict(zip(labels["classes_"].tolist(), factors[0].tolist(), strict=True))

    def counts(self, labels: dict[str, Any]) -> np.ndarray:
        """Rows of 0 and 1 in each column of Y, by weight."""
        if self.is_multilabel:
            return sum(facts.counts for facts in self.facts)
        counts = np.zeros((1, 2))
        for facts in self.facts:
            counts[0, np.searchsorted(labels["classes_"], facts.labels)] += facts.counts
        return counts


# Facts that all partitions must share, and what they are called.
_ALIKE = {
    "n_features": "a number of columns of X of",
    "feature_names": "as feature names",
    "n_columns": "a number of columns of y of",
}


@dataclass(frozen=True)
class Encoding:
    """How labels become Y and weights, for every partition."""

    labels: dict[str, Any]
    class_weight: Any
    dtype: Any


def block_of(number: int, part: Checked, encoding: Encoding, names: str) -> Block:
    """On a worker: a checked partition, as the kernels take it."""
    labels, multilabel = encoding.labels, encoding.labels["_multilabel"]
    if multilabel:
        Y = np.ascontiguousarray(part.y, dtype=np.uint8)
    else:
        Y = (part.y == labels["classes_"][1]).astype(np.uint8).reshape(-1, 1)
    weight = part.weight
    if encoding.class_weight is not None:
        known = (0, 1) if multilabel else labels["classes_"].tolist()
        weight = row_weights(encoding.class_weight, Y, known, multilabel, weight)
    if weight is not None:
        try:
            weight = converted_weight(weight, encoding.dtype) if weight.any() else weight.astype(encoding.dtype)
        except ValueError as error:
            raise ValueError(f"Partition {number} of {names}: {error}") from error
    return Block(part.X, Y, weight)


def check_validation_labels(table: Table, labels: dict[str, Any], n_outputs: int) -> None:
    """The labels of rows to validate on must be known to training, and both must be there."""
    if table.is_multilabel:
        y = np.zeros((1, table.first.n_columns), np.int64)
    else:
        y = np.unique(np.concatenate([facts.labels for facts in table.facts]))
    validation_targets(y, n_outputs, labels)
