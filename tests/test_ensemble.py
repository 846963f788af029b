"""BCEMLPEnsembleClassifier: members on all folds but one, stopped on that one, averaged."""

import _thread
import copy
import gc
import pickle
import signal
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, GroupKFold, StratifiedKFold, TimeSeriesSplit
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.utils import get_tags

import skbce.ensemble
from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder
from skbce._inputs import kernel_table
from skbce._parameters import Layout
from skbce._training import Outcome
from skbce._training.held_out import HeldOut
from skbce._training.sample import Sample
from skbce.kernels import doors
from tests.model_checks import assert_same_bits, blas_threads, parameters_of, peak_bytes

ignores_max_iter = pytest.mark.filterwarnings(
    "ignore:.*had not converged after max_iter:sklearn.exceptions.ConvergenceWarning"
)
ignores_members_left_out = pytest.mark.filterwarnings(
    "ignore:.*members (are left out|had not):sklearn.exceptions.ConvergenceWarning"
)
pytestmark = ignores_max_iter  # members train for a few epochs, so that the tests are quick

# Mean of a few probabilities, float32's among them, normalised to add to 1: a few roundings of theirs.
ROUNDING = {"rtol": 1e-6}


def template(**parameters):
    return BCEMLPClassifier(
        **{
            "hidden_layer_sizes": (6,),
            "max_iter": 8,
            "batch_size": 10,
            "learning_rate_init": 0.02,
            "scoring": "loss",
            **parameters,
        }
    )


def ensemble(n_estimators=4, estimator=None, **parameters):
    estimator = template() if estimator is None else estimator
    return BCEMLPEnsembleClassifier(estimator, n_estimators, **{"random_state": 0, **parameters})


def table(n_rows=120, n_features=4, dtype=np.float64, noise=1.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features))
    y = (X[:, 0] - X[:, 1] + noise * rng.standard_normal(n_rows) > 0).astype(int)
    return X.astype(dtype), y


X, y = table()


def all_parameters(clf):
    return [array for member in clf.estimators_ for array in parameters_of(member)]


def assert_same_model(clf, expected):
    assert_same_bits(all_parameters(clf), all_parameters(expected))
    np.testing.assert_array_equal(clf.oof_proba_, expected.oof_proba_)
    assert clf.oof_score_ == expected.oof_score_
    assert clf.temperature_ == expected.temperature_


# Folds and members


def test_every_row_is_held_out_once_and_classes_are_spread_evenly():
    clf = ensemble(5).fit(X, y)
    np.testing.assert_array_equal(np.sort(np.concatenate(clf.held_out_)), np.arange(len(y)))
    shares = [y[rows].sum() for rows in clf.held_out_]
    assert max(shares) - min(shares) <= 1


def test_folds_are_those_of_stratified_k_fold():
    seed = np.random.RandomState(3).randint(np.iinfo(np.int32).max)
    folds = StratifiedKFold(4, shuffle=True, random_state=seed).split(X, y)
    clf = ensemble(random_state=3).fit(X, y)
    for rows, (_, expected) in zip(clf.held_out_, folds, strict=True):
        np.testing.assert_array_equal(rows, expected)


def test_few_rows_of_a_class_make_several_members_a_fold():
    few = np.r_[np.zeros(20, int), np.ones(3, int)]
    clf = ensemble(7).fit(X[:23], few)
    assert len(clf.estimators_) == 7
    assert {int(few[rows].sum()) for rows in clf.held_out_} == {1}
    for first in (0, 3):
        np.testing.assert_array_equal(np.sort(np.concatenate(clf.held_out_[first : first + 3])), np.arange(23))
    assert np.isfinite(clf.oof_proba_).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_member_is_the_net_of_its_rows_stopped_on_its_fold(weighted):
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y)) if weighted else None
    clf = ensemble(estimator=template(shuffle=False)).fit(X, y, sample_weight=weight)
    member, held_out = clf.estimators_[1], clf.held_out_[1]
    train = np.setdiff1d(np.arange(len(y)), held_out)
    of = {} if weight is None else {"sample_weight": weight[train], "sample_weight_val": weight[held_out]}
    alone = clone(member)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer", ConvergenceWarning)
        alone.fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out], **of)
    assert_same_bits(parameters_of(member), parameters_of(alone))
    assert member.validation_loss_curve_ == alone.validation_loss_curve_
    assert member.validation_scores_ == [-loss for loss in member.validation_loss_curve_]


def test_member_is_stopped_by_the_scorer_of_the_template():
    clf = ensemble(2, template(scoring="roc_auc")).fit(X, y)
    member, rows = clf.estimators_[0], clf.held_out_[0]
    assert member.best_validation_score_ == max(member.validation_scores_)
    assert roc_auc_score(y[rows], member.predict_proba(X[rows])[:, 1]) == member.best_validation_score_


def test_class_weight_of_the_template_is_a_sample_weight():
    weighted = ensemble(estimator=template(class_weight={1: 5})).fit(X, y)
    expected = ensemble().fit(X, y, sample_weight=np.where(y == 1, 5.0, 1.0))
    assert_same_bits(all_parameters(weighted), all_parameters(expected))
    assert weighted.oof_score_ != expected.oof_score_  # scores are weighed by sample_weight alone


def test_members_work_alone_on_encoded_rows():
    clf = ensemble(encoders=[StandardScaler(), PiecewiseLinearEncoder(4)]).fit(X, np.where(y == 1, "yes", "no"))
    assert [member.n_features_in_ for member in clf.estimators_] == [4, 20, 4, 20]
    P = np.zeros((len(y), 2))
    for k, member in enumerate(clf.estimators_):
        encoded = clf.encoders_[k % 2].transform(X)
        assert type(member) is BCEMLPClassifier
        assert set(member.predict(encoded)) <= {"no", "yes"}
        P += member.predict_proba(encoded) / 4
    np.testing.assert_allclose(clf.predict_proba(X), P, **ROUNDING)
    clf.estimators_[0].set_params(early_stopping=False, max_iter=1).partial_fit(
        clf.encoders_[0].transform(X), clf.predict(X)
    )


def test_default_member_is_stopped_by_its_loss():
    clf = BCEMLPEnsembleClassifier(n_estimators=2, random_state=0).fit(X, y)
    assert all(member.scoring == "loss" and member.early_stopping for member in clf.estimators_)


def test_parameters_given_stay_as_they_are():
    estimator, encoder = template(random_state=7, n_threads=1), PiecewiseLinearEncoder()
    clf = ensemble(estimator=estimator, encoders=[encoder], n_threads=2)
    before = repr(clf.get_params())
    clf.fit(X, y)
    assert repr(clf.get_params()) == before
    assert not hasattr(estimator, "coefs_")
    assert not hasattr(encoder, "edges_")


