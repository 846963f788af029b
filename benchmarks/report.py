"""What the benchmarks print and save, and the threads they run on."""

import argparse
import csv
import math
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import joblib
import numpy as np
from peers import PEERS, Measurement, Peer, available
from threadpoolctl import threadpool_info, threadpool_limits

import skbce.kernels


@dataclass(frozen=True)
class Result:
    """A row: what was measured, by the names of the columns, and the peers' measurements, skbce's last.

    `round_trips` has a cache line's before the first round and after each, None where they could not be measured.
    """

    what: dict[str, object]
    measurements: list[Measurement]
    round_trips: Sequence[float | None] = ()

    def round_trip(self, n: int) -> float | None:
        """The mean of those before and after round n = 1, 2, .."""
        around = [nanoseconds for nanoseconds in self.round_trips[n - 1 : n + 1] if nanoseconds is not None]
        return sum(around) / len(around) if around else None


class Report:
    """Prints lines and rows as they come, and remembers them to be saved."""

    def __init__(self, names: Sequence[str]):
        self.names = names
        self.lines: list[str] = []
        self.results: list[Result] = []

    def put(self, text: str) -> None:
        self.lines.append(text)
        print(text, flush=True)

    def add(self, result: Result) -> None:
        if not self.results:
            self.put(header(list(result.what), self.names))
        self.results.append(result)
        self.put(table_row(result, self.names))

    def revise(self, why: str, revised: Iterator[tuple[int, Result]]) -> None:
        """Put each result in the place of the n-th, and print those too."""
        self.put(f"\n{why}\n\n{header(list(self.results[0].what), self.names)}")
        for n, result in revised:
            self.results[n] = result
            self.put(table_row(result, self.names))

    def put_round_trips(self) -> None:
        """A line for all results; none where nothing was measured."""
        measured = [nanoseconds for result in self.results for nanoseconds in result.round_trips if nanoseconds]
        if measured:
            times = f"{quartiles(measured)} ns, {len(measured)} times"
            self.put(f"\n- Round trip of a cache line between two cores: {times}")

    def save(self, path: Path) -> None:
        """The printed text to PATH.md, every round to PATH.csv, and bars to PATH.svg where matplotlib is installed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        Path(f"{path}.md").write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        with open(f"{path}.csv", "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([*self.results[0].what, "peer", "round", "us_per_step", "loss", "round_trip_ns"])
            for result in self.results:
                for measurement in result.measurements:
                    loss = "" if math.isnan(measurement.loss) else f"{measurement.loss:.9g}"
                    for n, microseconds in enumerate(measurement.microseconds, start=1):
                        nanoseconds = result.round_trip(n)
                        figures = [f"{microseconds:.3f}", loss, "" if nanoseconds is None else f"{nanoseconds:.1f}"]
                        writer.writerow([*result.what.values(), measurement.peer, n, *figures])
        try:
            plot(Path(f"{path}.svg"), self.results, self.names)
        except ImportError:
            print("No plot: matplotlib is not installed.")


def begun(options: argparse.Namespace, n_cores: int, n_rounds: int) -> tuple[list[type[Peer]], Report]:
    """The peers that run here, and a report of them that begins with where and how; the limits must be in force."""
    peers, missing = available(options.peers, options.threads)
    report = Report([peer.name for peer in peers])
    about = [machine(options.threads, n_cores, n_rounds, peers), *(f"- {line}" for line in missing)]
    report.put("\n".join(about) + "\n")
    return peers, report


def header(what: Sequence[str], names: Sequence[str]) -> str:
    cells = [*what, *(f"{name}, us/step" for name in names)]
    cells += [f"{name} / {names[-1]}" for name in names[:-1]] + [f"loss, {name}" for name in names]
    return f"{row(cells)}\n{row(['---', *['---:'] * (len(cells) - 1)])}"


def table_row(result: Result, names: Sequence[str]) -> str:
    """With dashes for peers that were not measured, or have no loss."""
    measured = {measurement.peer: measurement for measurement in result.measurements}
    ours = measured[names[-1]]
    cells = [*result.what.values(), *(spread(measured[name]) if name in measured else "-" for name in names)]
    for name in names[:-1]:
        cells.append(significant(measured[name].median / ours.median) if name in measured else "-")
    for name in names:
        has_loss = name in measured and not math.isnan(measured[name].loss)
        cells.append(f"{measured[name].loss:.6f}" if has_loss else "-")
    return row(cells)


def row(cells: Sequence) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def spread(measurement: Measurement) -> str:
    """The median and, in brackets, the quartiles."""
    return quartiles(measurement.microseconds)


def quartiles(values: Sequence[float]) -> str:
    lower, median, upper = map(significant, np.quantile(values, [0.25, 0.5, 0.75]))
    return f"{median} ({lower} to {upper})"


def significant(value: float) -> str:
    """At least three significant digits, without an exponent."""
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value) or 1.0))))}f}"


def plot(path: Path, results: Sequence[Result], names: Sequence[str]) -> None:
    """A group of horizontal bars for each row, on a logarithmic axis."""
    from matplotlib.figure import Figure

    thickness = 0.8 / len(names)
    figure = Figure(figsize=(8, 1 + len(results) * (0.3 + 0.16 * len(names))), layout="constrained")
    axes = figure.subplots()
    for n, name in enumerate(names):
        # A busy machine's difference may be negative, which has no logarithm.
        medians = {
            place: max(measurement.median, 0.01)
            for place, result in enumerate(results)
            for measurement in result.measurements
            if measurement.peer == name
        }
        bars = axes.barh(np.array(list(medians)) + n * thickness, list(medians.values()), 0.9 * thickness, label=name)
        axes.bar_label(bars, list(map(significant, medians.values())), padding=2, fontsize="x-small")
    labels = [" ".join(str(value) for key, value in result.what.items() if key != "steps") for result in results]
    axes.set_yticks(np.arange(len(results)) + 0.4 - thickness / 2, labels)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.1)
    axes.set_xlabel("microseconds a step, less is better")
    figure.legend(loc="outside upper center", ncols=len(names), frameon=False, fontsize="small")
    figure.savefig(path)


@contextmanager
def limited(threads: int, peers: Sequence[str] = ()) -> Iterator[None]:
    """Run with so many threads of BLAS and, for JAX, on so many cores, where the system can say so.

    XLA takes as many threads as the process has cores, and only at its start: enter before JAX is imported. The last
    cores are taken, as the first serves more interrupts.
    """
    affinity = os.sched_getaffinity(0) if "jax" in peers and hasattr(os, "sched_setaffinity") else None
    if affinity:
        os.sched_setaffinity(0, sorted(affinity)[-threads:])
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        if affinity:
            os.sched_setaffinity(0, affinity)


def machine(threads: int, n_cores: int, n_rounds: int, peers: Sequence[type[Peer]] = ()) -> str:
    """Where and how this runs, as a Markdown list; to be called with the limit on threads in force."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    blas = {f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', 'unknown')})" for pool in pools}
    in_force = max((pool["num_threads"] for pool in pools), default="an unknown number of")
    bound = f"; all on {joblib.cpu_count()} of the cores" if joblib.cpu_count() < n_cores else ""
    libraries = dict.fromkeys(["scikit-learn", "numpy", "scipy", *(peer.library for peer in peers)])
    versions = [f"{library} {metadata.version(library)}" for library in libraries]
    return "\n".join(
        [
            f"- CPU: {cpu_model()}, {n_cores} cores; {platform.system()}",
            f"- Threads: BLAS {in_force}, skbce at most {threads} ({skbce.kernels.LEVEL}){bound}",
            f"- BLAS: {', '.join(sorted(blas)) or 'unknown'}",
            f"- skbce {skbce.__version__}, {', '.join(versions)}, Python {platform.python_version()}",
            f"- Adam; medians of {n_rounds} rounds, in brackets the quartiles",
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


def add_options(parser: argparse.ArgumentParser, n_rounds: int, peers: Sequence[str] = tuple(PEERS)) -> None:
    """The options of all that compare peers."""
    which = f"default: all that run here; always skbce. {', '.join(peers)}"
    parser.add_argument("--peers", nargs="+", choices=peers, default=peers, metavar="NAME", help=which)
    add_rounds(parser, n_rounds)
    parser.add_argument("--threads", type=positive, default=1, help="of each peer at most (default: 1)")
    parser.add_argument("--save", type=Path, metavar="PATH", help="write PATH.md, all rounds to PATH.csv, and PATH.svg")


def add_rounds(parser: argparse.ArgumentParser, n_rounds: int) -> None:
    parser.add_argument("--rounds", type=positive, default=n_rounds, help=f"rounds of each (default: {n_rounds})")
    parser.add_argument("--quick", action="store_true", help="little work: to see that it runs")


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
