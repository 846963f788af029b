"""ONNX models say what the estimators say, in onnxruntime."""

import importlib
import sys

import numpy as np
import pytest
from scipy.special import expit
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import skbce.onnx
from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder
from skbce._parameters import ACTIVATIONS

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Probabilities in float32: its rounding is 6e-8, and sums of tens of products in another order differ by a few.
FLOAT32 = 1e-6
# In float64 the rounding is 1e-16.
FLOAT64 = 1e-14

rng = np.random.default_rng(0)
X = 3 * rng.standard_normal((500, 6))
POSITIVE = X[:, 0] * X[:, 1] + X[:, 2] > 0
LABELS = {
    "str": np.where(POSITIVE, "yes", "no"),
    "str objects": np.where(POSITIVE, "yes", "nö").astype(object),
    "bool": POSITIVE,
    "int": np.where(POSITIVE, 7, -3),
    "uint8": POSITIVE.astype(np.uint8),
    "float": np.where(POSITIVE, 1.0, 0.0),
}


def network(*args, **parameters):
    return BCEMLPClassifier(*args, **{"max_iter": 10, "random_state": 0, **parameters})


def outcome(model, rows):
    """Labels and probabilities by onnxruntime."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (only,) = session.get_inputs()
    return session.run(["label", "probabilities"], {only.name: rows})


def assert_says_the_same(converted, model, rows, tolerance):
    labels, P = outcome(converted, rows)
    expected = model.predict_proba(rows)
    assert P.shape == expected.shape
    np.testing.assert_allclose(P, expected, rtol=0, atol=tolerance)
    # Rows on the border may go either way.
    clear = (np.abs(expected - 0.5) > tolerance).all(axis=1)
    assert clear.mean() > 0.9 or len(rows) < 10
    of_model = model.predict(rows)
    assert labels.shape == of_model.shape
    assert labels[clear].tolist() == of_model[clear].tolist()


@pytest.fixture
def skl2onnx():
    module = pytest.importorskip("skl2onnx")
    skbce.onnx.register()
    return module


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, FLOAT32), (np.float64, FLOAT64)])
def test_every_activation(activation, dtype, tolerance):
    if activation == "gelu":
        tolerance = FLOAT32  # its erf is in float32
    rows = X.astype(dtype)
    clf = network((30, 20), activation).fit(rows, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, rows, tolerance)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_far_from_zero(activation):
    """One unit that is passed on as it is: logits are f of -200 to 200."""
    Z = np.linspace(-200, 200, 801, dtype=np.float32)[:, None]
    clf = network((1,), activation).fit(Z, (Z > 0).ravel())
    clf.coefs_[0][...] = clf.coefs_[1][...] = 1
    clf.intercepts_[0][...] = clf.intercepts_[1][...] = 0
    # To float32's rounding of numbers below 1: of sigmoid(-50) too.
    _, P = outcome(clf.to_onnx(), Z)
    np.testing.assert_allclose(P, clf.predict_proba(Z), rtol=0, atol=3e-7)
    assert ((P > 0) & (P < 1)).all()


@pytest.mark.parametrize("sizes", [(), (5,), (8, 7, 6)])
@pytest.mark.parametrize("n_rows", [1, 2, 500])
def test_layers_and_rows_of_any_number(sizes, n_rows):
    rows = X.astype(np.float32)
    clf = network(sizes).fit(rows, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, rows[:n_rows], FLOAT32)


def test_an_activation_for_each_layer():
    rows = X.astype(np.float32)
    clf = network((9, 8, 7), ["mish", "tanh", "leaky_relu"], dropout=0.1).fit(rows, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, rows, FLOAT32)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_kind(labels):
    rows = X.astype(np.float32)
    clf = network((9,)).fit(rows, labels)
    assert_says_the_same(clf.to_onnx(), clf, rows, FLOAT32)


def test_multilabel_target():
    rows = X.astype(np.float32)
    clf = network((9,)).fit(rows, (X[:, :3] > 0).astype(int))
    converted = clf.to_onnx()
    assert outcome(converted, rows)[0].dtype == np.int64
    labels, P = outcome(converted, rows)
    np.testing.assert_allclose(P, clf.predict_proba(rows), rtol=0, atol=FLOAT32)
    clear = np.abs(P - 0.5) > FLOAT32
    assert (labels[clear] == clf.predict(rows)[clear]).all()


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_every_solver(solver):
    clf = network((9,), solver=solver).fit(X, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, X, FLOAT64)


def test_model_is_checked_and_names_its_version():
    model = network((4,)).fit(X, POSITIVE).to_onnx()
    onnx.checker.check_model(model, full_check=True)
    assert (model.producer_name, model.producer_version) == ("skbce", skbce.__version__)
    assert model.opset_import[0].version == 17


@pytest.mark.parametrize(
    "labels",
    [np.where(POSITIVE, np.uint64(2**63 + 1), np.uint64(1)), np.where(POSITIVE, 1e300, 0)],
    ids=["uint64", "float"],
)
def test_labels_that_onnx_does_not_have_are_an_error(labels):
    clf = network((4,)).fit(X, POSITIVE)
    clf.classes_ = np.unique(labels)
    with pytest.raises(ValueError, match="integers of 64 bits or texts"):
        clf.to_onnx()


def test_unfitted_model_is_an_error():
    with pytest.raises(ValueError, match="not fitted"):
        network().to_onnx()


@pytest.mark.parametrize(("missing", "call"), [("onnx", "to_onnx"), ("skl2onnx", "register")])
def test_missing_package_is_named_with_the_command(monkeypatch, missing, call):
    clf = network((4,)).fit(X, POSITIVE)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"not installed: .*skbce\[onnx\]"):
        clf.to_onnx() if call == "to_onnx" else skbce.onnx.register()


# Ensembles and encoders.


def gappy():
    """Columns with gaps, of two values, constant, of many scales, and far out."""
    table = np.column_stack((X, np.ones(len(X)), X[:, 0] > 1, X[:, 1] > 2, 20240000 + 100 * X[:, 3]))
    table[::7, 1] = table[::5, 8] = np.nan
    table[3, 2] = 1e290
    return table


@pytest.mark.parametrize("calibration", [None, "temperature"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ensemble(calibration, dtype):
    rows = X.astype(dtype)
    clf = BCEMLPEnsembleClassifier(network((9,)), 3, calibration=calibration, random_state=0).fit(rows, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, rows, FLOAT32 if dtype == np.float32 else FLOAT64)


@pytest.mark.parametrize(
    "encoders",
    [
        [PiecewiseLinearEncoder(4), PiecewiseLinearEncoder(20, include_value=False)],
        make_pipeline(PiecewiseLinearEncoder(4))[0],
    ],
    ids=["two", "one"],
)
def test_ensemble_with_encoders_and_missing_values(encoders):
    rows = gappy()
    clf = BCEMLPEnsembleClassifier(network((9,)), 3, encoders=encoders, random_state=0).fit(rows, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, rows, FLOAT32)


@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("with_std", [True, False])
def test_ensemble_with_a_scaler(with_mean, with_std):
    scaler = StandardScaler(with_mean=with_mean, with_std=with_std)
    clf = BCEMLPEnsembleClassifier(network((9,)), 3, encoders=scaler, random_state=0).fit(X, POSITIVE)
    assert_says_the_same(clf.to_onnx(), clf, X, FLOAT64)


def test_another_encoder_is_named():
    clf = BCEMLPEnsembleClassifier(network((4,)), 2, encoders=MinMaxScaler(), random_state=0).fit(X, POSITIVE)
    with pytest.raises(ValueError, match="MinMaxScaler among the encoders is not converted"):
        clf.to_onnx()


# Pipelines, by skl2onnx.


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pipeline_with_a_scaler(skl2onnx, labels, dtype):
    rows = X.astype(dtype)
    model = make_pipeline(StandardScaler(), network((20,), "gelu")).fit(rows, labels)
    converted = skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False})
    # skl2onnx scales in float32 where X is; the network then sees numbers that are a rounding apart.
    assert_says_the_same(converted, model, rows, FLOAT32)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_pipeline_with_every_activation(skl2onnx, activation):
    rows = X.astype(np.float32)
    model = make_pipeline(StandardScaler(), network((20, 10), activation)).fit(rows, POSITIVE)
    assert_says_the_same(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), model, rows, FLOAT32)


def test_pipeline_with_a_multilabel_target(skl2onnx):
    rows = X.astype(np.float32)
    model = make_pipeline(StandardScaler(), network((9,))).fit(rows, (X[:, :3] > 0).astype(int))
    labels, P = outcome(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), rows)
    np.testing.assert_allclose(P, model.predict_proba(rows), rtol=0, atol=FLOAT32)
    clear = np.abs(P - 0.5) > FLOAT32
    assert (labels[clear] == model.predict(rows)[clear]).all()


def test_pipeline_with_an_encoder(skl2onnx):
    rows = gappy()
    model = make_pipeline(PiecewiseLinearEncoder(5), network((9,))).fit(rows, POSITIVE)
    assert_says_the_same(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), model, rows, FLOAT32)


def test_pipeline_with_an_ensemble(skl2onnx):
    rows = X.astype(np.float32)
    ensemble = BCEMLPEnsembleClassifier(network((9,)), 3, random_state=0)
    model = make_pipeline(StandardScaler(), ensemble).fit(rows, LABELS["str"])
    assert_says_the_same(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), model, rows, FLOAT32)


@pytest.mark.parametrize("labels", [LABELS["str"], LABELS["int"], LABELS["bool"]], ids=["str", "int", "bool"])
def test_probabilities_by_label_as_other_classifiers_give_them(skl2onnx, labels):
    rows = X.astype(np.float32)

    def maps(model):
        converted = skl2onnx.to_onnx(model.fit(rows, labels), rows[:1])
        session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
        return [one.name for one in session.get_outputs()], session.run(None, {session.get_inputs()[0].name: rows[:3]})

    clf = network((9,))
    names, (found, of_labels) = maps(clf)
    other_names, (_, of_other) = maps(GradientBoostingClassifier(n_estimators=2))
    assert names == other_names
    assert [list(one) for one in of_labels] == [list(one) for one in of_other]
    assert found.tolist() == clf.predict(rows[:3]).tolist()
    np.testing.assert_allclose(
        [list(one.values()) for one in of_labels], clf.predict_proba(rows[:3]), rtol=0, atol=FLOAT32
    )


def test_numbers_of_classes_instead_of_labels(skl2onnx):
    rows = X.astype(np.float32)
    clf = network((9,)).fit(rows, LABELS["str"])
    converted = skl2onnx.to_onnx(clf, rows[:1], options={"zipmap": False, "nocl": True})
    assert outcome(converted, rows[:5])[0].tolist() == (clf.predict(rows[:5]) == "yes").astype(int).tolist()


def test_model_of_one_precision_with_rows_of_another(skl2onnx):
    clf = network((9,)).fit(X, POSITIVE)
    rows = X.astype(np.float32)
    converted = skl2onnx.to_onnx(clf, rows[:1], options={"zipmap": False})
    _, P = outcome(converted, rows)
    np.testing.assert_allclose(P, clf.predict_proba(X), rtol=0, atol=FLOAT32)


def test_registering_twice_changes_nothing(skl2onnx):
    importlib.reload(skbce.onnx).register()
    clf = network((4,)).fit(X, POSITIVE)
    assert skl2onnx.to_onnx(clf, X[:1]).graph.node


def test_small_probabilities_are_right_to_their_digits():
    Z = np.array([[-80.0], [-40.0], [-5.0]], dtype=np.float32)
    clf = network(()).fit(Z, [0, 0, 1])
    clf.coefs_[0][...], clf.intercepts_[0][...] = 1, 0
    _, P = outcome(clf.to_onnx(), Z)
    # exp in float32, of numbers that are exact in it.
    np.testing.assert_allclose(P[:, 1], expit(Z.ravel().astype(float)), rtol=1e-5)