# Out-of-fold probabilities, scores, calibration


def judged(clf, rows_of_X):
    """What the members as they are say of the rows that each was stopped by, both classes, averaged over members."""
    P, n = np.zeros((len(rows_of_X), 2)), np.zeros((len(rows_of_X), 1))
    for member, rows in zip(clf.estimators_, clf.held_out_, strict=True):
        P[rows] += member.predict_proba(rows_of_X[rows])
        n[rows] += 1
    assert n.all()
    return P / n


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_estimators", [3, 7])
def test_out_of_fold_probabilities_are_those_of_members_that_did_not_see_the_row(n_estimators, dtype):
    some = np.r_[np.flatnonzero(y == 0)[:20], np.flatnonzero(y == 1)[:5]]  # 5 folds at most
    clf = ensemble(n_estimators, template(dtype=dtype, max_iter=1)).fit(X[some], y[some])
    np.testing.assert_allclose(clf.oof_proba_, judged(clf, X[some]), **ROUNDING)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("scoring", ["loss", None, "roc_auc"])
def test_out_of_fold_probabilities_are_of_the_epoch_that_the_other_rows_held_out_chose(monkeypatch, scoring, weighted):
    weight = np.random.default_rng(1).integers(0, 3, len(y)).astype(float) if weighted else None
    watched = {}
    look = HeldOut.__call__

    def watch(self, theta):
        result = look(self, theta)
        watched.setdefault(id(self), []).append((self._Z[:, 0].astype(float), result[0], self))
        return result

    monkeypatch.setattr(HeldOut, "__call__", watch)
    # Until none gets better any more.
    member = template(scoring=scoring, max_iter=80, n_iter_no_change=80, learning_rate_init=0.05)
    clf = ensemble(3, member, n_threads=1).fit(X, y, weight)
    assert len(watched) == 3
    varied = False
    for rows, epochs in zip(clf.held_out_, watched.values(), strict=True):
        Z, scores = np.array([Z for Z, *_ in epochs]), np.array([score for _, score, _ in epochs])
        positive, part = y[rows] == clf.classes_[1], np.arange(len(rows)) % 16
        of_rows = -np.logaddexp(0, np.where(positive, -Z, Z)) if scoring == "loss" else 1.0 * ((Z > 0) == positive)
        chosen = np.empty(len(rows), int)
        for row in range(len(rows)):
            others = part != part[row]
            w = None if weight is None else weight[rows][others]
            means = scores if scoring == "roc_auc" else np.average(of_rows[:, others], axis=1, weights=w)
            chosen[row] = means.argmax()  # the first of those that are equal, as shares of rows often are
        varied |= len(set(chosen)) > 1
        expected = 1 / (1 + np.exp(-Z[chosen, np.arange(len(rows))]))
        np.testing.assert_allclose(clf.oof_proba_[rows, 1], expected, **ROUNDING)
    assert varied == (scoring != "roc_auc")


def test_logits_are_those_before_a_loss_that_is_not_finite():
    layout = Layout((3, 2, 1), "relu")
    sample = Sample(
        kernel_table(np.ones((4, 3), np.float32), np.dtype(np.float32)), np.array([[0], [1], [1], [0]], np.uint8), None
    )
    held_out = HeldOut(layout, sample, np.float32, 1, "loss", keeps_logits=True)
    small, large = np.full(layout.n_parameters, 0.5, np.float32), np.full(layout.n_parameters, 1e30, np.float32)
    assert np.isfinite(held_out(small)).all()
    before = held_out.best_logits.copy(), held_out.unseen_logits.copy()
    assert not np.isfinite(held_out(large)).any()  # without a warning
    np.testing.assert_array_equal((held_out.best_logits, held_out.unseen_logits), before)
    np.testing.assert_array_equal(before[0], before[1])


def test_nobody_scores_better_than_by_chance_where_labels_are_drawn():
    # Of labels that nothing tells of, any probability but the share of them loses more than their entropy, which is
    # ln 2 here; where each member was stopped, the rows that stopped it seem to lose less.
    out_of_fold, flattered = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        noise, labels = rng.standard_normal((80, 5)), rng.permutation(np.arange(80) % 2)
        clf = ensemble(8, template(scoring="loss", max_iter=60), random_state=seed).fit(noise, labels)
        out_of_fold.append(clf.oof_score_["log_loss"])
        flattered.append(log_loss(labels, judged(clf, noise)[:, 1]))
    assert np.mean(flattered) < np.log(2) < np.mean(out_of_fold)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_are_those_of_the_out_of_fold_probabilities(weighted):
    weight = np.random.default_rng(1).uniform(0.1, 3, len(y)) if weighted else None
    clf = ensemble().fit(X, y, weight)
    p = clf.oof_proba_[:, 1]
    assert clf.oof_score_ == {
        "log_loss": log_loss(y, p, sample_weight=weight),
        "roc_auc": roc_auc_score(y, p, sample_weight=weight),
        "brier": brier_score_loss(y, p, sample_weight=weight),
        "accuracy": accuracy_score(y, p > 0.5, sample_weight=weight),
    }


