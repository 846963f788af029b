"""Seconds that encoders of numeric columns take to fit a table and to transform it, beside writing as many numbers."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import joblib
import numpy as np
from report import add_rounds, limited, machine, positive, row, significant
from sklearn.preprocessing import KBinsDiscretizer, QuantileTransformer, SplineTransformer, StandardScaler

from skbce import PiecewiseLinearEncoder

N_COLUMNS, N_BINS = 20, 16


class Write:
    """Numbers as many as PiecewiseLinearEncoder's, all of them 1."""

    def fit(self, X):
        return self

    def transform(self, X):
        return np.full((len(X), (N_BINS + 1) * X.shape[1]), 1, np.float32)


def encoders(threads: int) -> dict[str, Callable[[], object]]:
    return {
        "bare write": Write,
        "skbce": lambda: PiecewiseLinearEncoder(N_BINS, random_state=0, n_threads=threads),
        "SplineTransformer": lambda: SplineTransformer(
            N_BINS + 1, degree=1, knots="quantile", extrapolation="constant"
        ),
        "KBinsDiscretizer, one-hot": lambda: KBinsDiscretizer(
            N_BINS, encode="onehot-dense", dtype=np.float32, random_state=0
        ),
        "KBinsDiscretizer, ordinal": lambda: KBinsDiscretizer(N_BINS, encode="ordinal", random_state=0),
        "QuantileTransformer": lambda: QuantileTransformer(n_quantiles=N_BINS + 1, random_state=0),
        "StandardScaler": StandardScaler,
    }


def timed(call: Callable[[], object]) -> tuple[float, object]:
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add_rounds(parser, n_rounds=3)
    parser.add_argument("--threads", type=positive, default=1, help="of each at most (default: 1)")
    parser.add_argument("--rows", type=positive, default=200_000, help="of the table (default: 200000)")
    options = parser.parse_args(args)
    n_rows, n_rounds = (2000, 1) if options.quick else (options.rows, options.rounds)
    n_cores = joblib.cpu_count()
    X = np.random.default_rng(0).standard_normal((n_rows, N_COLUMNS))
    sides = encoders(options.threads)
    fits, transforms, widths = {name: [] for name in sides}, {name: [] for name in sides}, {}
    with limited(options.threads):
        where = machine(options.threads, n_cores, n_rounds).rpartition("\n")[0]  # the last line is about training
        print(f"{where}\n- {n_rows} rows of {N_COLUMNS} columns in float64; medians of {n_rounds} rounds\n")
        for n in range(n_rounds):
            for name in list(sides)[:: (-1) ** n]:
                seconds, fitted = timed(lambda: sides[name]().fit(X))  # noqa: B023
                fits[name].append(seconds)
                seconds, encoded = timed(lambda: fitted.transform(X))  # noqa: B023
                transforms[name].append(seconds)
                widths[name] = f"{encoded.shape[1]} {encoded.dtype}"
                del encoded
    print(row(["encoder", "fit, s", "transform, s", "transform / skbce", "output"]))
    print(row(["---", "---:", "---:", "---:", "---:"]))
    ours = np.median(transforms["skbce"])
    for name in sides:
        fit, transform = np.median(fits[name]), np.median(transforms[name])
        print(row([name, significant(fit), significant(transform), significant(transform / ours), widths[name]]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
