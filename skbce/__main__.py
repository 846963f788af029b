"""`python -m skbce`: cross-validation, a loss curve, a gradient check and scikit-learn beside it, on a real table."""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_validate
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from skbce import BCEMLPClassifier, check_gradients
from skbce._config import config

# Enough epochs for every fit here to converge: scikit-learn's default of 200 is not.
_PARAMETERS = {"max_iter": 1000, "random_state": 0}

_N_FOLDS = 5
_SCORES = {"ROC AUC": "roc_auc", "log loss, nats a row": "neg_log_loss", "accuracy": "accuracy"}

# 8 costs for each of some 3000 parameters: a few rows keep that to a second.
_N_CHECKED_ROWS = 60

_N_ROUNDS = 3

_CHART_WIDTH, _CHART_HEIGHT = 60, 12
_BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_ASCII_BLOCKS = " .:#"


def main() -> int:
    """Run the demonstration; the exit code is 0 when it got to its end."""
    data = load_breast_cancer()
    X, y = data.data, data.target
    model = BCEMLPClassifier(**_PARAMETERS)
    counts = ", ".join(f"{n} {name}" for name, n in zip(data.target_names, np.bincount(y), strict=True))
    print(versions())
    print(f"\nTable: scikit-learn's breast_cancer, {len(X)} x {X.shape[1]}; {counts}")
    print(f"Model: StandardScaler, then {model}")
    print_cross_validation(model, X, y)

    X = StandardScaler().fit_transform(X)
    seconds, fitted = timed_fits({"skbce": model, "scikit-learn": MLPClassifier(**_PARAMETERS)}, X, y)
    print("\nFit to all rows: loss after each epoch, nats a row, on a log scale")
    print(chart(fitted["skbce"].loss_curve_, _ASCII_BLOCKS if _only_ascii() else _BLOCKS))
    print_gradient_check(fitted["skbce"], X, y)
    print_comparison(seconds, fitted, X)
    return 0


def versions() -> str:
    """One line: what runs here, on how many threads."""
    found = config()
    names = ("skbce", "scikit-learn", "numpy", "scipy", "Python")
    threads, level = found["threads"], found["instruction set"]
    return ", ".join(f"{name} {found[name]}" for name in names) + f"; skbce on {threads} threads, {level}"


def print_cross_validation(model: BCEMLPClassifier, X: np.ndarray, y: np.ndarray) -> None:
    started = time.perf_counter()
    found = cross_validate(make_pipeline(StandardScaler(), model), X, y, cv=_N_FOLDS, scoring=list(_SCORES.values()))
    seconds = time.perf_counter() - started
    print(f"\n{_N_FOLDS}-fold cross-validation, mean +- standard deviation over the folds ({seconds:.1f} s)")
    for name, score in _SCORES.items():
        values = found[f"test_{score}"] * (-1 if score.startswith("neg_") else 1)
        print(f"  {name:<24}{values.mean():.4f} +- {values.std():.4f}")


def timed_fits(models: Mapping, X: np.ndarray, y: np.ndarray) -> tuple[dict, dict]:
    """Seconds of each model's fit, the median of rounds taken in turn, and the fitted models."""
    seconds, fitted = {name: [] for name in models}, {}
    for _ in range(_N_ROUNDS):
        for name, model in models.items():
            fitted[name] = clone(model)
            started = time.perf_counter()
            fitted[name].fit(X, y)
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in seconds.items()}, fitted


def print_gradient_check(model: BCEMLPClassifier, X: np.ndarray, y: np.ndarray) -> None:
    rows = slice(_N_CHECKED_ROWS)
    check = check_gradients(model, X[rows], y[rows])
    n_parameters = sum(array.size for array in (*model.coefs_, *model.intercepts_))
    print(f"\nGradient by backpropagation against 4-point differences of the loss, {check.dtype}")
    print(f"  {n_parameters} parameters, on the first {_N_CHECKED_ROWS} standardised rows")
    print(f"  largest relative error  {check.largest:.1e}")


def print_comparison(seconds: Mapping[str, float], fitted: Mapping, X: np.ndarray) -> None:
    ours, theirs = fitted["skbce"], fitted["scikit-learn"]
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    identical = np.array_equal(ours.predict(X), theirs.predict(X))
    print("\nThe same fit by scikit-learn's MLPClassifier: same parameters, same random_state")
    print(f"  {'':<24}{'skbce':>16}{'scikit-learn':>16}")
    print(f"  {'epochs':<24}{ours.n_iter_:>16}{theirs.n_iter_:>16}")
    print(f"  {'final loss':<24}{ours.loss_:>16.12f}{theirs.loss_:>16.12f}")
    print(f"  {f'seconds, median of {_N_ROUNDS}':<24}{seconds['skbce']:>16.4f}{seconds['scikit-learn']:>16.4f}")
    print(f"  {'threads, at most':<24}{config()['threads']:>16}{max(pools, default='unknown'):>16}")
    print(f"  loss curves agree to    {agreeing_digits(ours.loss_curve_, theirs.loss_curve_)} digits")
    print(f"  predictions identical   {'yes' if identical else 'no'}")
    print(f"  scikit-learn took       {seconds['scikit-learn'] / seconds['skbce']:.1f} times as long")


def agreeing_digits(curve: Sequence[float], other: Sequence[float]) -> int:
    """Decimal digits to which two curves agree in every epoch that both have; at most 15."""
    n_epochs = min(len(curve), len(other))
    difference = np.abs(np.divide(curve[:n_epochs], other[:n_epochs]) - 1).max()
    return max(0, int(-np.log10(max(difference, np.finfo(float).eps))))


def chart(losses: Sequence[float], levels: str) -> str:
    """Bars as high as the logarithms of losses; `levels` are the characters of an empty to a full cell."""
    columns = np.log(losses)[np.linspace(0, len(losses) - 1, _CHART_WIDTH).round().astype(int)]
    low, high = columns.min(), columns.max()
    # The lowest bar is one cell high, or it would look like no bar.
    heights = 1 + (columns - low) / ((high - low) or 1.0) * (_CHART_HEIGHT - 1)
    lines = []
    for row in reversed(range(_CHART_HEIGHT)):
        filled = np.rint(np.clip(heights - row, 0, 1) * (len(levels) - 1)).astype(int)
        label = ""
        if row in (0, _CHART_HEIGHT // 2, _CHART_HEIGHT - 1):
            label = f"{np.exp(low + row / (_CHART_HEIGHT - 1) * (high - low)):.3g}"
        lines.append(f"{label:>9} |{''.join(levels[i] for i in filled)}".rstrip())
    lines.append(f"{'':>9} +{'-' * _CHART_WIDTH}")
    last = f"{len(losses)}"
    lines.append(f"{'epoch':>9}  1{last:>{_CHART_WIDTH - 1}}")
    return "\n".join(lines)


def _only_ascii() -> bool:
    """Whether standard output cannot carry the block characters."""
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
