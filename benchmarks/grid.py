"""Microseconds a training step over a grid of networks and kinds of input, and where skbce is not the fastest.

The default is a seeded random sample of the grid; `--full` adds all its corners, and the activations that
scikit-learn does not have.
"""

import argparse
import itertools
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import joblib
from peers import ACTIVATIONS, MORE_ACTIVATIONS, PEERS, Network, Peer, Remote, make_problem, measure, started
from report import Result, add_options, begun, limited, positive

DTYPES = ("float32", "float64")
DEPTHS, WIDTHS, BATCHES = (1, 2, 3, 4), (8, 32, 128, 512), (16, 128, 1024, 2048)
# 1 is dense.
DENSITIES = (1.0, 0.05)
N_FEATURES = 100
_AGAIN = 3


@dataclass(frozen=True)
class Cell:
    activation: str
    dtype: str
    depth: int
    width: int
    batch: int
    density: float

    @property
    def format(self) -> str:
        return "dense" if self.density == 1 else "CSR"

    def network(self, seconds: float) -> Network:
        """With so many steps as should take skbce so long."""
        units = (N_FEATURES, *[self.width] * self.depth, 1)
        n_flops = 6 * self.batch * sum(m * n for m, n in itertools.pairwise(units))
        guess = 1e-6 + n_flops / (1e11 if self.dtype == "float32" else 5e10)
        # At most so many that the slower peers, with their cost of a call, take no more than seconds either.
        n_steps = min(max(seconds / guess, 4), 1e4)
        n_batches = int(min(n_steps / 2, 200, 2e5 // self.batch))
        return Network(units, self.batch, n_batches, round(n_steps / n_batches), self.activation)


def cells(n: int, full: bool) -> list[Cell]:
    every = [Cell(*levels) for levels in itertools.product(ACTIVATIONS, DTYPES, DEPTHS, WIDTHS, BATCHES, DENSITIES)]
    chosen = random.Random(0).sample(every, min(n, len(every)))
    if full:
        extremes = [(levels[0], levels[-1]) for levels in (DEPTHS, WIDTHS, BATCHES)]
        chosen += [Cell(*levels) for levels in itertools.product(ACTIVATIONS, DTYPES, *extremes, DENSITIES)]
        # Nobody else has these for CSR.
        chosen += [
            Cell(f, dtype, depth, 128, 128, 1.0) for f in MORE_ACTIVATIONS for dtype in DTYPES for depth in (1, 4)
        ]
    return list(dict.fromkeys(chosen))


def fastest_other(result: Result) -> tuple[str, float] | None:
    """Who is faster than skbce, and its part of skbce's time; None where nobody is."""
    *others, ours = result.measurements
    best = min(others, key=lambda other: other.median, default=ours)
    return (best.peer, best.median / ours.median) if best.median < ours.median else None


def pooled(first: Result, second: Result) -> Result:
    """Both results' rounds."""
    rounds = zip(first.measurements, second.measurements, strict=True)
    return replace(first, measurements=[replace(m, microseconds=m.microseconds + n.microseconds) for m, n in rounds])


def summary(results: Sequence[Result]) -> str:
    """How many cells somebody else is the fastest in, and which."""
    lines = []
    for result in results:
        if faster := fastest_other(result):
            where = ", ".join(f"{key} {value}" for key, value in result.what.items())
            lines.append(f"- {where}: {faster[0]} takes {faster[1]:.2f} of skbce's time")
    return "\n".join([f"skbce is not the fastest in {len(lines)} of {len(results)} cells.", *lines])


def arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=positive, default=40, help="drawn from the grid (default: 40)")
    parser.add_argument("--full", action="store_true", help="and all corners")
    # Bare products are no competitor.
    add_options(parser, n_rounds=3, peers=[name for name in PEERS if name not in ("products", "pytorch-compiled")])
    return parser.parse_args(args)


def compared(cell: Cell, seconds: float, n_rounds: int, threads: int, remotes: dict[type[Peer], Remote]) -> Result:
    """All that know the cell's activation and input."""
    network = cell.network(seconds)
    problem = make_problem(network, cell.dtype, threads, cell.density)
    what = {"network": network.name, "batch": network.batch, "dtype": cell.dtype, "steps": network.n_steps}
    what |= {"activation": cell.activation, "input": cell.format}
    usable = [
        remote
        for peer, remote in remotes.items()
        if cell.activation in peer.activations and (cell.density == 1 or peer.takes_csr)
    ]
    return Result(what, measure(problem, n_rounds, usable))


def main(args: Sequence[str] | None = None) -> int:
    options = arguments(args)
    n_rounds, n_cores, seconds = options.rounds, joblib.cpu_count(), 0.02 if options.quick else 0.2
    chosen = cells(options.cells, options.full)
    with limited(options.threads, options.peers):
        peers, report = begun(options, n_cores, n_rounds)
        with started(peers, options.threads) as started_remotes:
            remotes = dict(zip(peers, started_remotes, strict=True))
            for cell in chosen:
                report.add(compared(cell, seconds, n_rounds, options.threads, remotes))
            # Another program's moment loses a cell too: those are measured again, and all their rounds count.
            lost = [n for n, result in enumerate(report.results) if fastest_other(result)]
            if lost:
                rounds = partial(compared, seconds=seconds, n_rounds=_AGAIN * n_rounds, threads=options.threads)
                again = ((n, pooled(report.results[n], rounds(chosen[n], remotes=remotes))) for n in lost)
                report.revise(f"Lost so far, with {_AGAIN * n_rounds} rounds more: {len(lost)}.", again)
        report.put(f"\n{summary(report.results)}")
    if options.save:
        report.save(options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
