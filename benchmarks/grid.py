"""Microseconds a training step over a grid of networks and kinds of input, and where skbce is not the fastest.

The default is a seeded random sample of the grid; `--full` adds all its corners, and the activations that
scikit-learn does not have.
"""

import argparse
import itertools
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import joblib
from peers import ACTIVATIONS, MORE_ACTIVATIONS, PEERS, Network, make_problem, measure, started
from report import Result, add_options, begun, limited, positive

DTYPES = ("float32", "float64")
DEPTHS, WIDTHS, BATCHES = (1, 2, 3, 4), (8, 32, 128, 512), (16, 128, 1024, 2048)
# 1 is dense.
DENSITIES = (1.0, 0.05)
N_FEATURES = 100


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


def summary(results: Sequence[Result]) -> str:
    """How many cells somebody else is the fastest in, and which."""
    lines = []
    for result in results:
        *others, ours = result.measurements
        best = min(others, key=lambda other: other.median, default=ours)
        if best.median < ours.median:
            where = ", ".join(f"{key} {value}" for key, value in result.what.items())
            lines.append(f"- {where}: {best.peer} takes {best.median / ours.median:.2f} of skbce's time")
    return "\n".join([f"skbce is not the fastest in {len(lines)} of {len(results)} cells.", *lines])


def arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", type=positive, default=40, help="drawn from the grid (default: 40)")
    parser.add_argument("--full", action="store_true", help="and all corners")
    # Bare products are no competitor.
    add_options(parser, n_rounds=3, peers=[name for name in PEERS if name not in ("products", "pytorch-compiled")])
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    options = arguments(args)
    n_rounds, n_cores = options.rounds, joblib.cpu_count()
    with limited(options.threads, options.peers):
        peers, report = begun(options, n_cores, n_rounds)
        with started(peers, options.threads) as remotes:
            for cell in cells(options.cells, options.full):
                network = cell.network(0.02 if options.quick else 0.2)
                problem = make_problem(network, cell.dtype, options.threads, cell.density)
                what = {"network": network.name, "batch": network.batch, "dtype": cell.dtype, "steps": network.n_steps}
                what |= {"activation": cell.activation, "input": cell.format}
                usable = [
                    remote
                    for remote, peer in zip(remotes, peers, strict=True)
                    if cell.activation in peer.activations and (cell.density == 1 or peer.takes_csr)
                ]
                report.add(Result(what, measure(problem, n_rounds, usable)))
        report.put(f"\n{summary(report.results)}")
    if options.save:
        report.save(options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