@pytest.mark.parametrize("weighted", [False, True])
def test_temperature_is_that_of_least_log_loss(weighted):
    weight = np.random.default_rng(1).uniform(0.1, 3, len(y)) if weighted else None
    plain = ensemble().fit(X, y, weight)
    clf = ensemble(calibration="temperature").fit(X, y, weight)
    P = judged(plain, X)
    Z, Z_unseen = (np.log(proba[:, 1] / proba[:, 0]) for proba in (P, plain.oof_proba_))

    def loss(inverse):
        return log_loss(y, 1 / (1 + np.exp(-Z * inverse[0])), sample_weight=weight)

    best = scipy.optimize.minimize(loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
    # Where a function is flat to a rounding of 1e-16, its minimum is known to the root of that.
    assert clf.temperature_ == pytest.approx(1 / best.x[0], rel=1e-5)
    assert clf.temperature_ != 1
    assert loss([1 / clf.temperature_]) < loss([1.0])
    assert clf.oof_score_["log_loss"] < plain.oof_score_["log_loss"]
    np.testing.assert_allclose(clf.decision_function(X), plain.decision_function(X) / clf.temperature_, rtol=1e-9)
    np.testing.assert_allclose(
        np.log(clf.oof_proba_[:, 1] / clf.oof_proba_[:, 0]), Z_unseen / clf.temperature_, rtol=1e-9, atol=1e-12
    )
    np.testing.assert_array_equal(clf.predict(X), plain.predict(X))


@pytest.mark.parametrize("truth", ["as predicted", "the opposite"])
def test_temperature_stays_between_its_bounds_and_probabilities_between_0_and_1(truth):
    Z = np.linspace(-700, 700, 50)
    positive = (Z > 0) if truth == "as predicted" else (Z < 0)
    temperature = skbce.ensemble._best_temperature(Z, positive, None)
    assert temperature == pytest.approx(0.1 if truth == "as predicted" else 10, rel=1e-4)
    P = skbce.ensemble._tempered(np.column_stack((1 / (1 + np.exp(Z)), 1 / (1 + np.exp(-Z)))).clip(1e-300), temperature)
    assert (P > 0).all()
    assert (P < 1).all()


@pytest.mark.parametrize("calibration", [None, "temperature"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_extreme_rows_add_to_1_and_have_finite_logarithms(dtype, calibration):
    clf = ensemble(3, template(dtype=dtype), calibration=calibration).fit(X, y)
    far = X * 1e5
    P = clf.predict_proba(far)
    assert P.dtype == np.float64
    assert P.min() > 0
    assert P.max() < 1
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-15)  # scikit-learn's log_loss wants 1e-8
    assert np.isfinite(clf.predict_log_proba(far)).all()
    assert np.isfinite(clf.decision_function(far)).all()
    np.testing.assert_array_equal(clf.predict(far), clf.classes_[(clf.decision_function(far) > 0).astype(int)])
    log_loss(y, P)  # warns where rows do not add to 1


# Threads, seeds, copies


def test_same_bits_for_any_number_of_threads():
    models = [
        ensemble(5, n_threads=n, calibration="temperature", encoders=[StandardScaler(), PiecewiseLinearEncoder()])
        for n in (1, 2, 3, 8)
    ]
    for model in models:
        model.fit(X, y)
        assert_same_model(model, models[0])
        np.testing.assert_array_equal(model.predict_proba(X), models[0].predict_proba(X))


def test_members_are_trained_side_by_side(monkeypatch):
    both = threading.Barrier(2, timeout=30)  # broken, and with an error, unless two members are there at once
    whole = BCEMLPClassifier._fit

    def meeting(self, *args, **kwargs):
        both.wait()
        return whole(self, *args, **kwargs)

    monkeypatch.setattr(BCEMLPClassifier, "_fit", meeting)
    assert len(ensemble(4, n_threads=2).fit(X, y).estimators_) == 4


def test_a_second_fit_is_like_the_first():
    clf = ensemble().fit(X[:, :2], np.where(y, "b", "a"))
    clf.fit(X, y)
    assert_same_model(clf, ensemble().fit(X, y))
    assert clf.n_features_in_ == 4


def test_random_state_instance_is_drawn_from():
    states = [np.random.RandomState(5) for _ in range(2)]
    clf, expected = (ensemble(random_state=state).fit(X, y) for state in states)
    assert_same_model(clf, expected)
    clf.fit(X, y)
    assert any((one != other).any() for one, other in zip(all_parameters(clf), all_parameters(expected)))


def test_members_and_encoders_have_seeds_of_their_own():
    encoders = [make_pipeline(PiecewiseLinearEncoder(subsample=20)), PiecewiseLinearEncoder(random_state=9)]
    models = [ensemble(encoders=encoders).fit(X, y) for _ in range(2)]
    assert len({member.random_state for member in models[0].estimators_}) == 4
    assert models[0].encoders_[0][0].random_state is not None
    assert models[0].encoders_[1].random_state == 9
    assert_same_model(*models)


def test_clone_is_not_fitted_and_copies_predict_the_same():
    clf = ensemble(encoders=StandardScaler(), calibration="temperature").fit(X, y)
    expected = clf.predict_proba(X)
    for again in (pickle.loads(pickle.dumps(clf)), copy.deepcopy(clf)):
        np.testing.assert_array_equal(again.predict_proba(X), expected)
        assert_same_model(again, clf)
    with pytest.raises(NotFittedError):
        clone(clf).predict(X)
    assert_same_model(clone(clf).fit(X, y), clf)


def test_grid_search_over_members_their_parameters_and_calibration():
    grid = {"n_estimators": [2, 3], "estimator__alpha": [0, 1.0], "calibration": [None, "temperature"]}
    search = GridSearchCV(ensemble(encoders=StandardScaler()), grid, cv=2, scoring="neg_log_loss", error_score="raise")
    search.fit(X, y)
    assert len(search.best_estimator_.estimators_) == search.best_params_["n_estimators"]
    assert search.best_estimator_.estimators_[0].alpha == search.best_params_["estimator__alpha"]
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == len(scores)


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_fits_in_joblib_workers_give_the_same_bits(backend):
    expected = ensemble(3).fit(X, y)
    with joblib.parallel_config(backend=backend, n_jobs=2):
        fitted = joblib.Parallel()(joblib.delayed(ensemble(3).fit)(X, y) for _ in range(3))
    for clf in fitted:
        assert_same_model(clf, expected)


# Input


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (np.array(["no", "yes"]), "U"),
        (np.array(["no", "yes"], dtype=object), "U"),
        (np.array([False, True]), "b"),
        (np.array([False, True], dtype=object), "b"),
        (np.array([-1, 7]), "i"),
        (np.array([0.0, 1.0]), "f"),
    ],
    ids=["str", "str objects", "bool", "bool objects", "int", "float"],
)
def test_labels_of_any_kind_come_back(labels, kind):
    clf = ensemble(2).fit(X, labels[y])
    assert clf.classes_.dtype.kind == kind
    np.testing.assert_array_equal(clf.classes_, labels)
    np.testing.assert_array_equal(clf.predict(X), labels[ensemble(2).fit(X, y).predict(X)])
    np.testing.assert_array_equal(clf.estimators_[0].classes_, labels)


@pytest.mark.parametrize("kind", [sp.csr_matrix, sp.csc_array, sp.coo_matrix])
def test_sparse_rows_give_the_model_of_dense_ones(kind):
    thin = np.where(np.random.default_rng(0).random(X.shape) < 0.5, X, 0)
    clf, expected = ensemble().fit(kind(thin), y), ensemble().fit(thin, y)
    # Products of sparse rows are summed in another order: roundings of float64, through some 40 steps.
    np.testing.assert_allclose(clf.predict_proba(kind(thin)), expected.predict_proba(thin), rtol=1e-9)
    np.testing.assert_allclose(clf.oof_proba_, expected.oof_proba_, rtol=1e-9)


