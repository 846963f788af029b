"""How good averaged training is on a table, beside one machine's: log loss and accuracy on rows that are left out."""

import argparse
import statistics
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster
from models import numbers_only
from report import positive, row
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss
from tables import read_table

from skbce import BCEMLPClassifier
from skbce.dask import DaskBCEMLPClassifier

BATCH = 200  # the default


def scores(clf: BCEMLPClassifier, X: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    P = clf.predict_proba(X)[:, 1]
    return log_loss(y, P), accuracy_score(y, P > 0.5)


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="of tables, as for accuracy.py")
    parser.add_argument("--table", default="breast_cancer", help="default: breast_cancer")
    parser.add_argument("--epochs", type=positive, nargs="+", default=[10, 40], help="default: 10 40")
    parser.add_argument("--partitions", type=positive, nargs="+", default=[4, 16], help="default: 4 16")
    parser.add_argument("--splits", type=positive, default=3, help="default: 3")
    options = parser.parse_args(args)
    table = read_table(options.table, options.folder)
    found: dict[tuple, list[tuple[float, float]]] = {}
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", ConvergenceWarning)
        for split in range(options.splits):
            train, test = table.split(split)
            prepare = numbers_only(None)[:-1].fit(table.X.iloc[train])
            X, X_test = (np.ascontiguousarray(prepare.transform(table.X.iloc[rows])) for rows in (train, test))
            y, y_test = table.y[train], table.y[test]
            for epochs in options.epochs:
                parameters = {"max_iter": epochs, "n_iter_no_change": np.inf, "random_state": split}
                alone = BCEMLPClassifier(**parameters).fit(X, y)
                found.setdefault((epochs, "one machine", BATCH, ""), []).append(scores(alone, X_test, y_test))
                for n_parts in options.partitions:
                    rows = -(-len(X) // n_parts)
                    parts = da.from_array(X, chunks=(rows, X.shape[1])), da.from_array(y, chunks=rows)
                    for sync_every, batch_size in ((None, BATCH), (1, BATCH), (None, BATCH // n_parts)):
                        clf = DaskBCEMLPClassifier(**parameters, batch_size=batch_size, sync_every=sync_every)
                        every = "epoch" if sync_every is None else "step"
                        key = (epochs, f"{n_parts} partitions", batch_size, every)
                        found.setdefault(key, []).append(scores(clf.fit(*parts).to_local(), X_test, y_test))
    print(f"{options.table}: {len(table.X)} rows, of which a quarter to test on; {options.splits} splits, defaults\n")
    print(row(["epochs", "trained on", "batch", "averaged every", "log loss", "accuracy"]))
    print(row(["---:", "---", "---:", "---", "---:", "---:"]))
    for what, pairs in found.items():
        print(row([*what, *(f"{statistics.mean(values):.4f}" for values in zip(*pairs, strict=True))]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
