"""Microseconds a training step: skbce and scikit-learn's MLPClassifier in one run, doing the same work.

How it is measured, and why, is in README.md beside this file.
"""

import argparse
import csv
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import joblib
import numpy as np
import scipy
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_info, threadpool_limits

import skbce.kernels
from skbce import BCEMLPClassifier


@dataclass(frozen=True)
class Network:
    """A network, its batch, and the work of one measurement: batches an epoch, and timed epochs."""

    units: tuple[int, ...]
    batch: int
    n_batches: int
    n_epochs: int

    @property
    def name(self) -> str:
        return "-".join(map(str, self.units))

    @property
    def n_steps(self) -> int:
        return self.n_batches * self.n_epochs

    def shortened(self) -> "Network":
        """A tenth of the work."""
        return Network(self.units, self.batch, max(2, self.n_batches // 10), self.n_epochs)


# About a second of scikit-learn each, and enough steps for the quicker side to be timed well.
NETWORKS = (
    Network((20, 16, 1), batch=32, n_batches=200, n_epochs=50),
    Network((30, 100, 1), batch=200, n_batches=50, n_epochs=40),
    Network((50, 64, 64, 1), batch=200, n_batches=50, n_epochs=30),
    Network((100, 256, 256, 256, 1), batch=256, n_batches=40, n_epochs=6),
    Network((784, 512, 1), batch=256, n_batches=40, n_epochs=5),
)


@dataclass(frozen=True)
class Problem:
    """A network and the rows to train it on."""

    network: Network
    X: np.ndarray
    y: np.ndarray
    threads: int


class Peer(Protocol):
    """One side of the comparison: the constructor prepares, whatever that costs, and `run` is timed."""

    name: str

    def __init__(self, problem: Problem): ...

    def run(self, n_epochs: int) -> float:
        """Train from new parameters for so many epochs; the last one's mean loss, nats a row."""


class ScikitLearn:
    name = "scikit-learn"
    estimator: type = MLPClassifier

    def __init__(self, problem: Problem):
        self.problem = problem

    def parameters(self) -> dict:
        """Beyond what both have."""
        return {}

    def run(self, n_epochs: int) -> float:
        network = self.problem.network
        model = self.estimator(
            **self.parameters(),
            hidden_layer_sizes=network.units[1:-1],
            batch_size=network.batch,
            max_iter=n_epochs,
            # Nobody stops early.
            tol=0,
            n_iter_no_change=np.inf,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations", ConvergenceWarning)
            model.fit(self.problem.X, self.problem.y)
        if model.n_iter_ != n_epochs:
            raise RuntimeError(f"{self.name} ran {model.n_iter_} epochs of {n_epochs}: the work is not equal.")
        return model.loss_


class Skbce(ScikitLearn):
    name = "skbce"
    estimator = BCEMLPClassifier

    def parameters(self) -> dict:
        return {"n_threads": self.problem.threads}


# The others are compared with the last.
PEERS: tuple[type[Peer], ...] = (ScikitLearn, Skbce)


@dataclass(frozen=True)
class Measurement:
    """What one peer did on one network: microseconds a step in each round, and the final loss."""

    peer: str
    microseconds: list[float]
    loss: float

    @property
    def median(self) -> float:
        return statistics.median(self.microseconds)

    def __str__(self) -> str:
        lower, upper = np.quantile(self.microseconds, [0.25, 0.75])
        return f"{significant(self.median)} ({significant(lower)} to {significant(upper)})"


def make_problem(network: Network, dtype: str, threads: int) -> Problem:
    """Normal features, and labels drawn with the probabilities of a random network of one tanh layer."""
    rng = np.random.default_rng(0)
    n_features = network.units[0]
    X = rng.standard_normal((network.batch * network.n_batches, n_features))
    hidden = np.tanh(X @ rng.standard_normal((n_features, 16)) / np.sqrt(n_features))
    logits = 2.0 * hidden @ rng.standard_normal(16)
    y = rng.random(len(X)) < 1 / (1 + np.exp(-logits))
    return Problem(network, X.astype(dtype), y.astype(np.int64), threads)


def measure(problem: Problem, n_rounds: int) -> list[Measurement]:
    """All peers on one problem, in turn, every other round in reverse."""
    network = problem.network
    prepared = [peer(problem) for peer in PEERS]
    microseconds = {peer.name: [] for peer in prepared}
    losses = {}
    for peer in prepared:
        peer.run(1)  # libraries' first calls are slow
    for n in range(n_rounds):
        for peer in prepared[:: (-1) ** n]:
            first, _ = timed_run(peer, 1)
            seconds, losses[peer.name] = timed_run(peer, 1 + network.n_epochs)
            microseconds[peer.name].append(1e6 * (seconds - first) / network.n_steps)
    return [Measurement(peer.name, microseconds[peer.name], losses[peer.name]) for peer in prepared]


def timed_run(peer: Peer, n_epochs: int) -> tuple[float, float]:
    """Seconds and final loss."""
    started = time.perf_counter()
    loss = peer.run(n_epochs)
    return time.perf_counter() - started, loss


def significant(value: float) -> str:
    """At least three significant digits, without an exponent."""
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value) or 1.0))))}f}"