def test_float32_rows_stay_float32():
    clf = ensemble().fit(X.astype(np.float32), y)
    assert {array.dtype for array in all_parameters(clf)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_column_order_or_a_view_changes_nothing(dtype):
    given = X.astype(dtype)
    expected = ensemble().fit(given, y)
    for same in (np.asfortranarray(given), np.repeat(given, 2, axis=1)[:, ::2]):
        assert_same_model(ensemble().fit(same, y), expected)


def test_data_frames_are_known_by_their_columns():
    frame = pd.DataFrame(X, columns=list("abcd"))
    clf = ensemble(encoders=MinMaxScaler()).fit(frame, pd.Series(y))
    assert clf.feature_names_in_.tolist() == list("abcd")
    assert_same_model(clf, ensemble(encoders=MinMaxScaler()).fit(X, y))
    np.testing.assert_array_equal(clf.predict_proba(frame), clf.predict_proba(frame.copy()))
    with pytest.raises(ValueError, match="feature names should match"):
        clf.predict(frame[list("badc")])
    clf.fit(X, y)
    assert not hasattr(clf, "feature_names_in_")


@pytest.mark.parametrize(
    "encoders",
    [
        [StandardScaler(), MinMaxScaler()],
        (StandardScaler(), MinMaxScaler()),
        [StandardScaler().set_output(transform="pandas"), MinMaxScaler()],
    ],
    ids=["list", "tuple", "of data frames"],
)
def test_encoders_are_taken_in_turn(encoders):
    clf = ensemble(3, encoders=encoders).fit(X, y)
    expected = ensemble(3, encoders=[StandardScaler(), MinMaxScaler()]).fit(X, y)
    assert_same_model(clf, expected)
    assert [type(encoder) for encoder in clf.encoders_] == [StandardScaler, MinMaxScaler]


def test_encoders_of_an_empty_list_are_none():
    assert_same_model(ensemble(encoders=[]).fit(X, y), ensemble().fit(X, y))


def test_an_encoder_may_give_sparse_rows():
    digits = np.round(X)
    clf = ensemble(encoders=OneHotEncoder(handle_unknown="ignore")).fit(digits, y)
    dense = ensemble(encoders=OneHotEncoder(handle_unknown="ignore", sparse_output=False)).fit(digits, y)
    np.testing.assert_allclose(clf.predict_proba(digits), dense.predict_proba(digits), rtol=1e-9)  # see sparse rows


def test_encoders_that_take_sparse_rows_get_them():
    clf = ensemble(encoders=[MaxAbsScaler(), StandardScaler(with_mean=False)])
    says_so = get_tags(MaxAbsScaler()).input_tags.sparse  # a scaler of scikit-learn 1.6 takes them without a word
    assert get_tags(clf).input_tags.sparse == says_so
    assert get_tags(ensemble()).input_tags.sparse
    assert not get_tags(ensemble(encoders=[MaxAbsScaler(), StandardScaler()])).input_tags.sparse
    refusing = [ensemble(encoders=StandardScaler())] + ([] if says_so else [clf])
    for other in refusing:
        with pytest.raises(TypeError, match="Sparse data was passed"):
            other.fit(sp.csr_matrix(X), y)
    if says_so:
        clf.fit(sp.csr_matrix(X), y)
        np.testing.assert_allclose(clf.predict_proba(sp.csr_matrix(X)), clf.predict_proba(X), rtol=1e-9)


class Untagged:
    """A transformer that knows nothing of scikit-learn but `fit`, `transform` and parameters."""

    def get_params(self, deep=True):
        return {}

    def set_params(self):
        return self

    def fit(self, X):
        return self

    def transform(self, X):
        return 2 * X


def test_an_encoder_needs_no_tags():
    clf = ensemble(encoders=Untagged()).fit(X, y)
    assert not get_tags(clf).input_tags.allow_nan
    assert_same_model(clf, ensemble().fit(2 * X, y))


def with_gaps():
    gappy = X.copy()
    gappy[::7, 1] = np.nan
    return gappy


def test_missing_values_go_to_encoders_that_take_them():
    clf = ensemble(encoders=[PiecewiseLinearEncoder(), SimpleImputer()])
    assert get_tags(clf).input_tags.allow_nan
    assert not get_tags(ensemble(encoders=[PiecewiseLinearEncoder(), StandardScaler()])).input_tags.allow_nan
    assert np.isfinite(clf.fit(with_gaps(), y).predict_proba(with_gaps())).all()
    assert np.isfinite(clf.oof_proba_).all()


def test_missing_values_without_encoders_are_an_error():
    assert not get_tags(ensemble()).input_tags.allow_nan
    with pytest.raises(ValueError, match="BCEMLPEnsembleClassifier does not accept missing values"):
        ensemble().fit(with_gaps(), y)


def test_missing_values_that_an_encoder_leaves_are_its_fault():
    with pytest.raises(ValueError, match=r"encoders: StandardScaler\(\) gives what networks do not take.*NaN"):
        ensemble(encoders=StandardScaler()).fit(with_gaps(), y)


class Shortens(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X[1:]


BAD_PARAMETERS = {
    "another estimator": ({"estimator": MLPClassifier()}, "'estimator' parameter .* Got MLPClassifier"),
    "a pipeline": ({"estimator": make_pipeline(BCEMLPClassifier())}, "'estimator' parameter .* Got Pipeline"),
    "a class": ({"estimator": BCEMLPClassifier}, "'estimator' parameter"),
    "lbfgs": ({"estimator": template(solver="lbfgs")}, "estimator has solver='lbfgs', which does not stop early"),
    "bad template": ({"estimator": template(alpha=-1)}, "'alpha' parameter of BCEMLPClassifier"),
    "bad combination": ({"estimator": template(hidden_layer_sizes=(0,))}, "hidden_layer_sizes must be > 0"),
    "one member": ({"n_estimators": 1}, "'n_estimators' parameter"),
    "no transformer": ({"encoders": "scale"}, "'encoders' parameter"),
    "None among encoders": ({"encoders": [StandardScaler(), None]}, "encoders must be transformers.* got None"),
    "a classifier among encoders": ({"encoders": [BCEMLPClassifier()]}, "encoders must be transformers"),
    "rows lost by an encoder": ({"encoders": Shortens()}, r"encoders: Shortens\(\) gives 119 rows for 120"),
    "calibration": ({"calibration": "isotonic"}, "'calibration' parameter"),
    "no time": ({"max_time": 0}, "'max_time' parameter"),
    "no threads": ({"n_threads": 0}, "'n_threads' parameter"),
}


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_bad_parameter_is_named(parameters, message):
    clf = ensemble().set_params(**parameters)
    with pytest.raises(ValueError, match=message):
        clf.fit(X, y)
    assert not vars(clf).keys() - clf.get_params(deep=False).keys()


def test_callbacks_of_the_template_are_refused():
    estimator = template()
    if not hasattr(estimator, "set_callbacks"):
        estimator._skl_callbacks = [object()]  # what the method sets, where scikit-learn has it
    else:
        from sklearn.callback import ProgressBar

        estimator.set_callbacks(ProgressBar())
    with pytest.raises(ValueError, match="estimator has callbacks"):
        ensemble(estimator=estimator).fit(X, y)


BAD_TARGETS = {
    "one class": (np.zeros(len(y)), "contains only one class"),
    "three classes": (np.arange(len(y)) % 3, "Only binary classification is supported"),
    "numbers": (X[:, 0], "Unknown label type: continuous"),
    "several columns": (np.column_stack((y, y)), "y should be a 1d array"),
    "a single row of a class": (np.eye(len(y))[0], r"at least 2 rows of each class, got \{0.0: 119, 1.0: 1\}"),
    "too few": (y[:-1], "inconsistent numbers of samples"),
}


@pytest.mark.parametrize(("target", "message"), BAD_TARGETS.values(), ids=BAD_TARGETS)
def test_bad_target_is_told(target, message):
    with pytest.raises(ValueError, match=message):
        ensemble().fit(X, target)


# Weights


def test_every_fold_has_weight_of_both_classes_where_most_rows_have_none():
    weight = np.zeros(len(y))
    weight[np.r_[np.flatnonzero(y == 0)[:4], np.flatnonzero(y == 1)[:4]]] = 1
    clf = ensemble(5).fit(X, y, sample_weight=weight)
    for rows in clf.held_out_:
        assert weight[rows][y[rows] == 0].any()
        assert weight[rows][y[rows] == 1].any()
        assert np.delete(weight, rows)[np.delete(y, rows) == 1].any()
    for curve in (member.validation_loss_curve_ for member in clf.estimators_):
        assert np.isfinite(curve).all()
    assert np.isfinite(clf.oof_proba_).all()  # of rows without weight too
    np.testing.assert_array_equal(np.sort(np.concatenate(clf.held_out_[:4])), np.arange(len(y)))


def test_rows_without_weight_do_not_matter():
    weight = np.where(np.arange(len(y)) % 3 == 0, 0.0, 1.0)
    other = X.copy()
    other[weight == 0] *= -1
    clf, expected = ensemble().fit(X, y, weight), ensemble().fit(other, y, weight)
    assert_same_bits(all_parameters(clf), all_parameters(expected))
    assert clf.oof_score_ == expected.oof_score_


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(len(y)), "zero"),  # scikit-learn from 1.9 on says it itself
        (y.astype(float), r"with a sample_weight above zero, got \{0: 0, 1: \d+\}"),
        (-np.ones(len(y)), "Negative values in data passed to `sample_weight`"),
        (np.ones(3), "sample_weight.shape"),
    ],
    ids=["all zero", "zero for a class", "negative", "too few"],
)
def test_bad_weights_are_told(weight, message):
    with pytest.raises(ValueError, match=message):
        ensemble().fit(X, y, sample_weight=weight)


