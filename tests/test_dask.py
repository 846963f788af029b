"""The same model on a Dask cluster: exact where it says so, the same bits on any workers, and a word for each fault."""

import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import InvalidParameterError

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, _threads
from skbce.kernels import doors
from tests.model_checks import assert_same_bits, parameters_of

pytest.importorskip("dask.array", reason="the extra dask is not installed")
distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")

import dask.array as da  # noqa: E402
import dask.dataframe as dd  # noqa: E402
import pandas as pd  # noqa: E402
from distributed import Client, LocalCluster  # noqa: E402

import skbce.dask.cluster  # noqa: E402
from skbce.dask import ClusterError, DaskBCEMLPClassifier  # noqa: E402
from skbce.dask.cluster import Cluster  # noqa: E402
from skbce.dask.sums import nodes_of, total_of  # noqa: E402

pytestmark = [
    # Most fits here end after a few steps.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# Sums over rows in another order: the sum of a gradient rounds by some ulps, which a few steps carry on.
TOLERANCE = {np.float64: 1e-9, np.float32: 2e-3}


@contextmanager
def running(**options):
    options = {"dashboard_address": ":0", "threads_per_worker": 1, **options}
    with LocalCluster(**options) as cluster, Client(cluster, set_as_default=False) as client:
        yield client
        if not options["processes"]:
            client.run(close_own_client)


async def close_own_client(dask_worker):
    """A worker's client, which joblib starts for calls within calls: in this process it would outlive the cluster."""
    if dask_worker._client is not None:
        await dask_worker._client.close()


@pytest.fixture(scope="module", params=[1, 2, 3], ids="{} workers".format)
def some_workers(request):
    with running(n_workers=request.param, processes=False) as client:
        yield client


@pytest.fixture(scope="module")
def two_workers():
    with running(n_workers=2, processes=False) as client:
        yield client


@pytest.fixture
def client(two_workers):
    """The current client, of two workers in this process."""
    with two_workers.as_current():
        yield two_workers


@pytest.fixture(scope="module")
def processes():
    """Two workers that are processes, each under a nanny that starts it again."""
    with running(n_workers=2, processes=True) as client:
        yield client


def table(n_rows=600, n_features=6, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features))
    y = (X[:, 0] * X[:, 1] + X[:, 2] + 0.5 * rng.standard_normal(n_rows) > 0).astype(int)
    return X.astype(dtype), y


def cut(array, *bounds):
    """A dask array of the rows between these bounds, as partitions."""
    rows = tuple(np.diff([0, *bounds, len(array)]).tolist())
    return da.from_array(array, chunks=(rows, *array.shape[1:]))


def cut_sparse(X, *bounds):
    return cut(X, *bounds).map_blocks(sp.csr_matrix)


BOUNDS = {1: (), 2: (250,), 3: (100, 430)}

CASES = {
    "float64": {},
    "float32": {"dtype": np.float32},
    "CSR": {"sparse": True},
    "weights": {"weighted": True},
    "class weights": {"class_weight": {0: 1.0, 1: 2.5}},
    "balanced, weights": {"class_weight": "balanced", "weighted": True},
    "L2": {"alpha": 5.0},
    "multilabel": {"multilabel": True},
    "multilabel, balanced": {"multilabel": True, "class_weight": "balanced"},
}
EXACT = {
    "lbfgs": {"solver": "lbfgs", "max_iter": 8},
    "sgd": {"solver": "sgd", "max_iter": 8, "batch_size": 10**6, "learning_rate_init": 0.3},
    "sgd, decay, clipping, schedule": {
        "solver": "sgd", "max_iter": 8, "batch_size": 10**6, "learning_rate_init": 0.3, "weight_decay": 0.05,
        "max_grad_norm": 0.2, "learning_rate": "cosine", "nesterovs_momentum": False,
    },
    "adam": {"solver": "adam", "max_iter": 8, "batch_size": 10**6, "learning_rate_init": 0.02},
}  # fmt: skip


def fitted_alone(X, y, weight=None, **parameters):
    parameters = {**parameters, "batch_size": min(parameters.get("batch_size", 200), X.shape[0])}
    return BCEMLPClassifier(**{"hidden_layer_sizes": (8, 5), "random_state": 0, **parameters}).fit(X, y, weight)


