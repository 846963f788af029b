"""How honest oof_score_ is: out-of-fold log loss beside that of the members, and of their mean, on rows left out."""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from measures import scores
from report import positive, row
from tables import Table, read_table, table_names

from skbce import make_tabular_classifier


def log_loss(y: np.ndarray, P: np.ndarray) -> float:
    return scores(y, P[:, 1])["log_loss"]


def losses(table: Table, split: int, n_rows: int, threads: int) -> dict[str, float]:
    """Of `make_tabular_classifier` without a linear model, fitted on so many rows of the split's."""
    train, test = table.split(split)
    train = train[:n_rows]
    y_train, y_test = table.y[train], table.y[test]
    model = make_tabular_classifier(linear_share=0.0, random_state=split, n_threads=threads)
    model.fit(table.X.iloc[train], y_train)
    ensemble = model["ensemble"]
    X_train, X_test = (model["table"].transform(table.X.iloc[rows]) for rows in (train, test))
    stopped, of_members = np.zeros((len(train), 2)), []
    for k, (member, held_out) in enumerate(zip(ensemble.estimators_, ensemble.held_out_, strict=True)):
        encoder = ensemble.encoders_[k % len(ensemble.encoders_)]
        stopped[held_out] += member.predict_proba(encoder.transform(X_train[held_out]))
        of_members.append(log_loss(y_test, member.predict_proba(encoder.transform(X_test))))
    return {
        "out of fold": ensemble.oof_score_["log_loss"],
        # Where a class has fewer rows than there are members, some rows have several judges.
        "out of fold, where stopped": log_loss(y_train, stopped / stopped.sum(axis=1, keepdims=True)),
        "a member, on other rows": statistics.mean(of_members),
        "the ensemble, on other rows": log_loss(y_test, model.predict_proba(table.X.iloc[test])),
    }


def percent(ratios: Sequence[float]) -> str:
    """The mean of the ratios' logarithms and its standard error."""
    logs = [100 * math.log(ratio) for ratio in ratios]
    error = statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.nan
    return f"{statistics.mean(logs):+.1f} +- {error:.1f} %"


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of tables, as for accuracy.py")
    parser.add_argument("--tables", help="names, with commas between them; default: all")
    parser.add_argument("--rows", type=positive, nargs="+", default=[300, 1000], help="to fit; default: 300 1000")
    parser.add_argument("--splits", type=positive, default=4, help="default: 4")
    parser.add_argument("--threads", type=positive, default=2, help="default: 2")
    options = parser.parse_args(args)
    names = options.tables.split(",") if options.tables else table_names(options.folder)
    tables = [read_table(name, options.folder) for name in names]
    print(f"{len(tables)} tables, {options.splits} splits each; means of logarithms of ratios of log loss, +- errors\n")
    compared = (
        ("out of fold", "a member, on other rows"),
        ("out of fold, where stopped", "a member, on other rows"),
        ("out of fold", "the ensemble, on other rows"),
        ("out of fold, where stopped", "the ensemble, on other rows"),
    )
    print(row(["rows", *(" / ".join(pair) for pair in compared)]))
    print(row(["---:"] * (1 + len(compared))))
    for n_rows in options.rows:
        found = pd.DataFrame(
            losses(table, split, n_rows, options.threads) for table in tables for split in range(options.splits)
        )
        print(row([n_rows, *(percent(found[one] / found[other]) for one, other in compared)]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