class SeesRows(TransformerMixin, BaseEstimator):
    """Keeps what it was fitted on."""

    def fit(self, X, y=None):
        self.rows_ = X
        return self

    def transform(self, X):
        return X


def test_encoder_is_fitted_with_the_weights_that_it_takes():
    weight = np.random.default_rng(1).integers(0, 4, len(y)).astype(float)
    scaler, seen = ensemble(2, encoders=[StandardScaler(), SeesRows()]).fit(X, y, weight).encoders_
    expected = StandardScaler().fit(X, sample_weight=weight)
    np.testing.assert_allclose(scaler.mean_, expected.mean_, rtol=1e-12)  # rows of weight 0 are summed or not
    np.testing.assert_array_equal(seen.rows_, X[weight > 0])


# Folds that are given


def test_given_folds_are_those_of_the_members_in_turn():
    groups = np.arange(len(y)) % 12
    splits = list(GroupKFold(3).split(X, y, groups))
    clf = ensemble(4, cv=splits).fit(X, y)
    for rows, (_, expected) in zip(clf.held_out_, [*splits, splits[0]], strict=True):
        np.testing.assert_array_equal(rows, expected)
        assert not set(groups[rows]) & set(np.delete(groups, rows))
    assert np.isfinite(clf.oof_proba_).all()


def test_splitter_gives_the_folds_of_its_splits():
    splitter = StratifiedKFold(4, shuffle=True, random_state=7)
    clf, expected = ensemble(cv=splitter).fit(X, y), ensemble(cv=list(splitter.split(X, y))).fit(X, y)
    assert_same_model(clf, expected)


def test_member_trains_on_no_row_that_its_split_leaves_out():
    splits = list(TimeSeriesSplit(4).split(X))
    clf = ensemble(cv=splits).fit(X, y)
    other = X.copy()
    other[splits[1][1][-1] + 1 :] += 100  # after all that the first two members may see
    expected = ensemble(cv=splits).fit(other, y)
    for k in range(2):
        assert_same_bits(parameters_of(clf.estimators_[k]), parameters_of(expected.estimators_[k]))
    first = splits[0][1][0]
    assert np.isnan(clf.oof_proba_[:first]).all()
    assert np.isfinite(clf.oof_proba_[first:]).all()
    assert clf.oof_score_["log_loss"] == pytest.approx(log_loss(y[first:], clf.oof_proba_[first:, 1]), rel=1e-12)


def test_masks_serve_as_rows_of_a_split():
    training = np.arange(len(y)) % 3 > 0
    rows = np.flatnonzero(training), np.flatnonzero(~training)
    assert_same_model(ensemble(2, cv=[(training, ~training)]).fit(X, y), ensemble(2, cv=[rows]).fit(X, y))


def test_auc_is_nan_where_all_held_out_rows_are_of_one_class():
    negative = np.flatnonzero(y == 0)[:10]
    clf = ensemble(2, cv=[(np.setdiff1d(np.arange(len(y)), negative), negative)]).fit(X, y)
    assert np.isnan(clf.oof_score_["roc_auc"])
    assert np.isfinite(clf.oof_score_["log_loss"])


every = np.arange(len(y))


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([], "no splits"),
        ([(every[:60], every[50:])], "rows to train on among those it holds out"),
        ([(every[:60], every[60:61] + 1000)], "numbers of training and of held-out rows"),
        ([every], "numbers of training and of held-out rows"),
        ([(every[:60], every[60:]), (np.flatnonzero(y), np.flatnonzero(1 - y))], "split 1 has to have rows of both"),
        ([(every, every[:0])], "split 0 has to have .* rows to stop by"),
    ],
    ids=["none", "overlap", "no such row", "not pairs", "one class", "nothing to stop by"],
)
def test_bad_folds_are_told(cv, message):
    with pytest.raises(ValueError, match=f"cv: .*{message}"):
        ensemble(cv=cv).fit(X, y)


def test_fold_without_weight_is_told():
    weight = (every < 60).astype(float)
    with pytest.raises(ValueError, match="cv: split 0 has to have"):
        ensemble(cv=[(every[:60], every[60:])]).fit(X, y, weight)