def on_cluster(**parameters):
    return DaskBCEMLPClassifier(**{"hidden_layer_sizes": (8, 5), "random_state": 0, **parameters})


def assert_close(clf, expected, rtol):
    for array, reference in zip(parameters_of(clf), parameters_of(expected), strict=True):
        assert array.dtype == reference.dtype
        np.testing.assert_allclose(array, reference, rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("solver", "case", "n_parts"),
    [(solver, case, n_parts) for solver in ("lbfgs", "sgd") for case in CASES for n_parts in (2, 3)]
    + [
        (solver, "weights", n_parts)
        for solver in EXACT
        for n_parts in BOUNDS
        if n_parts == 1 or solver not in ("lbfgs", "sgd")
    ],
)
def test_partitions_give_the_model_of_all_rows_together(client, solver, case, n_parts):
    options = dict(CASES[case])
    dtype, weighted = options.pop("dtype", np.float64), options.pop("weighted", False)
    sparse, multilabel = options.pop("sparse", False), options.pop("multilabel", False)
    X, y = table(dtype=dtype)
    X = np.where(np.abs(X) < 1, 0, X) if sparse else X
    y = np.column_stack([y, X[:, 1] > 0.3, X[:, 3] > 0]).astype(int) if multilabel else y
    weight = np.random.default_rng(1).uniform(0, 3, len(X)) if weighted else None
    parameters = {**EXACT[solver], **options}
    expected = fitted_alone(sp.csr_matrix(X) if sparse else X, y, weight, **parameters)
    bounds = BOUNDS[n_parts]
    parts = cut_sparse(X, *bounds) if sparse else cut(X, *bounds), cut(y, *bounds)
    clf = on_cluster(**parameters).fit(*parts, None if weight is None else cut(weight, *bounds))
    assert_close(clf, expected, TOLERANCE[dtype])
    assert clf.n_iter_ == expected.n_iter_
    assert clf.loss_ == pytest.approx(expected.loss_, rel=1e-4 if dtype == np.float32 else 1e-9)
    np.testing.assert_array_equal(clf.classes_, expected.classes_)


def test_converged_regression_is_that_of_one_machine(client):
    X, y = table()
    parameters = {"hidden_layer_sizes": (), "solver": "lbfgs", "tol": 1e-7, "max_iter": 200, "alpha": 0.1}
    clf = on_cluster(**parameters).fit(cut(X, 100, 430), cut(y, 100, 430))
    # A convex cost: both end where the gradient is below tol, whatever the way.
    assert_close(clf, fitted_alone(X, y, **parameters), 1e-4)


def test_large_network_is_trained_without_a_warning(client):
    X, y = table(n_rows=60)
    # 11 MB of parameters; Dask warns of 10.
    clf = on_cluster(hidden_layer_sizes=(1300, 1050), solver="sgd", batch_size=60, max_iter=1).fit(
        cut(X, 20), cut(y, 20)
    )
    assert sum(array.nbytes for array in parameters_of(clf)) > 10 * 2**20


MANY = (1, 40, 41, 200, 333, 590)
TRAININGS = {
    **EXACT,
    "averaged adam": {"solver": "adam", "max_iter": 4, "batch_size": 16, "dropout": 0.2},
    "averaged sgd": {"solver": "sgd", "max_iter": 4, "batch_size": 16, "sync_every": 2, "learning_rate": "adaptive"},
}
_first_bits: dict = {}


@pytest.mark.parametrize("training", TRAININGS)
def test_bits_are_the_same_for_any_number_of_workers(some_workers, training):
    X, y = table()
    clf = on_cluster(**TRAININGS[training], client=some_workers).fit(cut(X, *MANY), cut(y, *MANY))
    assert_same_bits(parameters_of(clf), _first_bits.setdefault(training, parameters_of(clf)))


@pytest.mark.parametrize("placement", ["neighbours", "in turn", "all on one"])
def test_bits_are_the_same_wherever_partitions_lie(client, placement):
    X, y = table()
    addresses = sorted(client.nthreads())
    first, last = addresses
    places = {"neighbours": [first] * 4 + [last] * 3, "in turn": [first, last] * 3 + [first], "all on one": [last] * 7}
    where = places[placement]
    parts = [
        client.persist(part, workers=[where[k]], allow_other_workers=False)
        for k, part in enumerate(np.split(X, MANY))
        for part in [da.from_array(part, chunks=part.shape)]
    ]
    distributed.wait(parts)
    clf = on_cluster(**EXACT["lbfgs"]).fit(da.concatenate(parts), cut(y, *MANY))
    expected = on_cluster(**EXACT["lbfgs"]).fit(cut(X, *MANY), cut(y, *MANY))
    assert_same_bits(parameters_of(clf), parameters_of(expected))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("sync_every", [None, 1, 4])
