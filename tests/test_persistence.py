"""Pickles, files and copies: the same model, that trains on as the original would, and nothing besides."""

import copy
import io
import pickle
import warnings

import cloudpickle
import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import skbce
from skbce import BCEMLPClassifier

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd"},
    "sgd without momentum": {"solver": "sgd", "momentum": 0, "nesterovs_momentum": False},
    "sgd invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    # No epoch improves the loss by 1, so that the learning rate falls every second epoch.
    "sgd adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 1},
}


def classifier(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (9, 5), "max_iter": 6, "batch_size": 32, "random_state": 0, **parameters}
    )


def table(dtype=np.float64, n_rows=120, n_features=6):
    X = np.random.default_rng(0).standard_normal((n_rows, n_features)).astype(dtype)
    return X, np.where(X[:, 0] - X[:, 1] > 0.1, "yes", "no")


def through_pickle(protocol):
    return lambda clf, path: pickle.loads(pickle.dumps(clf, protocol))


def through_out_of_band_pickle(clf, path):
    buffers = []
    data = pickle.dumps(clf, 5, buffer_callback=buffers.append)
    return pickle.loads(data, buffers=[bytes(buffer.raw()) for buffer in buffers])


def through_joblib(**options):
    def trip(clf, path):
        joblib.dump(clf, path / "clf.joblib", compress=options.get("compress", 0))
        return joblib.load(path / "clf.joblib", mmap_mode=options.get("mmap_mode"))

    return trip


def through_file(clf, path):
    pytest.importorskip("safetensors")
    clf.save(path / "clf.safetensors")
    return skbce.load(path / "clf.safetensors")


ROUND_TRIPS = {
    **{f"pickle {protocol}": through_pickle(protocol) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)},
    "pickle out of band": through_out_of_band_pickle,
    "cloudpickle": lambda clf, path: cloudpickle.loads(cloudpickle.dumps(clf)),
    "save": through_file,
    "joblib": through_joblib(),
    "joblib compressed": through_joblib(compress=3),
    "joblib mapped": through_joblib(mmap_mode="r"),
    "deepcopy": lambda clf, path: copy.deepcopy(clf),
    "copy": lambda clf, path: copy.copy(clf),
}
every_round_trip = pytest.mark.parametrize("round_trip", ROUND_TRIPS.values(), ids=ROUND_TRIPS)
every_solver = pytest.mark.parametrize("parameters", SOLVERS.values(), ids=SOLVERS)


def assert_same_model(clf, expected):
    """Every attribute, parameters and private ones too, to the last bit."""
    assert vars(clf).keys() == vars(expected).keys()
    for name, value in vars(expected).items():
        if name == "random_state" and isinstance(value, np.random.RandomState):
            continue
        assert_same_value(vars(clf)[name], value)


def assert_same_value(value, expected):
    if isinstance(expected, list):
        for item, reference in zip(value, expected, strict=True):
            assert_same_value(item, reference)
    elif isinstance(expected, np.ndarray):
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)
    else:
        assert value == expected
        assert type(value) is type(expected)


@every_round_trip
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "parameters",
    [{}, {"solver": "lbfgs"}, {"early_stopping": True}, {"activation": ["gelu", "relu"]}],
    ids=["adam", "lbfgs", "early stopping", "activations"],
)
def test_model_is_the_same_after_a_round_trip(tmp_path, round_trip, dtype, parameters):
    X, y = table(dtype)
    clf = classifier(**parameters).fit(X, y)
    restored = round_trip(clf, tmp_path)
    assert_same_model(restored, clf)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(restored, method)(X), getattr(clf, method)(X))


@every_round_trip
def test_multilabel_model_is_the_same_after_a_round_trip(tmp_path, round_trip):
    X, _ = table()
    clf = classifier().fit(X, sp.csr_matrix(X[:, :3] > 0).astype(int))
    restored = round_trip(clf, tmp_path)
    assert_same_model(restored, clf)
    assert sp.issparse(restored.predict(X))
    np.testing.assert_array_equal(restored.predict(X).toarray(), clf.predict(X).toarray())


