"""Memory that fit and prediction take beside the caller's data, measured in processes of their own."""

import os
import subprocess
import sys

import numpy as np
import pytest

# What both kinds of processes below begin with. VmHWM is the most memory that was resident since it was last reset.
# ru_maxrss would not do: a process inherits it from the one that started it. Without /proc, tracemalloc counts what
# Python and NumPy allocate, and all memory that the kernels work in is NumPy's.
PRELUDE = """
import sys, tracemalloc, warnings
from pathlib import Path
import numpy as np
import scipy.sparse as sp
from skbce import BCEMLPClassifier

warnings.simplefilter("ignore")
STATUS = Path("/proc/self/status")

def status(key):
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith(key + ":")]
    return int(line.split()[1]) * 1024

def peak_bytes(call):
    if not STATUS.exists():
        tracemalloc.start()
        call()
        return tracemalloc.get_traced_memory()[1]
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is what is held now
    except OSError:
        pass  # it stays at an earlier peak, and the result may be too large, not too small
    before = status("VmRSS")
    result = call()
    return status("VmHWM") - before
"""


def printed(code, *arguments):
    """What code prints; memory that is freed goes back to the system, so that no array hides in what another left."""
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    result = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stderr}"
    return result.stdout.strip()


# The table is written block by block: nothing of its size was held and freed before the measurement.
MEASUREMENT = """
kind, method, weighted, parameters, n_rows = *sys.argv[1:3], *map(eval, sys.argv[3:])
block = np.random.default_rng(0).standard_normal((10_000, 50)).astype("float64" if kind == "float64" else "float32")

def table(n_rows):
    if kind == "csr":
        indptr = np.arange(0, 10 * n_rows + 1, 10, dtype=np.int32)
        data, indices = np.empty(10 * n_rows, np.float32), np.empty(10 * n_rows, np.int32)
        data.reshape(-1, len(block), 10)[...] = block[:, ::5]
        indices.reshape(-1, 10)[...] = np.arange(0, 50, 5)
        X = sp.csr_matrix((data, indices, indptr), shape=(n_rows, 50), copy=False)
    else:
        X = np.empty((n_rows, 50), block.dtype)
        X.reshape(-1, *block.shape)[...] = block
    y = np.tile((block[:, 0] > 0).astype(np.int64), n_rows // len(block))
    weight = np.ones(n_rows, block.dtype) if weighted else None
    return X, y, weight

def fitted(X, y, weight):
    return BCEMLPClassifier((64, 64), **{"max_iter": 1, "n_threads": 2, **parameters}, random_state=0).fit(X, y, weight)

small = table(10_000)
clf = fitted(*small)  # imports and caches that the first call fills
clf.predict_proba(small[0]), clf.predict(small[0])
X, y, weight = table(n_rows)
print(peak_bytes(lambda: fitted(X, y, weight) if method == "fit" else getattr(clf, method)(X)))
"""

N_ROWS = 1_000_000
MB = 10**6


def peak(method="fit", kind="float32", weighted=False, **parameters):
    """Bytes that a call on 1,000,000 rows of 50 features took at once, beside its arguments."""
    return int(printed(MEASUREMENT, kind, method, weighted, parameters, N_ROWS))


# The rows' numbers are 8 MB and Y is 1 MB; the rest is left to scikit-learn's checks, which sort a copy of y (8 MB) in
# some versions. One byte for each element of X would be 50 MB more, and a copy of X is 80 MB (CSR) to 400 MB.
FITS = {
    "float32": ({}, 48),
    "float32, weights": ({"weighted": True}, 48),
    "float32, lbfgs": ({"solver": "lbfgs", "max_iter": 2}, 48),
    "float64": ({"kind": "float64"}, 48),
    # The kernels take row starts as int64: 8 MB.
    "csr": ({"kind": "csr"}, 56),
    # scikit-learn's stratified split holds all rows' numbers as Python objects in lists, 40 MB, and up to 6 arrays of
    # 8 MB; more are its own checks and the allocator's rounding of a million objects.
    "float32, early stopping": ({"early_stopping": True}, 112),
}


@pytest.mark.parametrize(("case", "limit"), FITS.values(), ids=FITS)
def test_fit_takes_a_few_numbers_a_row_beside_a_million_rows(case, limit):
    assert peak(**case) <= limit * MB


# Beside the probabilities, logits take 4 or 8 MB, and scikit-learn's checks at most one such array in some versions.
@pytest.mark.parametrize(("kind", "output"), [("float32", 8), ("float64", 16), ("csr", 8)])
def test_predict_proba_takes_little_beside_the_probabilities_of_a_million_rows(kind, output):
    # No less than the output: a measurement that saw nothing would not do.
    assert output * MB <= peak("predict_proba", kind) <= (output + 32) * MB


MAPPED = """
path, n_rows, allowed = sys.argv[1], *map(int, sys.argv[2:])
X = np.memmap(path, np.float32, mode="r", shape=(n_rows, 50))
y = np.arange(n_rows) % 100 < 50
# On one thread, whose BLAS buffer exists once a small fit has run: OpenBLAS waits for ever for one that it cannot have.
clf = BCEMLPClassifier((16,), max_iter=1, batch_size=1000, n_threads=1, random_state=0)
clf.fit(X[:10_000], y[:10_000]).predict(X[:10_000])

def fit_and_predict():
    clf.fit(X, y)
    accuracy = np.mean(clf.predict(X) == y)
    assert accuracy > 0.5, accuracy
    return accuracy

if sys.platform == "linux":
    import resource
    # Counts memory of the process's own, and not the file's pages.
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + allowed, resource.RLIM_INFINITY))
    try:
        np.ones(X.shape, np.uint8)  # a byte for each element
    except MemoryError:
        print("limited")
    fit_and_predict()
else:
    print("limited" if peak_bytes(fit_and_predict) < allowed else "not limited")
print("fitted")
"""


def test_read_only_file_larger_than_the_memory_allowed_is_trained_on_in_place(tmp_path):
    path, n_rows = tmp_path / "table.bin", 2_000_000
    written = np.memmap(path, np.float32, mode="w+", shape=(n_rows, 50))
    # Most of the file is a hole of zeros; every 50th row has its label in it.
    written[::50] = np.random.default_rng(0).standard_normal((n_rows // 50, 50))
    written[::100, 0], written[50::100, 0] = 3, -3
    written.flush()
    del written
    before = path.stat()
    # Row numbers, labels, Y and a prediction have 8 + 1 + 1 + 1 bytes a row, of a table with 200; a byte for each of
    # its elements would be 100 MB.
    assert printed(MAPPED, path, n_rows, 80 * MB).split() == ["limited", "fitted"]
    # A write through the map would have ended the process, and one to the file shows here.
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    path.unlink()  # pytest keeps the directories of its last runs
