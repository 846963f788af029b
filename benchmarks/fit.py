"""Microseconds a training step: skbce, scikit-learn's MLPClassifier and others in one run, doing the same work.

How it is measured, and why, is in README.md beside this file.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import joblib
from latency import round_trip
from peers import Measurement, Network, Problem, Remote, make_problem, measure, started
from report import Result, add_options, begun, limited, positive

# Some seconds of scikit-learn each, and in all but the first long enough for skbce to have tried its threads.
NETWORKS = (
    Network((20, 16, 1), batch=32, n_batches=500, n_epochs=40),
    Network((30, 100, 1), batch=200, n_batches=400, n_epochs=22),
    Network((50, 64, 64, 1), batch=200, n_batches=400, n_epochs=16),
    Network((100, 256, 256, 256, 1), batch=256, n_batches=100, n_epochs=5),
    Network((784, 512, 1), batch=256, n_batches=100, n_epochs=4),
)


def arguments(args: Sequence[str] | None) -> argparse.Namespace:
    names = [network.name for network in NETWORKS]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    dtypes = ("float32", "float64")
    parser.add_argument("--dtype", nargs="+", choices=dtypes, default=["float32"], help="default: float32")
    parser.add_argument("--network", nargs="+", choices=names, default=names, metavar="UNITS", help=", ".join(names))
    parser.add_argument("--batch", type=positive, help="rows of a batch, in place of each network's own")
    add_options(parser, n_rounds=9)
    return parser.parse_args(args)


def measured(problem: Problem, n_rounds: int, remotes: Sequence[Remote]) -> tuple[list[Measurement], list]:
    """All peers on one problem, and a cache line's round trips around each round where threads may meet."""
    round_trips = []

    def look() -> None:
        if problem.threads > 1:
            round_trips.append(round_trip())

    return measure(problem, n_rounds, remotes, look), round_trips


def main(args: Sequence[str] | None = None) -> int:
    """Measure, print a row at a time, and save where asked to."""
    options = arguments(args)
    networks = [network for network in NETWORKS if network.name in options.network]
    networks = [replace(network, batch=options.batch or network.batch) for network in networks]
    n_rounds, n_cores = options.rounds, joblib.cpu_count()
    if options.quick:
        networks, n_rounds = [network.shortened() for network in networks], min(3, n_rounds)
    with limited(options.threads, options.peers):
        peers, report = begun(options, n_cores, n_rounds)
        with started(peers, options.threads) as remotes:
            for dtype in options.dtype:
                for network in networks:
                    what = {"network": network.name, "batch": network.batch, "dtype": dtype, "steps": network.n_steps}
                    problem = make_problem(network, dtype, options.threads)
                    report.add(Result(what, *measured(problem, n_rounds, remotes)))
        report.put_round_trips()
    if options.save:
        report.save(options.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
