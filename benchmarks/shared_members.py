"""Do members that share weights do better than networks of their own, for the same work? In PyTorch, on real tables.

docs/ensemble.md tells what is compared, and what came of it.
"""

import argparse
import csv
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from measures import scores
from report import positive, row
from sklearn.exceptions import ConvergenceWarning
from tables import half_of, read_table, table_names
from torch import nn

from skbce import BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder, make_tabular_classifier
from skbce.ensemble import _default_member

COLUMNS = ("table", "split", "model", "networks", "steps", "epochs", "work", "log_loss", "auc", "seconds")
OUT = Path(__file__).parent / "results" / "shared_members.csv"
UNITS = 128
N_FOLDS = 8
# Step size and weight decay: of make_tabular_classifier's members, and those of TabM's authors.
STEPS = {"own": (1e-3, 1.0), "paper": (2e-3, 3e-4)}


@dataclass(frozen=True)
class Part:
    """Rows of a split as networks see them: encoded with some number of bins, and the feature each column is of."""

    X: np.ndarray
    X_test: np.ndarray
    y: np.ndarray
    feature: np.ndarray


@dataclass(frozen=True)
class Shared:
    """What is tried: k members, their step size and weight decay, the encoder's bins, how they are told apart."""

    k: int
    steps: str
    n_bins: int
    start: str  # of the scales: "signs", one for each column; "normal", one for each feature's columns

    @property
    def name(self) -> str:
        return f"shared k={self.k} {self.steps} {self.n_bins} bins {self.start}"