@every_round_trip
def test_unfitted_estimator_stays_unfitted_after_a_round_trip(tmp_path, round_trip):
    X, y = table()
    restored = round_trip(classifier(alpha=0.5), tmp_path)
    assert restored.get_params() == classifier(alpha=0.5).get_params()
    with pytest.raises(NotFittedError):
        restored.predict(X)
    assert_same_model(restored.fit(X, y), classifier(alpha=0.5).fit(X, y))


@every_round_trip
@every_solver
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_partial_fit_goes_on_after_a_round_trip_as_it_would_have(tmp_path, round_trip, parameters, dtype):
    X, y = table(dtype)
    uninterrupted = classifier(**parameters)
    for _ in range(4):
        uninterrupted.partial_fit(X, y, classes=["no", "yes"])
    restored = round_trip(uninterrupted, tmp_path)
    for _ in range(3):
        uninterrupted.partial_fit(X, y)
        restored.partial_fit(X, y)
    assert_same_model(restored, uninterrupted)


@every_round_trip
@pytest.mark.parametrize(
    "parameters",
    [*SOLVERS.values(), {"solver": "lbfgs"}, {"early_stopping": True, "validation_fraction": 0.2}],
    ids=[*SOLVERS, "lbfgs", "early stopping"],
)
def test_warm_start_goes_on_after_a_round_trip_as_it_would_have(tmp_path, round_trip, parameters):
    X, y = table()
    uninterrupted = classifier(warm_start=True, **parameters).fit(X, y)
    restored = round_trip(uninterrupted, tmp_path).fit(X, y)
    assert_same_model(restored, uninterrupted.fit(X, y))


@pytest.mark.parametrize(
    "round_trip", [through_pickle(5), ROUND_TRIPS["deepcopy"], through_file], ids=["pickle", "deepcopy", "save"]
)
def test_generator_goes_on_after_a_round_trip_where_it_was(tmp_path, round_trip):
    X, y = table()
    uninterrupted = classifier(random_state=np.random.RandomState(3), warm_start=True).fit(X, y)
    restored = round_trip(uninterrupted, tmp_path).fit(X, y)
    assert_same_model(restored, uninterrupted.fit(X, y))


@every_round_trip
@every_solver
def test_training_a_copy_leaves_the_original_alone(tmp_path, round_trip, parameters):
    X, y = table()
    clf = classifier(**parameters).fit(X, y)
    before = copy.deepcopy(clf)
    round_trip(clf, tmp_path).partial_fit(X[::-1], y)
    assert_same_model(clf, before)


def test_parameters_of_an_unpickled_model_may_be_edited_in_place():
    X, y = table()
    clf = pickle.loads(pickle.dumps(classifier().fit(X, y)))
    before = clf.decision_function(X)
    clf.intercepts_[-1] += 1
    # One rounding of logits around 1 in the sum, and one in the difference.
    np.testing.assert_allclose(clf.decision_function(X) - before, 1, rtol=0, atol=1e-14)


def test_clone_is_unfitted_and_has_the_parameters():
    X, y = table()
    clf = classifier(alpha=0.5, hidden_layer_sizes=[4, 2]).fit(X, y)
    cloned = clone(clf)
    assert vars(cloned).keys() == cloned.get_params().keys()
    assert cloned.get_params() == clf.get_params()
    assert_same_model(cloned.fit(X, y), clf)


def plain(value):
    if isinstance(value, (list, tuple)):
        return all(plain(item) for item in value)
    if isinstance(value, np.ndarray):
        return value.dtype != object
    return value is None or type(value) in (bool, int, float, str)