def test_averages_over_one_partition_are_the_steps_of_one_machine(client, solver, sync_every):
    X, y = table()
    parameters = {"solver": solver, "batch_size": 50, "shuffle": False, "max_iter": 5, "alpha": 0.1}
    clf = on_cluster(**parameters, sync_every=sync_every).fit(cut(X), cut(y))
    expected = fitted_alone(X, y, **parameters)
    # The mean is rows x theta / rows, which rounds once.
    assert_close(clf, expected, 1e-12)
    np.testing.assert_allclose(clf.loss_curve_, expected.loss_curve_, rtol=1e-12)
    assert clf.t_ == expected.t_


def test_averaging_each_plain_step_is_stepping_along_the_mean_gradient(client):
    X, y = table(n_rows=90)
    parameters = {
        "solver": "sgd", "momentum": 0.0, "shuffle": False, "alpha": 0.0, "max_iter": 3, "learning_rate_init": 0.5,
    }  # fmt: skip
    clf = on_cluster(batch_size=10, sync_every=1, **parameters).fit(cut(X, 30, 60), cut(y, 30, 60))
    # Batch k of one machine is made of batch k of each of the partitions.
    order = np.arange(90).reshape(3, 3, 10).transpose(1, 0, 2).ravel()
    assert_close(clf, fitted_alone(X[order], y[order], batch_size=30, **parameters), 1e-12)


def test_averages_are_weighted_by_rows(client):
    X, y = table(n_rows=120)
    parameters = {"solver": "sgd", "shuffle": False, "max_iter": 1, "batch_size": 10}
    clf = on_cluster(**parameters).fit(cut(X, 90), cut(y, 90))
    start = BCEMLPClassifier((8, 5), random_state=0, solver="sgd", max_iter=1, learning_rate_init=1e-300).fit(X, y)
    ends = []
    for rows in (slice(0, 90), slice(90, None)):
        alone = BCEMLPClassifier((8, 5), random_state=0, warm_start=True, **parameters)
        vars(alone).update(vars(clone(start).fit(X, y)))
        alone.set_params(**clf.to_local().get_params()).set_params(warm_start=True)
        ends.append(parameters_of(alone.fit(X[rows], y[rows])))
    mean = [0.75 * one + 0.25 * other for one, other in zip(*ends, strict=True)]
    for array, expected in zip(parameters_of(clf), mean, strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-12, atol=1e-14)


def test_averaging_learns_a_table(client):
    X, y = table(n_rows=3000)
    parameters = {"hidden_layer_sizes": (20,), "max_iter": 60, "learning_rate_init": 0.01}
    clf = on_cluster(**parameters, sync_every=2).fit(cut(X, 1000, 2000), cut(y, 1000, 2000))
    assert clf.score(cut(X, 1000, 2000), cut(y, 1000, 2000)) > 0.85


@pytest.mark.parametrize("scoring", [None, "loss"])
def test_early_stopping_watches_a_validation_array_as_one_machine_does(client, scoring):
    X, y = table()
    X_val, y_val = table(n_rows=200, seed=1)
    weight = np.random.default_rng(2).uniform(0, 3, 200)
    parameters = {
        "solver": "sgd", "batch_size": 600, "learning_rate_init": 0.5, "max_iter": 40, "early_stopping": True,
        "scoring": scoring, "n_iter_no_change": 5,
    }  # fmt: skip
    alone = BCEMLPClassifier((8, 5), random_state=0, **parameters)
    alone.fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    validation = {"X_val": cut(X_val, 60), "y_val": cut(y_val, 60), "sample_weight_val": cut(weight, 60)}
    clf = on_cluster(**parameters).fit(cut(X, 100), cut(y, 100), **validation)
    np.testing.assert_allclose(clf.validation_scores_, alone.validation_scores_, rtol=1e-9)
    np.testing.assert_allclose(clf.validation_loss_curve_, alone.validation_loss_curve_, rtol=1e-9)
    assert (clf.best_iteration_, clf.n_iter_) == (alone.best_iteration_, alone.n_iter_)
    assert_close(clf, alone, 1e-9)


