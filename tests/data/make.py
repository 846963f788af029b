"""Write the model files that later versions must load: `python tests/data/make.py NAME`, NAME being the version's.

Files that are there stay as they are. Beside each is what its model said when it was written.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbce

FOLDER = Path(__file__).parent


def numbers():
    """A table whose columns tell of the target."""
    return np.random.default_rng(0).standard_normal((60, 4)).round(3)


def frame():
    """Numbers with gaps, and texts."""
    ages = [23.5, 35.0, None, 51.0, 47.0, 19.0]
    return pd.DataFrame({"age": ages * 10, "town": ["Bonn", "Ulm", "Ulm", None] * 15, "paid": [True, False] * 30})


def models():
    """A name, a model that is fitted, and rows to ask it for."""
    X, X_frame = numbers(), frame()
    y = np.where(X[:, 0] + 0.5 * X[:, 1] > 0, "yes", "no")
    small = {"max_iter": 10, "batch_size": 16, "random_state": 0}
    yield "adam_float64", skbce.BCEMLPClassifier((5, 3), **small).fit(X, y), X
    yield (
        "early_stopping_float32",
        skbce.BCEMLPClassifier(
            (6, 4), ["mish", "selu"], dtype="float32", early_stopping=True, scoring="loss", class_weight={0: 2.0},
            validation_fraction=0.2, n_iter_no_change=np.inf, dropout=(0.1, 0.0), learning_rate="cosine", **small
        ).fit(pd.DataFrame(X, columns=list("abcd")), (y == "yes").astype(int)),
        pd.DataFrame(X, columns=list("abcd")),
    )  # fmt: skip
    yield "lbfgs_multilabel", skbce.BCEMLPClassifier((3,), solver="lbfgs", max_iter=20).fit(X, (X > 0.3).astype(int)), X
    generator = np.random.RandomState(0)
    sgd = skbce.BCEMLPClassifier((), solver="sgd", **{**small, "random_state": generator})
    yield "scaler_sgd", make_pipeline(StandardScaler(), sgd).fit(X, y == "yes"), X
    yield "encoder", skbce.PiecewiseLinearEncoder(5).fit(np.where(X > 1.5, np.nan, X)), X
    member = skbce.BCEMLPClassifier((3,), scoring="loss", dtype="float32", **small)
    overrides = {"estimator": member, "n_estimators": 2, "calibration": "temperature", "random_state": 1}
    yield "tabular", skbce.make_tabular_classifier(**overrides).fit(X_frame, y), X_frame


def main(version):
    """Write what is not there."""
    for name, model, X in models():
        path = FOLDER / f"{version}_{name}.safetensors"
        if path.exists():
            continue
        skbce.save(model, path)
        methods = ("predict", "predict_proba") if hasattr(model, "predict") else ("transform",)
        said = {method: np.asarray(getattr(model, method)(X[:20])).tolist() for method in methods}
        rows = json.loads(X[:20].to_json()) if isinstance(X, pd.DataFrame) else X[:20].tolist()
        path.with_suffix(".json").write_text(json.dumps({"X": rows, **said}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1])