# Members that fail, Ctrl-C, max_time


def calls_of_fit(monkeypatch, before=lambda k, estimator: None, after=lambda k, estimator, end: end):
    """Calls `before` and `after` around the training of each member, with its number by order of beginning."""
    whole, count, lock = BCEMLPClassifier._fit, iter(range(10**6)), threading.Lock()

    def watched(self, *args, **kwargs):
        with lock:
            k = next(count)
        before(k, self)
        return after(k, self, whole(self, *args, **kwargs))

    monkeypatch.setattr(BCEMLPClassifier, "_fit", watched)


def diverges(*numbers):
    return lambda k, estimator, end: (
        SimpleNamespace(outcome=Outcome.DIVERGED, best_logits=None, unseen_logits=None) if k in numbers else end
    )


def test_a_member_that_diverges_is_left_out(monkeypatch):
    calls_of_fit(monkeypatch, after=diverges(1))
    clf = ensemble(n_threads=1)
    with pytest.warns(ConvergenceWarning, match="^1 of 4 members are left out, for their parameters became non-f") as w:
        clf.fit(X, y)
    assert w[0].filename == __file__
    whole = ensemble()
    monkeypatch.undo()
    whole.fit(X, y)
    assert_same_bits(parameters_of(clf.estimators_[1]), parameters_of(whole.estimators_[2]))
    assert len(clf.estimators_) == len(clf.held_out_) == 3
    lost = whole.held_out_[1]
    assert np.isnan(clf.oof_proba_[lost]).all()
    seen = np.setdiff1d(np.arange(len(y)), lost)
    np.testing.assert_array_equal(clf.oof_proba_[seen], whole.oof_proba_[seen])
    assert clf.oof_score_["log_loss"] == log_loss(y[seen], clf.oof_proba_[seen, 1])
    np.testing.assert_allclose(
        clf.predict_proba(X), np.mean([m.predict_proba(X) for m in clf.estimators_], axis=0), **ROUNDING
    )


@pytest.mark.parametrize("lost", [(0, 2), (1, 3)])
def test_an_encoder_all_of_whose_members_are_lost_is_not_asked(monkeypatch, lost):
    calls_of_fit(monkeypatch, after=diverges(*lost))
    clf = ensemble(encoders=[StandardScaler(), MinMaxScaler()], n_threads=1)
    with pytest.warns(ConvergenceWarning, match="2 of 4 members are left out"):
        clf.fit(X, y)
    used = 1 - lost[0]
    clf.encoders_[lost[0]] = None
    expected = np.mean([m.predict_proba(clf.encoders_[used].transform(X)) for m in clf.estimators_], axis=0)
    np.testing.assert_allclose(clf.predict_proba(X), expected, **ROUNDING)


def state_of(clf):
    return {name: id(value) for name, value in vars(clf).items()}


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize("fitted", [False, True])
def test_where_all_members_diverge_the_estimator_stays_as_it_was(fitted):
    clf = ensemble()
    if fitted:
        clf.fit(pd.DataFrame(X, columns=list("abcd")), y)
    bad = template(solver="sgd", learning_rate_init=1e10, hidden_layer_sizes=(20, 20, 20))
    clf.set_params(estimator=bad)
    before = state_of(clf)
    with pytest.raises(ValueError, match="No member could be trained: the parameters of each became non-finite"):
        clf.fit(X[:, :3] * 1e3, y)
    assert state_of(clf) == before


@pytest.mark.usefixtures("two_blas_threads")
def test_an_error_in_a_member_ends_the_others_and_is_raised(monkeypatch):
    before_blas, n_begun = blas_threads(), []

    def fails_at_the_second(k, estimator):
        n_begun.append(k)
        if k == 1:
            raise RuntimeError("no such thing")

    calls_of_fit(monkeypatch, before=fails_at_the_second)
    clf = ensemble(50, template(max_iter=10**6, tol=0, n_iter_no_change=np.inf), n_threads=2)
    before = state_of(clf)
    with pytest.raises(RuntimeError, match="no such thing"):
        clf.fit(X, y)
    assert state_of(clf) == before
    assert len(n_begun) <= 3
    assert blas_threads() == before_blas
    assert not [thread for thread in threading.enumerate() if thread.name == "skbce member"]


def test_an_error_of_a_scorer_names_it():
    def broken(estimator, X, y):
        raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        ensemble(estimator=template(scoring=broken)).fit(X, y)


def test_a_warning_turned_into_an_error_leaves_the_model():
    clf = ensemble()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning, match="4 of 4 members had not converged after max_iter=8 epochs"):
            clf.fit(X, y)
    assert len(clf.estimators_) == 4


@pytest.mark.parametrize("parameters", [{"learning_rate": "cosine"}, {"max_iter": 1000, "tol": 1.0}])
def test_nothing_is_said_where_training_ends_as_planned(parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ensemble(estimator=template(**parameters)).fit(X, y)


@pytest.fixture
def default_sigint():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


ENDLESS = {"max_iter": 10**6, "tol": 0, "n_iter_no_change": np.inf}


@pytest.mark.usefixtures("default_sigint", "two_blas_threads")
@pytest.mark.parametrize("n_done", [0, 2])
def test_ctrl_c_keeps_members_that_are_done_and_those_in_training(monkeypatch, n_done):
    """The signal comes with the first call of the kernels of the first member that would go on for ever."""
    before_blas = blas_threads()
    whole = ensemble(6, template(max_iter=2, tol=10.0)).fit(X, y)
    pressed, all_begun = threading.Event(), threading.Event()
    run_steps = doors.run_steps

    class News(SimpleQueue):
        def get(self, *args, **kwargs):
            all_begun.set()  # before, it is as if none had begun
            return super().get(*args, **kwargs)

    monkeypatch.setattr(skbce.ensemble, "SimpleQueue", News)

    def press(k, estimator):
        if k < n_done:
            estimator.set_params(max_iter=2, tol=10.0)
        elif not pressed.is_set():

            def pressing(*args):
                if not pressed.is_set():
                    assert all_begun.wait(30)
                    pressed.set()
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                return run_steps(*args)

            monkeypatch.setattr(doors, "run_steps", pressing)

    calls_of_fit(monkeypatch, before=press)
    clf = ensemble(6, template(**ENDLESS), n_threads=1)
    with pytest.warns(ConvergenceWarning, match="members are left out, for Ctrl-C came before they began; ") as caught:
        clf.fit(X, y)
    assert "1 of 6 members had not converged when Ctrl-C ended their training" in str(caught[0].message)
    assert len(clf.estimators_) == n_done + 1
    for k in range(n_done):
        assert_same_bits(parameters_of(clf.estimators_[k]), parameters_of(whole.estimators_[k]))
    assert np.isfinite(clf.predict_proba(X)).all()
    assert np.isfinite(clf.oof_proba_[np.concatenate(clf.held_out_)]).all()
    assert np.isnan(clf.oof_proba_).any()
    assert blas_threads() == before_blas


@pytest.mark.usefixtures("default_sigint", "two_blas_threads")
def test_ctrl_c_that_wakes_nobody_ends_the_fit_all_the_same(monkeypatch):
    """It comes between Python's last look for signals and its wait; interrupt_main makes one that never wakes it."""
    pressed, late = threading.Event(), threading.Event()
    run_steps = doors.run_steps

    def press_again():
        late.set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    timer = threading.Timer(20, press_again)

    def pressing(*args):
        if not pressed.is_set():
            pressed.set()
            time.sleep(0.2)  # the fit waits by now
            _thread.interrupt_main()
            timer.start()
        return run_steps(*args)

    monkeypatch.setattr(doors, "run_steps", pressing)
    with pytest.warns(ConvergenceWarning, match="1 of 2 members are left out, for Ctrl-C came before they began"):
        ensemble(2, template(**ENDLESS), n_threads=1).fit(X, y)
    timer.cancel()
    assert not late.is_set()


@pytest.mark.usefixtures("default_sigint")
def test_ctrl_c_before_a_model_goes_on_up(monkeypatch):
    clf = ensemble(n_threads=1)
    before = state_of(clf)

    def press(k, estimator, end):
        if k == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return SimpleNamespace(outcome=Outcome.DIVERGED, best_logits=None, unseen_logits=None)

    calls_of_fit(monkeypatch, after=press)
    with pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)
    assert state_of(clf) == before


