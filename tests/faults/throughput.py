"""Rows a second of threads that predict with one model, and whether their bits are those of one.

OMP_NUM_THREADS=1 python -m tests.faults.throughput
"""

import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from skbce import BCEMLPClassifier

N_CALLS = 640


def main() -> None:
    X = np.random.default_rng(0).standard_normal((2000, 50), dtype=np.float32)
    y = X[:, 0] > X[:, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = BCEMLPClassifier((64, 64), max_iter=2, random_state=0).fit(X, y)
    expected = clf.predict_proba(X)
    for n_threads in (1, 2, 4, 32) * 3:
        with ThreadPoolExecutor(n_threads) as pool:
            started = time.perf_counter()
            results = list(pool.map(lambda _: clf.predict_proba(X), range(N_CALLS)))
            seconds = time.perf_counter() - started
        equal = all(np.array_equal(result, expected) for result in results)
        print(f"{n_threads:2d} threads: {1e-6 * N_CALLS * len(X) / seconds:.2f} million rows/s, bits equal: {equal}")


if __name__ == "__main__":
    main()