def test_warm_start_goes_on_from_the_parameters_it_finds(client):
    X, y = table()
    parts = cut(X, 100), cut(y, 100)
    parameters = {"solver": "lbfgs", "max_iter": 3, "warm_start": True}
    clf = on_cluster(**parameters).fit(*parts).fit(*parts)
    alone = BCEMLPClassifier((8, 5), random_state=0, **parameters).fit(X, y).fit(X, y)
    assert_close(clf, alone, 1e-9)


@pytest.mark.parametrize("training", ["lbfgs", "sgd", "averaged adam"])
def test_time_limit_ends_training_with_a_usable_model(client, training):
    X, y = table()
    clf = on_cluster(**{**TRAININGS[training], "max_iter": 1000, "tol": 0.0}, max_time=1e-3)
    with pytest.warns(ConvergenceWarning, match="max_time=0.001 seconds ended training"):
        clf.fit(cut(X, 100), cut(y, 100))
    assert clf.n_iter_ == 1
    assert np.isfinite(clf.predict_proba(X)).all()


def test_frames_of_unknown_sizes_with_texts_as_labels_and_an_empty_partition(client):
    X, y = table()
    names = [f"x{k}" for k in range(6)]
    frame = pd.DataFrame(X, columns=names).assign(
        y=np.where(y, "yes", "no"), w=np.linspace(0, 2, len(X)), k=np.arange(len(X))
    )
    # A filter leaves sizes unknown, and the second partition empty.
    parts = dd.from_pandas(frame, npartitions=4)
    parts = parts[(parts["k"] < 150) | (parts["k"] >= 300)]
    kept = frame[(frame["k"] < 150) | (frame["k"] >= 300)]
    clf = on_cluster(solver="lbfgs", max_iter=10).fit(parts[names], parts["y"], parts["w"])
    alone = fitted_alone(kept[names], kept["y"], kept["w"], solver="lbfgs", max_iter=10)
    assert_close(clf, alone, 1e-9)
    assert clf.classes_.tolist() == ["no", "yes"]
    np.testing.assert_array_equal(clf.feature_names_in_, names)
    predicted = clf.predict(parts[names])
    assert isinstance(predicted, da.Array)
    np.testing.assert_array_equal(predicted.compute(), alone.predict(kept[names]))
    np.testing.assert_allclose(clf.predict_proba(parts[names]).compute(), alone.predict_proba(kept[names]), rtol=1e-6)
    assert clf.score(parts[names], parts["y"], parts["w"]) == pytest.approx(
        alone.score(kept[names], kept["y"], kept["w"])
    )


def test_a_partition_that_weighs_nothing_and_one_with_a_single_label_count_as_they_are(client):
    X, y = table()
    order = np.argsort(y, kind="stable")
    X, y = X[order], y[order]
    weight = np.ones(len(X))
    weight[:100] = 0
    for parameters in (EXACT["lbfgs"], EXACT["sgd"]):
        clf = on_cluster(**parameters).fit(cut(X, 100, 200), cut(y, 100, 200), cut(weight, 100, 200))
        assert_close(clf, fitted_alone(X, y, weight, **parameters), 1e-9)
    averaged = on_cluster(max_iter=2, batch_size=50).fit(cut(X, 100, 200), cut(y, 100, 200), cut(weight, 100, 200))
    assert np.isfinite(averaged.loss_)


@pytest.fixture(scope="module")
def fitted(two_workers):
    X, y = table()
    return on_cluster(solver="lbfgs", max_iter=10, client=two_workers).fit(cut(X, 250), cut(y, 250))


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "predict_log_proba", "decision_function", "input_gradient"]
)
def test_predictions_are_lazy_and_partition_by_partition(fitted, method):
    X, _ = table()
    expected = getattr(fitted.to_local(), method)(X)
    lazy = getattr(fitted, method)(cut(X, 10, 400))
    assert isinstance(lazy, da.Array)
    assert lazy.chunks[0] == (10, 390, 200)
    assert lazy.dtype == expected.dtype
    assert lazy.shape == expected.shape
    np.testing.assert_allclose(lazy.compute(), expected, rtol=1e-10)
    np.testing.assert_array_equal(getattr(fitted, method)(X), expected)