@pytest.mark.parametrize(
    "parameters",
    [*SOLVERS.values(), {"solver": "lbfgs"}, {"early_stopping": True}],
    ids=[*SOLVERS, "lbfgs", "early stopping"],
)
@pytest.mark.parametrize("target", ["binary", "multilabel", "sparse multilabel"])
def test_attributes_are_plain_values(parameters, target):
    X, y = table()
    Y = (X[:, :3] > 0).astype(int)
    y = {"binary": y, "multilabel": Y, "sparse multilabel": sp.csr_matrix(Y)}[target]
    clf = classifier(**parameters).fit(X, y, sample_weight=np.ones(len(X)))
    assert [name for name, value in vars(clf).items() if not plain(value)] == []
    if clf.solver != "lbfgs" and not clf.early_stopping:
        clf.partial_fit(X, y)
        assert [name for name, value in vars(clf).items() if not plain(value)] == []


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("parameters", "copies"),
    [
        ({"solver": "adam"}, 3),
        ({"solver": "sgd"}, 2),
        ({"solver": "lbfgs"}, 1),
        ({"solver": "adam", "early_stopping": True}, 1),
        ({"solver": "sgd", "early_stopping": True}, 1),
    ],
    ids=["adam, two moments", "sgd, the velocity", "lbfgs", "adam, early stopping", "sgd, early stopping"],
)
@pytest.mark.parametrize("method", ["pickle", "joblib"])
def test_pickle_has_the_size_of_the_parameters_and_moments(method, parameters, copies, dtype):
    X, y = table(dtype, n_rows=5000, n_features=20)
    clf = classifier(hidden_layer_sizes=(60, 30), max_iter=3, batch_size=500, **parameters).fit(X, y)
    parameter_bytes = sum(array.nbytes for array in [*clf.coefs_, *clf.intercepts_])
    buffer = io.BytesIO()
    pickle.dump(clf, buffer) if method == "pickle" else joblib.dump(clf, buffer)
    # Everything else, names and settings above all, takes some 1.3 kB, and joblib heads each array with 0.2 kB;
    # one copy of the parameters has 12 or 25 kB, and X 400 or 800.
    assert copies * parameter_bytes < buffer.tell() < copies * parameter_bytes + 5000
    buffer.seek(0)
    restored = pickle.load(buffer) if method == "pickle" else joblib.load(buffer)
    assert len(pickle.dumps(restored)) == len(pickle.dumps(clf))


def test_moments_of_an_earlier_fit_are_dropped_by_lbfgs():
    X, y = table()
    clf = classifier().fit(X, y).set_params(solver="lbfgs").fit(X, y)
    never_had_any = classifier(solver="lbfgs").fit(X, y)
    # The moments have 1.9 kB. The loss curve of the earlier fit, 6 epochs, may be left.
    assert len(pickle.dumps(clf)) < len(pickle.dumps(never_had_any)) + 500


def test_pickle_of_another_version_warns_and_is_read(monkeypatch):
    X, y = table()
    clf = classifier().fit(X, y)
    with monkeypatch.context() as patch:
        patch.setattr("skbce.classifier.__version__", "0.0.1")
        data = pickle.dumps(clf)
    with pytest.warns(UserWarning, match=rf"pickled by skbce 0\.0\.1 and is read by {skbce.__version__}"):
        restored = pickle.loads(data)
    assert_same_model(restored, clf)


def test_state_without_a_version_warns():
    X, y = table()
    clf = classifier().fit(X, y)
    state = clf.__getstate__()
    assert state.pop("_skbce_version") == skbce.__version__
    restored = BCEMLPClassifier.__new__(BCEMLPClassifier)
    with pytest.warns(UserWarning, match="pickled by skbce unknown"):
        restored.__setstate__(state)
    np.testing.assert_array_equal(restored.predict_proba(X), clf.predict_proba(X))


@every_round_trip
def test_round_trip_in_the_same_version_does_not_warn(tmp_path, round_trip):
    X, y = table()
    clf = classifier().fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = round_trip(clf, tmp_path)
    assert "_skbce_version" not in vars(restored)