@pytest.fixture
def clock(monkeypatch):
    """The ensemble's and the members' clock; it stands until it is set."""
    clock = SimpleNamespace(now=0.0)
    stopped = SimpleNamespace(perf_counter=lambda: clock.now)
    for module in ("skbce.ensemble", "skbce._training.stopping"):
        monkeypatch.setattr(f"{module}.time", stopped)
    return clock


def test_time_that_is_over_leaves_out_members_that_have_not_begun(monkeypatch, clock):
    def passes(k, estimator, end):
        clock.now = 20.0 * (k >= 1)
        return end

    calls_of_fit(monkeypatch, after=passes)
    clf = ensemble(5, template(max_iter=100, tol=10.0), max_time=10.0, n_threads=1)
    with pytest.warns(
        ConvergenceWarning, match=r"^3 of 5 members are left out, for max_time came before they began\.$"
    ):
        clf.fit(X, y)
    assert len(clf.estimators_) == 2
    assert [member.max_time for member in clf.estimators_] == [None, None]
    assert np.isnan(clf.oof_proba_).any(axis=1).sum() == len(y) - sum(map(len, clf.held_out_))


def test_time_that_is_over_ends_members_in_training_at_their_best(monkeypatch, clock):
    limits = []

    def late(k, estimator):
        limits.append(estimator.max_time)
        run_steps = doors.run_steps

        def passes(*args):
            result = run_steps(*args)
            clock.now = 20.0
            return result

        if k == 1:
            monkeypatch.setattr(doors, "run_steps", passes)

    calls_of_fit(monkeypatch, before=late)
    clf = ensemble(2, template(max_time=1000.0, tol=10.0, max_iter=100), max_time=10.0, n_threads=1)
    with pytest.warns(ConvergenceWarning, match=r"^1 of 2 members had not converged when max_time ended their traini"):
        clf.fit(X, y)
    assert limits == [10.0, 10.0]
    assert [member.max_time for member in clf.estimators_] == [1000.0, 1000.0]
    assert clf.estimators_[1].n_iter_ == 1
    assert np.isfinite(clf.oof_proba_).all()


@pytest.mark.usefixtures("clock")
def test_the_lower_of_both_limits_holds(monkeypatch):
    limits = []
    calls_of_fit(monkeypatch, before=lambda k, estimator: limits.append(estimator.max_time))
    ensemble(2, template(max_time=3.0), max_time=10.0).fit(X, y)
    assert limits == [3.0, 3.0]


@ignores_members_left_out
@pytest.mark.parametrize("n_threads", [1, 2])
def test_no_time_at_all_is_time_for_a_step_of_a_member(n_threads):
    clf = ensemble(max_time=1e-12, n_threads=n_threads).fit(X, y)
    assert len(clf.estimators_) == 1
    assert clf.estimators_[0].t_ >= 10
    assert np.isfinite(clf.predict_proba(X)).all()


@pytest.mark.usefixtures("clock")
def test_time_that_is_not_over_changes_nothing():
    assert_same_model(ensemble(max_time=100.0).fit(X, y), ensemble().fit(X, y))


def test_fit_failing_in_validation_leaves_a_fitted_model():
    clf = ensemble().fit(pd.DataFrame(X, columns=list("abcd")), y)
    before, expected = state_of(clf), clf.predict_proba(pd.DataFrame(X, columns=list("abcd")))
    bad = {"only one class": (X[:, :2], 0 * y), "inconsistent": (X[:, :2], y[:-1]), "NaN": (X * np.nan, y)}
    for message, data in bad.items():
        with pytest.raises(ValueError, match=message):
            clf.fit(*data)
        assert state_of(clf) == before
    np.testing.assert_array_equal(clf.predict_proba(pd.DataFrame(X, columns=list("abcd"))), expected)


# Memory


@pytest.mark.parametrize("form", ["float64", "float32", "csc"])
def test_members_share_the_rows(form):
    rows, labels = table(20_000, 60, np.float32 if form == "float32" else np.float64)
    given = sp.csc_matrix(rows) if form == "csc" else rows
    size = rows.nbytes * (1.5 if form == "csc" else 1)  # int32 beside each float64
    n_estimators = 6
    clf = ensemble(n_estimators, template(max_iter=1, batch_size=500, dtype="float32"), n_threads=2)
    gc.collect()
    peak = peak_bytes(lambda: clf.fit(given, labels))
    # A fold at a time is copied for out-of-fold probabilities; CSC becomes CSR, once. Beside that, numbers of rows,
    # targets and probabilities: some 100 bytes a row, of 240 and more.
    allowed = size / n_estimators + (size if form == "csc" else 0) + 100 * len(labels) + 2**20
    assert peak < allowed
    assert allowed < (2.2 if form == "csc" else 1) * size  # so a copy would be seen


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_an_encoder_gives_is_not_copied(dtype):
    rows = X.astype(dtype)
    assert np.shares_memory(skbce.ensemble._encoded_table(FunctionTransformer().fit(rows), rows), rows)


