"""Seconds of an L-BFGS evaluation and of an averaged epoch on Dask's workers, one thread each, and bytes they send.

A model of the cost is fitted to what was measured, and carried to more workers and rows.
"""

import argparse
import csv
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import dask.array as da
import joblib
import numpy as np
import scipy.optimize
from distributed import Client, LocalCluster, wait
from report import cpu_model, positive, quartiles, row, significant
from sklearn.exceptions import ConvergenceWarning

import skbce
from skbce.dask import DaskBCEMLPClassifier
from skbce.dask.sums import Blocks

N_FEATURES, HIDDEN, WIDE = 50, (64, 64), (1000, 1000)
N_PARTITIONS = 20

# Few rows a worker, so that what is left of an evaluation is the way there and back.
FEW_ROWS = 64


@dataclass
class Measured:
    """Calls of all workers: evaluations of the cost, or epochs."""

    call: str
    n_workers: int
    n_rows: int
    hidden: tuple[int, ...]
    seconds: list[float] = field(default_factory=list)
    worker_bytes: float = 0.0  # a call, sent by all workers
    other_bytes: float = 0.0  # sent by client and scheduler

    @property
    def n_parameters(self) -> int:
        units = (N_FEATURES, *self.hidden, 1)
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(units))

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def cells(self) -> list[str]:
        expected = self.n_parameters * 8 * self.n_workers
        return [
            self.call,
            str(self.n_workers),
            f"{self.n_rows:,}",
            f"{self.n_parameters:,}",
            quartiles(self.seconds),
            f"{self.worker_bytes:,.0f}",
            f"{self.worker_bytes / expected:.2f}",
            f"{self.other_bytes:,.0f}",
        ]


COLUMNS = ["call", "workers", "rows", "parameters", "seconds", "bytes by workers", "/ (parameters x 8 x workers)"]
COLUMNS += ["bytes by client and scheduler"]