class Network(nn.Module):
    """TabM-mini: Z[1] of member k = (r_k * x) W_1 + b_1, W_1 and W_2 of all members, and a last layer for each."""

    def __init__(self, trial: Shared, feature: np.ndarray):
        super().__init__()
        k, n_columns = trial.k, len(feature)
        by_feature = torch.randn(k, feature.max() + 1)[:, torch.from_numpy(feature)]
        signs = torch.randint(0, 2, (k, n_columns)) * 2.0 - 1
        self.scale = nn.Parameter(by_feature if trial.start == "normal" else signs)
        self.first, self.second = nn.Linear(n_columns, UNITS), nn.Linear(UNITS, UNITS)
        self.heads = nn.Parameter((torch.rand(k, UNITS) * 2 - 1) / UNITS**0.5)
        self.bias = nn.Parameter((torch.rand(k) * 2 - 1) / UNITS**0.5)
        self.dropout = nn.Dropout(0.1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Logits, (n_rows, k)."""
        A = self.dropout(torch.relu(self.first(X[:, None] * self.scale)))
        A = self.dropout(torch.relu(self.second(A)))
        return (A * self.heads).sum(-1) + self.bias

    def decayed(self) -> list[nn.Parameter]:
        return [self.first.weight, self.second.weight, self.heads]

    def mean_probability(self, X: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.eval()
            p = torch.cat([torch.sigmoid(self(rows)).mean(1) for rows in X.split(512)])
        self.train()
        return p


def trained(trial: Shared, part: Part, held_out: np.ndarray, seed: int) -> tuple[np.ndarray, int]:
    """Probabilities of the test part, and epochs; stopped as _default_member is."""
    member = _default_member(len(part.y))
    torch.manual_seed(seed)
    network = Network(trial, part.feature)
    training = np.setdiff1d(np.arange(len(part.y)), held_out)
    X, y, X_held_out, y_held_out = map(
        torch.from_numpy, (part.X[training], part.y[training], part.X[held_out], part.y[held_out])
    )
    step, decay = STEPS[trial.steps]
    decayed = network.decayed()
    others = [parameter for parameter in network.parameters() if all(parameter is not other for other in decayed)]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=step, fused=True)
    best, best_epoch, epoch = np.inf, 0, 0
    while epoch < member.max_iter and epoch - best_epoch < member.n_iter_no_change:
        epoch += 1
        for rows in torch.randperm(len(X)).split(member.batch_size):
            Z = network(X[rows])
            loss = nn.functional.binary_cross_entropy_with_logits(Z, y[rows, None].expand_as(Z))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss = float(nn.functional.binary_cross_entropy(network.mean_probability(X_held_out), y_held_out))
        if loss < best:
            best, best_epoch = loss, epoch
            best_state = {name: values.clone() for name, values in network.state_dict().items()}
    network.load_state_dict(best_state)
    return network.mean_probability(torch.from_numpy(part.X_test)).numpy().astype(np.float64), epoch


def work(rows: int, k: int, n_columns: int) -> float:
    """Multiplications and additions of the products for `rows` rows of each of k members, forward and back.

    The first layer has two products: the gradient of a scale needs no third, for it is that of r W times W, summed.
    """
    return 2.0 * rows * k * (2 * n_columns * UNITS + 3 * UNITS * UNITS + 3 * UNITS)


class Case:
    """A split of a table, and what is measured on it."""

    def __init__(self, name: str, split: int, options: argparse.Namespace):
        table = read_table(name, options.folder)
        train, test = table.split(split)
        train, test = train[: options.rows], test[: 2 * options.rows]
        self.split, self.y, self.y_test = split, table.y[train], table.y[test]
        self._raw = table.X.iloc[train], table.X.iloc[test]
        encoder = TableEncoder(random_state=split)
        self._table = encoder.fit_transform(self._raw[0], self.y), encoder.transform(self._raw[1])
        self._parts: dict[int, Part] = {}
        self._held_out: list[np.ndarray] | None = None

    def separate(self, n_bins: int | None) -> Iterator[dict[str, object]]:
        """Networks of their own: the first 1, 2, 4, 8 of make_tabular_classifier's, or of those with `n_bins`."""
        params = {} if n_bins is None else {"encoders": PiecewiseLinearEncoder(n_bins)}
        model = make_tabular_classifier(random_state=self.split, n_threads=1, **params)
        seconds = timed(model.fit, self._raw[0], self.y)
        ensemble: BCEMLPEnsembleClassifier = model["ensemble"]
        X_test = model["table"].transform(self._raw[1])
        encoded = [encoder.transform(X_test) for encoder in ensemble.encoders_]
        members = ensemble.estimators_
        tables = [encoded[k % len(encoded)] for k in range(len(members))]
        P = [member.predict_proba(X)[:, 1] for member, X in zip(members, tables, strict=True)]
        epochs = [member.n_iter_ for member in members]
        rows = [n * (len(self.y) - len(out)) for n, out in zip(epochs, ensemble.held_out_, strict=True)]
        works = [work(n, 1, X.shape[1]) for n, X in zip(rows, tables, strict=True)]
        yield from self._lines(P, epochs, works, seconds)

    def shared(self, trial: Shared, n_networks: int) -> Iterator[dict[str, object]]:
        """One network of k members, and means of several, each stopped by a fold of its own."""
        part = self._part(trial.n_bins)
        P, epochs, works = [], [], []
        started = time.perf_counter()
        for n, held_out in enumerate(self._folds()[:n_networks]):
            p, n_epochs = trained(trial, part, held_out, 100 * self.split + n)
            P.append(p)
            epochs.append(n_epochs)
            works.append(work(n_epochs * (len(self.y) - len(held_out)), trial.k, part.X.shape[1]))
        yield from self._lines(P, epochs, works, time.perf_counter() - started)

    def _lines(self, P: list[np.ndarray], epochs: list[int], works: list[float], seconds: float):
        """The mean of the first n networks, for n = 1, 2, 4, 8."""
        n = 1
        per_epoch = -(-len(self.y) * (N_FOLDS - 1) // N_FOLDS // _default_member(len(self.y)).batch_size)
        while n <= len(P):
            score = scores(self.y_test, np.mean(P[:n], axis=0))
            yield {
                "networks": n,
                "epochs": np.mean(epochs[:n]),
                "steps": np.mean(epochs[:n]) * per_epoch,
                "work": f"{sum(works[:n]):.6g}",
                "log_loss": f"{score['log_loss']:.7g}",
                "auc": f"{score['auc']:.7g}",
                "seconds": f"{seconds * n / len(P):.3f}",
            }
            n *= 2

    def _part(self, n_bins: int) -> Part:
        if n_bins not in self._parts:
            encoder = PiecewiseLinearEncoder(n_bins).fit(self._table[0])
            X, X_test = (encoder.transform(X).astype(np.float32) for X in self._table)
            self._parts[n_bins] = Part(X, X_test, self.y.astype(np.float32), features(encoder))
        return self._parts[n_bins]

    def _folds(self) -> list[np.ndarray]:
        """Those that make_tabular_classifier's members hold out."""
        if self._held_out is None:
            rng, ensemble = np.random.RandomState(self.split), BCEMLPEnsembleClassifier()
            splits = ensemble._splits(self._table[0], self.y, np.array([0, 1]), None, rng)
            self._held_out = [held_out for _, held_out in splits]
        return self._held_out


def features(encoder: PiecewiseLinearEncoder) -> np.ndarray:
    """For each encoded column the number of the column that it is of."""
    bare = [f"x{j}" for j in range(encoder.n_features_in_)]
    names = encoder.get_feature_names_out(bare)
    return np.array([bare.index(str(name).partition("_")[0]) for name in names])


def timed(call: Callable, *args) -> float:
    started = time.perf_counter()
    call(*args)
    return time.perf_counter() - started


def report(lines: Sequence[dict[str, str]], names: Sequence[str]) -> None:
    """Log loss beside separate networks of the same work, and beside all 8 of them, by halves of the tables."""
    measured: dict[tuple[str, int], dict[tuple[str, str], np.ndarray]] = {}
    for line in lines:
        point = np.log([float(line[key]) for key in ("work", "log_loss", "epochs")])
        measured.setdefault((line["model"], int(line["networks"])), {})[line["table"], line["split"]] = point
    print(row(["model", "networks", "half", "tables", "at equal work", "better", "beside all 8", "work", "epochs"]))
    print(row(["---", "---:", "---", *["---:"] * 6]))
    for (model, n), found in measured.items():
        for half in ("first", "second"):
            by_table: dict[str, list[np.ndarray]] = {}
            for case, point in found.items():
                if case[0] in half_of(names, half):
                    curve = np.array([measured["separate", n][case] for n in (1, 2, 4, 8)])
                    by_table.setdefault(case[0], []).append(compared(point, curve))
            if by_table:
                print(row([model, n, half, *means_of(by_table)]))


def compared(point: np.ndarray, curve: np.ndarray) -> np.ndarray:
    """Logarithms of ratios: log loss at equal work; log loss, work and epochs beside the curve's end.

    The loss is interpolated along the logarithm of work. Beyond the end the curve stays level, where more separate
    networks would gain a little.
    """
    at_equal_work = point[1] - np.interp(point[0], curve[:, 0], curve[:, 1])
    return np.array([at_equal_work, *(point - curve[-1])[[1, 0, 2]]])


def means_of(by_table: dict[str, list[np.ndarray]]) -> list[str]:
    """Cells of means over tables of means over splits; after +- the standard error over the tables."""
    means = np.array([np.mean(ratios, axis=0) for ratios in by_table.values()])
    error = means.std(axis=0, ddof=1) / len(means) ** 0.5 if len(means) > 1 else np.full(4, np.nan)
    loss = [f"{100 * np.expm1(means[:, j].mean()):+.1f} +- {100 * error[j]:.1f} %" for j in (0, 1)]
    better = f"{(means[:, 0] < 0).sum()} of {len(means)}"
    return [str(len(means)), loss[0], better, loss[1], *(f"{np.exp(means[:, j].mean()):.2f}" for j in (2, 3))]


def time_steps(options: argparse.Namespace) -> None:
    """What a step of k members takes at best, one of k m rows, and what k steps of m rows take, in processor time.

    The first layer's scales and the heads are not in it.
    """
    print(row(["columns", "rows m", "k", "k steps of m rows, us", "a step of k m rows, us", "ratio"]))
    print(row(["---:"] * 6))
    rng = np.random.default_rng(0)
    for n_columns, m, k in product((100, 400), (16, 64, 128), options.members):
        n_rows = max(4096, 2 * k * m)
        X, y = rng.standard_normal((n_rows, n_columns), np.float32), rng.integers(2, size=n_rows)
        times = [[step_time(X, y, size) * k * m for size in (m, k * m)] for _ in range(options.rounds)]
        separate, shared = 1e6 * np.median(times, axis=0)
        print(row([n_columns, m, k, f"{separate:.0f}", f"{shared:.0f}", f"{separate / shared:.2f}"]), flush=True)


def step_time(X: np.ndarray, y: np.ndarray, batch_size: int) -> float:
    """Seconds a row, without what is not steps."""
    network = _default_member(0).set_params(batch_size=batch_size, tol=0.0, n_iter_no_change=np.inf, n_threads=1)
    seconds = []
    for n_epochs in (1, 3):
        network.set_params(max_iter=n_epochs, random_state=0)
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it is not to converge
            network.fit(X, y)
        seconds.append(time.process_time() - started)
    return (seconds[1] - seconds[0]) / (2 * len(X))


def run(options: argparse.Namespace, lines: list[dict[str, str]]) -> None:
    """Measure what has no line yet, one split of all tables after another."""
    done = {(line["table"], int(line["split"]), line["model"]) for line in lines}
    trials = [
        Shared(k, steps, n_bins, start)
        for k in options.members
        for steps in options.steps
        for n_bins in options.bins
        for start in options.start
    ]
    wanted: dict[str, Callable[[Case], Iterator[dict[str, object]]]] = {"separate": lambda case: case.separate(None)}
    if options.one_encoder:
        wanted["separate, 16 bins"] = lambda case: case.separate(16)
    wanted |= {
        f"{trial.name} x{options.networks}": lambda case, trial=trial: case.shared(trial, options.networks)
        for trial in trials
    }
    for split in range(options.splits):
        for name in options.tables or half_of(table_names(options.folder), options.half):
            todo = [model for model in wanted if (name, split, model) not in done]
            case = Case(name, split, options) if todo else None
            for model in todo:
                for line in wanted[model](case):
                    line = {"table": name, "split": split, "model": model, **line}
                    add(options.out, line)
                    lines.append({key: str(value) for key, value in line.items()})
                print(f"{name}, split {split}, {model}: {line['log_loss']}, {line['seconds']} s", flush=True)


def add(path: Path, line: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    begins = not path.exists()
    with open(path, "a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if begins:
            writer.writeheader()
        writer.writerow(line)


def arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="of tables, as for accuracy.py")
    parser.add_argument("--splits", type=positive, default=3, help="of each table (default: 3)")
    parser.add_argument("--rows", type=positive, default=1000, help="at most to train on (default: 1000)")
    parser.add_argument("--half", choices=("first", "second"), help="of the tables, every other one by name")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="default: all")
    parser.add_argument("--members", type=int, nargs="*", default=[8, 32], help="of a shared network (default: 8 32)")
    parser.add_argument("--steps", choices=STEPS, nargs="+", default=["own"], help="default: own")
    parser.add_argument("--bins", type=positive, nargs="+", default=[16], help="of the shared encoder (default: 16)")
    parser.add_argument("--start", choices=("signs", "normal"), nargs="+", default=["signs"], help="default: signs")
    parser.add_argument("--networks", type=positive, default=1, help="shared networks to average (default: 1)")
    parser.add_argument("--one-encoder", action="store_true", help="separate networks also with 16 bins each")
    parser.add_argument("--time", action="store_true", help="time steps of skbce's kernels, and nothing else")
    parser.add_argument("--rounds", type=positive, default=5, help="of --time (default: 5)")
    parser.add_argument("--out", type=Path, default=OUT, help="default: results/shared_members.csv")
    return parser.parse_args(args)


def main(args: Sequence[str] | None = None) -> int:
    options = arguments(args)
    if options.time:
        time_steps(options)
        return 0
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    lines = []
    if options.out.exists():
        lines = list(csv.DictReader(options.out.read_text(encoding="utf-8").splitlines()))
    run(options, lines)
    report(lines, table_names(options.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