def header() -> str:
    names = [peer.name for peer in PEERS]
    cells = ["network", "batch", "dtype", "steps", *(f"{name}, us/step" for name in names)]
    cells += [f"{name} / {names[-1]}" for name in names[:-1]] + [f"loss, {name}" for name in names]
    return f"{row(cells)}\n{row(['---', *['---:'] * (len(cells) - 1)])}"


def table_row(network: Network, dtype: str, measurements: Sequence[Measurement]) -> str:
    *others, ours = measurements
    cells = [network.name, network.batch, dtype, network.n_steps, *measurements]
    cells += [significant(other.median / ours.median) for other in others]
    cells += [f"{measurement.loss:.6f}" for measurement in measurements]
    return row(cells)


def row(cells: Sequence) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def machine(threads: int, n_rounds: int) -> str:
    """Where and how this runs, as a Markdown list; to be called with the limit on threads in force."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    blas = {f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', 'unknown')})" for pool in pools}
    in_force = max((pool["num_threads"] for pool in pools), default="an unknown number of")
    versions = {
        "skbce": skbce.__version__,
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "Python": platform.python_version(),
    }
    return "\n".join(
        [
            f"- CPU: {cpu_model()}, {joblib.cpu_count()} cores; {platform.system()}",
            f"- Threads: scikit-learn's BLAS {in_force}, skbce at most {threads} ({skbce.kernels.LEVEL})",
            f"- BLAS: {', '.join(sorted(blas)) or 'unknown'}",
            f"- {', '.join(f'{name} {version}' for name, version in versions.items())}",
            f"- relu, Adam; medians of {n_rounds} rounds, in brackets the quartiles",
        ]
    )


def cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine() or "unknown"


def arguments(args: Sequence[str] | None) -> argparse.Namespace:
    names = [network.name for network in NETWORKS]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    dtypes = ("float32", "float64")
    parser.add_argument("--dtype", nargs="+", choices=dtypes, default=["float32"], help="default: float32")
    parser.add_argument("--network", nargs="+", choices=names, default=names, metavar="UNITS", help=", ".join(names))
    parser.add_argument("--rounds", type=positive, default=9, help="rounds of each (default: 9)")
    parser.add_argument(
        "--threads", type=positive, default=1, help="of scikit-learn's BLAS, and most of skbce (default: 1)"
    )
    parser.add_argument("--save", type=Path, metavar="PATH", help="write PATH.md, and all rounds to PATH.csv")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work in 3 rounds: to see that it runs")
    return parser.parse_args(args)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def save(path: Path, lines: Sequence[str], results: Sequence[tuple[Network, str, list[Measurement]]]) -> None:
    """The printed text to PATH.md, every round to PATH.csv."""
    Path(f"{path}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with open(f"{path}.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["network", "batch", "dtype", "steps", "peer", "round", "us_per_step", "loss"])
        for network, dtype, measurements in results:
            what = [network.name, network.batch, dtype, network.n_steps]
            for measurement in measurements:
                for n, microseconds in enumerate(measurement.microseconds, start=1):
                    writer.writerow([*what, measurement.peer, n, f"{microseconds:.3f}", f"{measurement.loss:.9g}"])


def main(args: Sequence[str] | None = None) -> int:
    """Measure, print a row at a time, and save where asked to."""
    options = arguments(args)
    networks = [network for network in NETWORKS if network.name in options.network]
    n_rounds = options.rounds
    if options.quick:
        networks, n_rounds = [network.shortened() for network in networks], min(3, n_rounds)
    if options.save:
        options.save.parent.mkdir(parents=True, exist_ok=True)
    lines, results = [], []

    def put(text: str) -> None:
        lines.append(text)
        print(text, flush=True)

    with threadpool_limits(options.threads, user_api="blas"):
        put(f"{machine(options.threads, n_rounds)}\n\n{header()}")
        for dtype in options.dtype:
            for network in networks:
                measurements = measure(make_problem(network, dtype, options.threads), n_rounds)
                results.append((network, dtype, measurements))
                put(table_row(network, dtype, measurements))
    if options.save:
        save(options.save, lines, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