def table(n_rows: int, n_parts: int = N_PARTITIONS) -> tuple[da.Array, da.Array]:
    """X and y, made where their partitions will lie."""
    sizes = tuple(n_rows * (k + 1) // n_parts - n_rows * k // n_parts for k in range(n_parts))
    numbers = da.arange(n_parts, chunks=1)
    both = numbers.map_blocks(
        rows_of,
        sizes=sizes,
        dtype=np.float32,
        chunks=(sizes, (N_FEATURES + 1,)),
        new_axis=1,
        meta=np.empty((0, 0), "f4"),
    )
    return both[:, :N_FEATURES], (both[:, N_FEATURES] > 0).astype(np.uint8)


def rows_of(number: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """On a worker: one partition's X, and in the last column a number whose sign is the label."""
    k = int(number[0])
    rng = np.random.default_rng(k)
    out = rng.standard_normal((sizes[k], N_FEATURES + 1), dtype=np.float32)
    out[:, N_FEATURES] += out[:, 0] * out[:, 1] + out[:, 2]
    return out


def count_writes() -> None:
    """In each process: sum up what its connections send."""
    from distributed.comm.tcp import TCP

    write = TCP.write

    async def counted(self, *args, **kwargs):
        n_bytes = await write(self, *args, **kwargs)
        TCP.n_bytes_written += n_bytes
        return n_bytes

    if not hasattr(TCP, "n_bytes_written"):
        TCP.n_bytes_written, TCP.write = 0, counted


def bytes_written() -> int:
    from distributed.comm.tcp import TCP

    return TCP.n_bytes_written


@contextmanager
def timed(measured: Measured, client: Client) -> Iterator[None]:
    """Note each call of all workers but the first, in which they make their layouts, and the bytes of those noted."""
    original, sent, n_calls = Blocks.sum, [], 0

    def snapshot() -> tuple[int, int]:
        return sum(client.run(bytes_written).values()), bytes_written()

    def noted(self, *args):
        nonlocal n_calls
        started = time.perf_counter()
        result = original(self, *args)
        n_calls += 1
        if n_calls > 1:
            measured.seconds.append(time.perf_counter() - started)
        else:
            sent.append(snapshot())
        return result

    Blocks.sum = noted
    try:
        yield
    finally:
        Blocks.sum = original
    (by_workers, by_others), (of_workers, of_others) = sent[0], snapshot()
    measured.worker_bytes = (of_workers - by_workers) / len(measured.seconds)
    measured.other_bytes = (of_others - by_others) / len(measured.seconds)


def measure(client: Client, X, y, call: str, hidden: tuple[int, ...], n_calls: int) -> Measured:
    n_workers = len(client.nthreads())
    measured = Measured(call, n_workers, X.shape[0], hidden)
    parameters = {"tol": 0.0, "n_iter_no_change": np.inf, "random_state": 0, "client": client}
    if call == "evaluation":
        # One evaluation is to know that the start is finite, and one may find a first step too long.
        clf = DaskBCEMLPClassifier(hidden, solver="lbfgs", max_fun=n_calls, **parameters)
    else:
        clf = DaskBCEMLPClassifier(hidden, solver="adam", max_iter=n_calls + 1, **parameters)
    with timed(measured, client), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(X, y)
    return measured


def measurements(n_workers: int, options: argparse.Namespace) -> Iterator[Measured]:
    """All that is measured on a cluster of its own."""
    limits = {"processes": True, "threads_per_worker": 1, "dashboard_address": ":0", "memory_limit": None}
    with LocalCluster(n_workers=n_workers, **limits) as cluster, Client(cluster) as client:
        count_writes()
        client.run(count_writes)
        few = persisted(client, FEW_ROWS * n_workers, n_workers)
        for hidden in (HIDDEN, WIDE):
            yield measure(client, *few, "evaluation", hidden, 3 * options.rounds)
        if n_workers in options.workers:
            yield measure(client, *persisted(client, options.rows // 100), "evaluation", WIDE, options.rounds)
            X, y = persisted(client, options.rows)
            for call in ("evaluation", "epoch"):
                yield measure(client, X, y, call, HIDDEN, options.rounds)


def persisted(client: Client, *args) -> tuple[da.Array, da.Array]:
    """A table in the workers' memory."""
    X, y = client.persist(list(table(*args)))
    wait([X, y])
    return X, y


@dataclass(frozen=True)
class Model:
    """Seconds of an evaluation: compute rows parameters / workers + latency + (message + byte 8 parameters) workers.

    `compute` has a factor for each number of parameters: the products of a larger network are more efficient.
    """

    compute: dict[int, float]
    latency: float
    message: float
    byte: float

    @classmethod
    def fitted(cls, measured: Sequence[Measured]) -> "Model":
        """By least squares of relative errors, with no factor below 0."""
        networks = sorted({one.n_parameters for one in measured})
        terms = []
        for one in measured:
            work = one.n_rows * one.n_parameters / one.n_workers
            of_networks = [work * (one.n_parameters == n_parameters) for n_parameters in networks]
            terms.append([*of_networks, 1.0, one.n_workers, 8.0 * one.n_parameters * one.n_workers])
        seconds = np.array([one.median for one in measured])
        factors, _ = scipy.optimize.nnls(np.array(terms) / seconds[:, None], np.ones(len(seconds)))
        return cls(dict(zip(networks, factors[:-3].tolist(), strict=True)), *factors[-3:].tolist())

    def parts(self, n_workers: float, n_rows: float, n_parameters: int) -> np.ndarray:
        """Seconds of compute, latency, messages, bytes."""
        compute = self.compute[n_parameters] * n_rows * n_parameters / n_workers
        return np.array([compute, self.latency, self.message * n_workers, self.byte * 8.0 * n_parameters * n_workers])

    def most_workers(self, n_rows: float, n_parameters: int) -> float:
        """From where one more worker makes an evaluation longer."""
        of_one = self.message + 8.0 * n_parameters * self.byte
        return float(np.sqrt(self.compute[n_parameters] * n_rows * n_parameters / of_one)) if of_one > 0 else np.inf


def report(measured: Sequence[Measured], options: argparse.Namespace) -> Iterator[str]:
    yield f"- CPU: {cpu_model()}, {joblib.cpu_count()} cores; {platform.system()}"
    versions = [f"{name} {metadata.version(name)}" for name in ("dask", "distributed", "numpy", "scipy")]
    yield f"- skbce {skbce.__version__}, {', '.join(versions)}, Python {platform.python_version()}"
    yield f"- {N_FEATURES} features, float32, {N_PARTITIONS} partitions, one a worker of few rows; one thread a worker"
    yield f"- medians of {options.rounds} calls, of {3 * options.rounds} where rows are few; in brackets the quartiles"
    yield ""
    yield row(COLUMNS)
    yield row(["---", *["---:"] * (len(COLUMNS) - 1)])
    yield from (row(one.cells()) for one in measured)
    yield ""
    for call in ("evaluation", "epoch"):
        full = {one.n_workers: one for one in measured if one.call == call and one.n_rows == options.rows}
        if len(full) > 1:
            fewest, most = min(full), max(full)
            ratio = significant(full[fewest].median / full[most].median)
            yield f"- {call}: {most} workers are {ratio} times as fast as {fewest}"
    yield from predictions(Model.fitted([one for one in measured if one.call == "evaluation"]), measured)


def predictions(model: Model, measured: Sequence[Measured]) -> Iterator[str]:
    compute = ", ".join(f"{factor * 1e12:.3g} ps of {n:,} parameters" for n, factor in model.compute.items())
    yield (
        f"- model of an evaluation: compute ({compute}) x rows x parameters / workers + {model.latency * 1e3:.3g} ms + "
        f"({model.message * 1e3:.3g} ms + parameters x 8 bytes x {model.byte * 1e9:.3g} ns) x workers"
    )
    evaluations = [one for one in measured if one.call == "evaluation"]
    errors = [sum(model.parts(one.n_workers, one.n_rows, one.n_parameters)) / one.median - 1 for one in evaluations]
    yield f"- its largest distance from what was measured: {100 * max(map(abs, errors)):.0f} %"
    yield ""
    yield row(["rows", "parameters", "workers", "compute, s", "latency, s", "bytes, s", "together, s", "efficiency"])
    yield row(["---:"] * 8)
    for n_rows in (5e6, 1e9):
        for n_parameters in model.compute:
            for n_workers in (1, 8, 64, 512):
                compute, latency, message, byte = model.parts(n_workers, n_rows, n_parameters)
                seconds = compute + latency + message + byte
                figures = (compute, latency + message, byte, seconds)
                efficiency = f"{100 * compute / seconds:.0f} %"
                yield row([f"{n_rows:,.0f}", f"{n_parameters:,}", n_workers, *map(significant, figures), efficiency])
    yield ""
    for n_rows in (5e6, 1e9):
        for n_parameters in model.compute:
            most = model.most_workers(n_rows, n_parameters)
            yield f"- {n_rows:,.0f} rows, {n_parameters:,} parameters: shortest with {most:,.0f} workers"


def save(path: Path, lines: Sequence[str], measured: Sequence[Measured]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{path}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with open(f"{path}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["call", "workers", "rows", "parameters", "n", "seconds", "worker_bytes", "other_bytes"])
        for one in measured:
            what = (one.call, one.n_workers, one.n_rows, one.n_parameters)
            for n, seconds in enumerate(one.seconds, start=1):
                writer.writerow([*what, n, f"{seconds:.6f}", f"{one.worker_bytes:.0f}", f"{one.other_bytes:.0f}"])


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=positive, nargs="+", default=[1, 2], help="of the whole table (default: 1 2)")
    parser.add_argument("--few", type=positive, nargs="*", default=[4], help="of few rows only, besides (default: 4)")
    parser.add_argument("--rows", type=positive, default=5_000_000, help="default: 5 million, 1 GB")
    parser.add_argument("--rounds", type=positive, default=7, help="calls timed of each (default: 7)")
    parser.add_argument("--quick", action="store_true", help="little work: to see that it runs")
    parser.add_argument("--save", type=Path, metavar="PATH", help="write PATH.md, and all calls to PATH.csv")
    options = parser.parse_args(args)
    if options.quick:
        options.rows, options.rounds, options.workers, options.few = 20_000, 2, [1, 2], []
    measured: list[Measured] = []
    for n_workers in sorted({*options.workers, *options.few}):
        for one in measurements(n_workers, options):
            print(*one.cells(), sep="  ", file=sys.stderr, flush=True)
            measured.append(one)
    lines = list(report(measured, options))
    print("\n".join(lines))
    if options.save:
        save(options.save, lines, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