def test_config_of_the_caller_reaches_the_members():
    import sklearn

    seen = set()

    def scorer(estimator, X, y):
        seen.add(sklearn.get_config()["working_memory"])
        return estimator.score(X, y)

    with sklearn.config_context(working_memory=77):
        ensemble(2, template(scoring=scorer)).fit(X, y)
    assert seen == {77}


def test_models_predict_while_they_are_fitted_again():
    clf = ensemble(3, encoders=StandardScaler()).fit(X, y)
    expected = clf.predict_proba(X)
    done = threading.Event()

    def predict_on():
        n = 0
        while not done.is_set() or n == 0:
            np.testing.assert_array_equal(clf.predict_proba(X), expected)
            n += 1

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(predict_on)
        for _ in range(3):
            clf.fit(X, y)
        done.set()
        future.result()


def test_many_rows_are_predicted_as_the_members_predict_their_encodings(monkeypatch):
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [rng.standard_normal(300), rng.integers(0, 2, 300), rng.integers(0, 5, 300), rng.standard_cauchy(300)]
    )
    X[::7, 2] = X[::11, 1] = np.nan
    y = X[:, 0] > 0
    encoders = [PiecewiseLinearEncoder(9), PiecewiseLinearEncoder(3, include_value=False)]
    clf = BCEMLPEnsembleClassifier(template(max_iter=5), 2, encoders=encoders, random_state=0).fit(X, y)
    far = np.vstack([10 * X, X, np.full((5, 4), np.nan)])
    expected = np.mean(
        [m.predict_proba(e.transform(far)) for m, e in zip(clf.estimators_, clf.encoders_, strict=True)], axis=0
    )
    # W's running sums are rounded once more than its rows: up to 2e-6 was found on twenty tables.
    np.testing.assert_allclose(clf.predict_proba(far), expected, rtol=1e-5)
    whole = clf.predict_proba(far)
    monkeypatch.setattr("skbce.ensemble._LOOKED_UP_AT_ONCE", 50)  # so that rows come in several parts
    np.testing.assert_allclose(clf.predict_proba(far), whole, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [(3,), (24, 5), (77, 4)])
def test_looked_up_products_are_those_of_the_encoding_with_any_units_and_precision(units, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((700, 20))  # columns in groups, rows in blocks
    X[:, 3] = rng.integers(0, 2, 700)
    X[rng.random(X.shape) < 0.1] = np.nan
    member = BCEMLPClassifier(units, dtype=dtype, max_iter=2, early_stopping=True, batch_size=100)
    clf = BCEMLPEnsembleClassifier(member, 3, encoders=PiecewiseLinearEncoder(40), random_state=0)
    clf.fit(X, np.nanmean(X, axis=1) > 0)
    encoded = clf.encoders_[0].transform(X)
    expected = np.mean([m.predict_proba(encoded) for m in clf.estimators_], axis=0)
    # W's running sums are rounded once more than its rows; float64 members see float32 shares of a bin either way.
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5 if dtype == "float32" else 1e-12)


def test_looked_up_predictions_are_the_same_with_any_number_of_threads(monkeypatch):
    monkeypatch.setattr("skbce._prediction._LOOKED_UP_THREAD_WORK", 1)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 6))
    X[rng.random(X.shape) < 0.1] = np.nan
    y = np.nansum(X, axis=1) > 0
    encoders = [PiecewiseLinearEncoder(n_bins) for n_bins in (8, 40, 1)]
    clf = BCEMLPEnsembleClassifier(template(max_iter=3), 4, encoders=encoders, linear_share=0.2, random_state=0)
    clf.fit(X, y)
    predicted = []
    for n_threads in (1, 2, 3, 8):
        for estimator in (clf, clf.linear_, *clf.estimators_, *clf.encoders_):
            estimator.set_params(n_threads=n_threads)
        predicted.append(clf.predict_proba(X))
    for other in predicted[1:]:
        np.testing.assert_array_equal(other, predicted[0])


@pytest.mark.parametrize("n_rows", [1, 2, 65])
def test_few_rows_are_looked_up_as_many_are(n_rows):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 3))
    encoders = [PiecewiseLinearEncoder(20), PiecewiseLinearEncoder(2)]
    clf = BCEMLPEnsembleClassifier(template(max_iter=3), 2, encoders=encoders, random_state=0).fit(X, X[:, 0] > 0)
    # BLAS sums in another order where a product has few rows; probabilities are of float32.
    np.testing.assert_allclose(clf.predict_proba(X[:n_rows]), clf.predict_proba(X)[:n_rows], rtol=1e-6)


def test_members_of_both_precisions_are_looked_up_together():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((700, 4))
    clf = BCEMLPEnsembleClassifier(template(max_iter=3), 5, encoders=PiecewiseLinearEncoder(12), random_state=0)
    clf.fit(X, X[:, 0] > 0)
    for member in clf.estimators_[1::2]:
        member.set_params(dtype="float64")
        member.coefs_ = [W.astype(np.float64) for W in member.coefs_]
        member.intercepts_ = [b.astype(np.float64) for b in member.intercepts_]
    encoded = clf.encoders_[0].transform(X)
    expected = np.mean([member.predict_proba(encoded) for member in clf.estimators_], axis=0)
    np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-5)  # running sums in float32


@pytest.mark.parametrize("n_bins", [7, 8, 9])  # on both sides of lookup.pxd's FEW_BINS
def test_values_bins_and_indicators_are_multiplied_or_looked_up_alike(n_bins):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 30))
    X[:, ::4] = rng.integers(0, 2, (200, 8))
    X[:, 5] = np.where(X[:, 5] > 0, np.nan, 1.0)  # an indicator alone
    X[rng.random(X.shape) < 0.05] = np.nan
    member = BCEMLPClassifier((5,), dtype="float64", max_iter=2, early_stopping=True)
    for include_value in (True, False):
        encoder = PiecewiseLinearEncoder(n_bins, include_value=include_value)
        clf = BCEMLPEnsembleClassifier(member, 2, encoders=encoder, random_state=0).fit(X, np.nanmean(X, axis=1) > 0)
        encoded = clf.encoders_[0].transform(X)
        expected = np.mean([m.predict_proba(encoded) for m in clf.estimators_], axis=0)
        np.testing.assert_allclose(clf.predict_proba(X), expected, rtol=1e-12)


def test_looked_up_predictions_name_a_member_that_is_not_finite():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 2))
    clf = BCEMLPEnsembleClassifier(template(max_iter=3), 2, encoders=PiecewiseLinearEncoder(4), random_state=0)
    clf.fit(X, X[:, 0] > 0)
    clf.estimators_[1].coefs_[0][2, 1] = np.nan
    with pytest.raises(ValueError, match="coefs_ or intercepts_ contain NaN"):
        clf.predict_proba(X)
