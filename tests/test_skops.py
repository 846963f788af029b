"""skops: our classes are all that has to be trusted in what it reads."""

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbce import BCEMLPClassifier, PiecewiseLinearEncoder, make_tabular_classifier

skops_io = pytest.importorskip("skops.io")

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CLASSIFIER = "skbce.classifier.BCEMLPClassifier"
ENSEMBLE = "skbce.ensemble.BCEMLPEnsembleClassifier"
ENCODER = "skbce.encoder.PiecewiseLinearEncoder"
TABLE = ["skbce.tabular.TableEncoder", "skbce.tabular._Levels"]

X = np.random.default_rng(0).standard_normal((80, 4))
Y = (X[:, :2] > 0).astype(int)
FRAME = pd.DataFrame({"age": [23.5, 35, None, 51] * 20, "town": ["Bonn", "Ulm", "Ulm", None] * 20})


def network(**parameters):
    return BCEMLPClassifier(**{"hidden_layer_sizes": (4, 3), "max_iter": 3, "random_state": 0, **parameters})


CASES = {
    "adam": (network(), X, np.where(Y[:, 0], "yes", "no"), [CLASSIFIER]),
    "lbfgs": (network(solver="lbfgs", dtype="float32"), X, Y[:, 0], [CLASSIFIER]),
    "multilabel": (network(early_stopping=True, scoring="loss"), X, Y, [CLASSIFIER]),
    "pipeline": (make_pipeline(StandardScaler(), network()), X, Y[:, 0].astype(bool), [CLASSIFIER]),
    "encoder": (make_pipeline(PiecewiseLinearEncoder(4), network()), X, Y[:, 0], [CLASSIFIER, ENCODER]),
    "tabular": (
        make_tabular_classifier(estimator=network(scoring="loss"), n_estimators=2, random_state=0),
        FRAME,
        Y[:, 0],
        [CLASSIFIER, ENSEMBLE, ENCODER, *TABLE],
    ),
}


@pytest.mark.parametrize(("model", "rows", "y", "ours"), CASES.values(), ids=CASES)
def test_model_comes_back_where_our_classes_alone_are_trusted(model, rows, y, ours):
    data = skops_io.dumps(model.fit(rows, y))
    assert set(skops_io.get_untrusted_types(data=data)) == set(ours)
    loaded = skops_io.loads(data, trusted=ours)
    for method in ("predict", "predict_proba"):
        np.testing.assert_array_equal(getattr(loaded, method)(rows), getattr(model, method)(rows))


@pytest.mark.parametrize("parameters", [{}, {"solver": "sgd", "learning_rate": "adaptive"}], ids=["adam", "sgd"])
def test_model_goes_on_as_it_would_have(parameters):
    model = network(**parameters).partial_fit(X, Y[:, 0], classes=[0, 1])
    loaded = skops_io.loads(skops_io.dumps(model), trusted=[CLASSIFIER])
    for one in (model, loaded):
        one.partial_fit(X, Y[:, 0])
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.loss_curve_ == model.loss_curve_