def test_predictions_of_several_outputs_and_of_sparse_blocks(client):
    X, y = table()
    Y = np.column_stack([y, 1 - y])
    clf = on_cluster(solver="lbfgs", max_iter=5).fit(cut_sparse(X, 250), cut(Y, 250))
    for method in ("predict", "predict_proba", "decision_function"):
        expected = getattr(clf.to_local(), method)(X)
        np.testing.assert_allclose(getattr(clf, method)(cut_sparse(X, 100)).compute(), expected, rtol=1e-9)
    assert clf.score(cut(X, 250), cut(Y, 250)) == pytest.approx(clf.to_local().score(X, Y))


def test_local_classifier_has_parameters_and_model(fitted, two_workers):
    local = fitted.to_local()
    assert type(local) is BCEMLPClassifier
    assert_same_bits(parameters_of(local), parameters_of(fitted))
    assert fitted.get_params() == local.get_params() | {"client": two_workers, "sync_every": None}
    X, y = table()
    pickle.loads(pickle.dumps(local)).set_params(solver="adam").partial_fit(X, y, classes=[0, 1])
    with pytest.raises(NotFittedError):
        on_cluster().to_local().predict(X)


def test_parameters_are_those_of_one_machine_and_two_more():
    own = DaskBCEMLPClassifier().get_params()
    assert own == BCEMLPClassifier().get_params() | {"client": None, "sync_every": None}
    clf = DaskBCEMLPClassifier((3,), alpha=0.5, sync_every=4).set_params(alpha=2.0)
    assert clone(clf).get_params() == clf.get_params()
    with pytest.raises(TypeError, match="no_such_parameter"):
        DaskBCEMLPClassifier(no_such_parameter=1)


def test_client_is_kept_by_clones_and_left_out_of_pickles(client):
    X, y = table()
    clf = on_cluster(solver="lbfgs", max_iter=3, client=client).fit(cut(X, 250), cut(y, 250))
    assert clone(clf).client is client
    assert not hasattr(clone(clf), "coefs_")
    read = pickle.loads(pickle.dumps(clf))
    assert read.client is None
    assert_same_bits(parameters_of(read), parameters_of(clf))
    np.testing.assert_array_equal(read.predict(cut(X, 100)).compute(), clf.predict(X))


X, Y1 = table(n_rows=60)
WIDE, NARROW = da.from_array(X, chunks=(20, 6)), da.from_array(X[:, :5], chunks=(20, 5))
LABELS = cut(Y1, 20, 40)
THREE = np.where(np.arange(60) == 50, 7, Y1)

