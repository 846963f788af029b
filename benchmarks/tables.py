"""Tables with a target of 0 and 1: those of a folder, and scikit-learn's own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import StratifiedShuffleSplit

SUFFIX = ".csv.gz"


@dataclass(frozen=True)
class Table:
    """Features, float64 or of pandas' dtype for categories, and a target of 0 and 1."""

    name: str
    X: pd.DataFrame
    y: np.ndarray

    def split(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on, three quarters, and rows to test on, with as many of each class, both in random order."""
        splitter = StratifiedShuffleSplit(n_splits=1, test_size=0.25, random_state=seed)
        return next(splitter.split(self.X, self.y))


def breast_cancer() -> tuple[pd.DataFrame, np.ndarray]:
    return load_breast_cancer(return_X_y=True, as_frame=True)


def diabetes() -> tuple[pd.DataFrame, np.ndarray]:
    """Of the disease's progress, whether it is above its median."""
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    return X, (y > y.median()).to_numpy()


# The others that scikit-learn brings are pixels, have some hundred rows without a doubtful one, or both.
BUNDLED = {"breast_cancer": breast_cancer, "diabetes": diabetes}


def table_names(folder: Path | None) -> list[str]:
    """What can be read, sorted."""
    found = folder.glob(f"*{SUFFIX}") if folder else ()
    return sorted({*BUNDLED, *(path.name.removesuffix(SUFFIX) for path in found)})


def half_of(names: Iterable[str], half: str | None) -> list[str]:
    """The names at places 0, 2, 4, ... of their sorted list for "first", at the others for "second", all for None."""
    names = sorted(names)
    return {"first": names[::2], "second": names[1::2], None: names}[half]


def read_table(name: str, folder: Path | None) -> Table:
    """Of the folder before scikit-learn's."""
    path = folder / f"{name}{SUFFIX}" if folder else None
    X, y = read_csv(path) if path and path.exists() else BUNDLED[name]()
    return Table(name, typed(X), np.asarray(y, dtype=np.int64))


def read_csv(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """A header, the last column `target`, 0 or 1; what is missing is empty."""
    X = pd.read_csv(path, keep_default_na=False, na_values=[""], low_memory=False)
    if X.columns[-1] != "target" or not X["target"].isin([0, 1]).all():
        raise ValueError(f"{path}: the last column has to be `target`, of 0 and 1")
    return X, X.pop("target").to_numpy()


def typed(X: pd.DataFrame) -> pd.DataFrame:
    """Numbers as float64, all else as categories; the columns numbered, as some libraries refuse some names."""
    columns = [number_or_category(X[column]) for column in X.columns]
    return pd.concat(columns, axis=1, keys=[f"x{n}" for n in range(len(columns))])


def number_or_category(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column):
        return column.astype(np.float64)
    return column.astype(object).map(str, na_action="ignore").astype("category")


def categorical(X: pd.DataFrame) -> Sequence[str]:
    return list(X.select_dtypes("category").columns)
