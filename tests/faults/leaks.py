"""Resident memory over many fits, partial fits, predictions and errors.

python -m tests.faults.leaks --fits 10000
"""

import argparse
import contextlib
import gc
import os
import warnings
from pathlib import Path

import numpy as np

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier


def resident_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=10_000)
    options = parser.parse_args()
    X = np.random.default_rng(0).standard_normal((200, 10), dtype=np.float32)
    y = (X[:, 0] > 0).astype(int)
    network = {"hidden_layer_sizes": (32,), "max_iter": 2, "n_threads": 2, "random_state": 0}
    stopped = BCEMLPClassifier(**network, early_stopping=True)
    lbfgs, ensemble = BCEMLPClassifier(**network, solver="lbfgs"), BCEMLPEnsembleClassifier(stopped, 2, random_state=0)
    clf = BCEMLPClassifier(**network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(options.fits + 1):
            clf.fit(X, y).partial_fit(X, y).predict_proba(X)
            with contextlib.suppress(ValueError):
                clf.fit(X, np.ones(len(y)))
            if k % 10 == 0:
                stopped.fit(X, y), lbfgs.fit(X, y)
            if k % 100 == 0:
                ensemble.fit(X, y).predict(X)
            if k % (options.fits // 10) == 0:
                gc.collect()
                print(f"{k:6d} fits: {resident_kb() / 1024:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