WRONG = {
    "X no dask collection": ((X, LABELS), {}, "X must be a dask array or dataframe, got ndarray"),
    "y no dask collection": ((WIDE, Y1), {}, "y must be a dask array or dataframe, got ndarray"),
    "X cut between columns": ((WIDE.rechunk((20, 3)), LABELS), {}, r"X is cut between its columns.*rechunk\(\{1: -1\}"),
    "other number of partitions": ((WIDE, cut(Y1, 20)), {}, "X has 3 partitions, and y has 2"),
    "partitions of other sizes": ((WIDE, cut(Y1, 10, 40)), {}, "Partition 0 has 20 rows in X and 10 in y"),
    "weights of other sizes": ((WIDE, LABELS, cut(np.ones(60), 20, 50)), {}, "20 rows in X and 30 in sample_weight"),
    "other lengths, unseen": (
        (WIDE, LABELS.map_blocks(lambda y: y[: 20 - y.sum()], chunks=((np.nan,) * 3,))),
        {},
        r"Partition 0 of X, y, sample_weight has 20, \d+ rows",
    ),
    "a partition of another width": (
        (da.concatenate([WIDE[:40], WIDE[40:].map_blocks(lambda x: x[:, :4], dtype=float)]), LABELS),
        {},
        "Partition 2 of X, y, sample_weight has a number of columns of X of 4, and partition 0 has 6",
    ),
    "a label of one partition": ((WIDE, cut(THREE, 20, 40)), {}, "3 labels: 0 in 3 .*, 7 in partition 2 alone"),
    "one label": ((WIDE, 0 * LABELS), {}, "y needs two classes"),
    "not finite": ((da.where(WIDE > 2, np.nan, WIDE), LABELS), {}, r"Partition \d of X.*contains NaN"),
    "weights of zero": ((WIDE, LABELS, cut(np.zeros(60), 20, 40)), {}, "zero for every row"),
    "negative weights": ((WIDE, LABELS, cut(-np.ones(60), 20, 40)), {}, "Partition 0 .*[Nn]egative"),
    "class weights of zero": ((WIDE, LABELS), {"class_weight": {0: 0.0, 1: 0.0}}, "no row a weight above zero"),
    "scoring": ((WIDE, LABELS), {"scoring": "roc_auc"}, "scoring='roc_auc' means nothing"),
    "early stopping": ((WIDE, LABELS), {"early_stopping": True}, "early_stopping=True .* X_val and y_val"),
    "validation_fraction": ((WIDE, LABELS), {"validation_fraction": 0.2}, "validation_fraction=0.2 means nothing"),
    "sync_every of lbfgs": ((WIDE, LABELS), {"solver": "lbfgs", "sync_every": 2}, "sync_every=2 means nothing"),
    "sync_every of full batches": ((WIDE, LABELS), {"batch_size": 60, "sync_every": 2}, "sync_every=2 needs batches"),
    "dropout of full batches": ((WIDE, LABELS), {"batch_size": 60, "dropout": 0.5}, "dropout=0.5 needs batches"),
    "weight decay of lbfgs": ((WIDE, LABELS), {"solver": "lbfgs", "weight_decay": 0.5}, "weight_decay=0.5 needs"),
    "client": ((WIDE, LABELS), {"client": "tcp://here"}, "client must be a distributed.Client"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_bad_input_is_named(client, wrong):
    data, parameters, message = WRONG[wrong]
    clf = on_cluster(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit(*data)
    assert not hasattr(clf, "coefs_")
    assert not hasattr(clf, "n_features_in_")


def test_bad_validation_input_is_named(client):
    for X_val, y_val, message in (
        (NARROW, LABELS, "columns must be those of X and y, 6, got 5"),
        (WIDE, cut(THREE, 20, 40), "7"),
        (WIDE, cut(Y1, 20), "X_val has 3 partitions, and y_val has 2"),
        (WIDE, 0 * LABELS, "y_val has only the class 0"),
    ):
        with pytest.raises(ValueError, match=message):
            on_cluster(early_stopping=True).fit(WIDE, LABELS, X_val=X_val, y_val=y_val)
    with pytest.raises(ValueError, match="y_val is given without X_val"):
        on_cluster().fit(WIDE, LABELS, y_val=LABELS)


def test_shapes_are_looked_at_before_any_work(client):
    def never(block):
        raise AssertionError("a partition was computed")

    with pytest.raises(ValueError, match="X has 3 partitions, and y has 2"):
        on_cluster().fit(WIDE.map_blocks(never, dtype=float, meta=X[:0]), cut(Y1, 20))


def test_what_is_not_there_is_said(client, fitted):
    with pytest.raises(InvalidParameterError, match="sync_every"):
        on_cluster(sync_every=0).fit(WIDE, LABELS)
    with pytest.raises(AttributeError, match="to_local"):
        on_cluster().partial_fit(X, Y1)
    with pytest.raises(ValueError, match="X must have 6 columns"):
        fitted.predict(NARROW)


def test_callbacks_are_refused(client):
    callback = pytest.importorskip("sklearn.callback", reason="callbacks are in scikit-learn 1.9 and newer")
    with pytest.raises(ValueError, match="set_callbacks means nothing"):
        on_cluster().set_callbacks(callback.ScoringMonitor(scoring="accuracy")).fit(WIDE, LABELS)


def test_no_client_is_an_error_at_once():
    with pytest.raises(ValueError, match="There is no Dask client: start one"):
        on_cluster().fit(WIDE, LABELS)


def test_a_cluster_without_workers_is_an_error_at_once():
    with running(n_workers=0, processes=False) as empty, pytest.raises(ClusterError, match="has no workers"):
        on_cluster(client=empty).fit(WIDE, LABELS)


def test_sums_over_the_tree_are_the_same_however_its_leaves_are_shared_out():
    values = np.random.default_rng(0).standard_normal((13, 4)) * 10.0 ** np.arange(-6, 7)[:, None]
    expected = total_of(13, nodes_of(13, range(13), values.__getitem__))
    for n_workers in (2, 3, 5, 13):
        of_leaves = np.random.default_rng(n_workers).integers(n_workers, size=13)
        nodes = {}
        for worker in range(n_workers):
            nodes |= nodes_of(13, np.flatnonzero(of_leaves == worker).tolist(), values.__getitem__)
        np.testing.assert_array_equal(total_of(13, nodes), expected)
    np.testing.assert_allclose(expected, values.sum(axis=0), rtol=1e-12)
    assert list(nodes_of(8, range(4, 8), lambda k: np.ones(1))) == [(4, 8)]


@pytest.fixture
def at_gathering(monkeypatch):
    """Makes `fit` do something each time it waits for workers, from the call with that number on."""

    def install(first, action):
        gathered, calls = Cluster.gathered, iter(range(first))

        def acts(self, futures):
            if next(calls, None) is None:
                action()
            return gathered(self, futures)

        monkeypatch.setattr(Cluster, "gathered", acts)

    yield install
    monkeypatch.undo()


def once(action):
    remaining = [action]

    def acts():
        if remaining:
            remaining.pop()()

    return acts


FAULTY = {
    "lbfgs": {"solver": "lbfgs", "max_iter": 8},
    "averaged adam": {"solver": "adam", "max_iter": 8, "batch_size": 50, "sync_every": 2},
}
# Labels and facts, blocks, and some evaluations.
_IN_THE_MIDDLE = 6


@pytest.mark.parametrize("training", FAULTY)
def test_worker_killed_within_fit_leaves_the_same_model(processes, at_gathering, training):
    X, y = table()
    parts = cut(X, 100, 300, 430), cut(y, 100, 300, 430)
    clf = on_cluster(**FAULTY[training], client=processes)
    expected = parameters_of(clone(clf).fit(*parts))
    pids = processes.run(os.getpid)
    killed = min(pids.values())
    at_gathering(_IN_THE_MIDDLE, once(lambda: os.kill(killed, signal.SIGKILL)))
    clf.fit(*parts)
    assert_same_bits(parameters_of(clf), expected)
    processes.wait_for_workers(2, timeout=60)
    assert killed not in processes.run(os.getpid).values()


@pytest.mark.parametrize("training", FAULTY)
def test_ctrl_c_while_workers_work_leaves_the_parameters_so_far(processes, at_gathering, training):
    X, y = table()
    parts = cut(X, 100, 300, 430), cut(y, 100, 300, 430)
    clf = on_cluster(**FAULTY[training], client=processes)
    stopped = min(processes.run(os.getpid).values())

    def ctrl_c_when_workers_stand_still():
        os.kill(stopped, signal.SIGSTOP)  # so that fit waits
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()

    at_gathering(_IN_THE_MIDDLE, once(ctrl_c_when_workers_stand_still))
    try:
        with pytest.warns(UserWarning, match="Training interrupted by user"):
            clf.fit(*parts)
    finally:
        os.kill(stopped, signal.SIGCONT)
    assert 0 < clf.n_iter_ < 8
    if training == "lbfgs":
        expected = clone(clf).set_params(max_iter=clf.n_iter_).fit(*parts)
        assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert np.isfinite(clf.to_local().predict_proba(X)).all()


def test_scheduler_that_is_gone_is_a_clear_error_and_the_parameters_so_far_are_kept(at_gathering):
    X, y = table()
    code = (
        "import sys, distributed\n"
        "cluster = distributed.LocalCluster(n_workers=1, processes=False, protocol='tcp', dashboard_address=':0')\n"
        "print(cluster.scheduler_address, flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process, Client(process.stdout.readline().strip(), timeout=5, set_as_default=False) as client:
        clf = on_cluster(solver="lbfgs", client=client)
        at_gathering(_IN_THE_MIDDLE, once(process.kill))
        with pytest.raises(ClusterError, match=r"The scheduler of the Dask cluster at tcp://\S+ is gone"):
            clf.fit(cut(X, 250), cut(y, 250))
    assert clf.n_iter_ > 0
    assert np.isfinite(clf.to_local().predict_proba(X)).all()


def test_workers_that_are_gone_for_long_are_a_clear_error(monkeypatch, at_gathering):
    X, y = table()
    monkeypatch.setattr(skbce.dask.cluster, "PATIENCE", 0.0)
    with running(n_workers=1, processes=False) as client:
        clf = on_cluster(client=client, batch_size=50)
        at_gathering(
            _IN_THE_MIDDLE, once(lambda: client.cluster.scale(0) or client.sync(client.cluster._correct_state))
        )
        with pytest.raises(ClusterError, match=r"All workers .* are gone"):
            clf.fit(cut(X, 250), cut(y, 250))
    assert clf.n_iter_ > 0


def test_error_on_a_worker_is_that_of_the_user(client):
    def fails(block):
        raise OverflowError("of the user's own code")

    with pytest.raises(OverflowError, match="of the user's own code"):
        on_cluster(client=client).fit(WIDE.map_blocks(fails, dtype=float, meta=X[:0]), LABELS)


def test_rows_stay_on_the_workers(processes):
    def count_writes():
        from distributed.comm.tcp import TCP

        write = TCP.write

        async def counted(self, *args, **kwargs):
            n_bytes = await write(self, *args, **kwargs)
            TCP.n_bytes = getattr(TCP, "n_bytes", 0) + n_bytes
            return n_bytes

        TCP.write = counted

    def written():
        from distributed.comm.tcp import TCP

        return getattr(TCP, "n_bytes", 0)

    rng = da.random.default_rng(0)
    X = rng.standard_normal((200_000, 20), chunks=(50_000, 20))  # 32 MB, made on the workers
    y = (X[:, 0] > X[:, 1]).astype(np.uint8)
    processes.run(count_writes)
    clf = on_cluster(hidden_layer_sizes=(8,), solver="lbfgs", max_iter=5, client=processes).fit(X, y)
    # To the scheduler or to each other; each evaluation 177 parameters of 8 bytes a worker, and Dask's own words.
    assert sum(processes.run(written).values()) < 1_000_000
    assert clf.n_iter_ == 5


@pytest.fixture
def threads_seen(monkeypatch):
    """The limits that fits see on a machine of 8 cores, and the threads they run on; for workers in this process."""
    monkeypatch.setattr(_threads, "_cores", lambda: 8)
    monkeypatch.setattr(doors, "thread_limit", lambda: 8)
    run_steps, limits, used = doors.run_steps, set(), set()

    def noted(*args, **kwargs):
        limits.add(_threads.thread_limit(None))
        used.add(args[-1])
        return run_steps(*args, **kwargs)

    monkeypatch.setattr(doors, "run_steps", noted)
    return limits, used


@pytest.mark.parametrize("n_threads", [1, 2])
def test_search_on_dask_uses_the_threads_of_each_worker_and_finds_what_one_machine_finds(threads_seen, n_threads):
    limits, used = threads_seen
    X, y = table()
    search = GridSearchCV(BCEMLPClassifier((32,), max_iter=5, random_state=0), {"alpha": [1e-4, 10.0]}, cv=2)
    alone = clone(search).fit(X, y)
    assert limits == {8}
    limits.clear()
    used.clear()
    with (
        running(n_workers=2, processes=False, threads_per_worker=n_threads) as client,
        client.as_current(),
        joblib.parallel_config("dask"),
    ):
        search.set_params(refit=False).fit(X, y)
    assert limits == {n_threads}
    assert max(used) <= n_threads
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])


def test_ensemble_in_a_task_uses_the_threads_of_its_worker(threads_seen, client):
    limits, used = threads_seen
    X, y = table()
    ensemble = BCEMLPEnsembleClassifier(BCEMLPClassifier((8,), max_iter=2, solver="adam"), n_estimators=2)
    client.submit(ensemble.fit, X, y).result()
    assert limits == {1}
    assert used == {1}


def test_partial_fit_over_blocks_of_a_file_is_that_over_blocks_in_memory(tmp_path):
    X, y = table()
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    one, other = (BCEMLPClassifier((8,), random_state=0) for _ in range(2))
    for start in range(0, len(X), 200):
        rows = slice(start, start + 200)
        one.partial_fit(X[rows], y[rows], classes=[0, 1])
        other.partial_fit(mapped[rows], y[rows], classes=[0, 1])
    assert_same_bits(parameters_of(one), parameters_of(other))
