"""linear_share of BCEMLPEnsembleClassifier: a logistic regression beside the networks."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

import skbce
import skbce._linear_share
from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder
from skbce._training import Outcome
from tests.model_checks import assert_same_bits

pytestmark = pytest.mark.filterwarnings("ignore:.*had not converged:sklearn.exceptions.ConvergenceWarning")


def table(n_rows=150, n_features=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features)) * 10.0 ** np.arange(n_features) + 3
    y = (StandardScaler().fit_transform(X) @ np.linspace(1, -1, n_features) + rng.logistic(size=n_rows) > 0).astype(int)
    return X, y


X, y = table()


def ensemble(n_estimators=3, **parameters):
    member = BCEMLPClassifier((5,), max_iter=8, batch_size=16, scoring="loss")
    return BCEMLPEnsembleClassifier(
        member, n_estimators, **{"random_state": 0, "encoders": PiecewiseLinearEncoder(3), **parameters}
    )


def fitted_by_scikit_learn(clf, table, sample_weight=None):
    """The linear models of each member's rows: the mean of their logits, and out-of-fold probabilities of class 1."""
    weight = np.ones(len(y)) if sample_weight is None else sample_weight
    standardised = StandardScaler().fit(table, sample_weight=sample_weight).transform(table)
    Z, P = np.zeros(len(y)), np.zeros(len(y))
    for rows in clf.held_out_:
        training = np.setdiff1d(np.arange(len(y)), rows)
        model = LogisticRegression(tol=1e-10, max_iter=1000)
        model.fit(standardised[training], y[training], sample_weight=weight[training])
        Z += model.decision_function(standardised) / len(clf.held_out_)
        P[rows] = model.predict_proba(standardised[rows])[:, 1]
    return Z, P


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("encoders", [None, PiecewiseLinearEncoder(3), [StandardScaler(), PiecewiseLinearEncoder(3)]])
def test_linear_model_is_the_mean_of_logistic_regressions_on_the_members_rows(encoders, weighted):
    weight = np.random.default_rng(0).integers(1, 4, len(y)).astype(float) if weighted else None
    clf = ensemble(encoders=encoders, linear_share=0.25).fit(X, y, sample_weight=weight)
    shown = clf.encoders_[0].transform(X) if clf.encoders_ else X
    Z, P = fitted_by_scikit_learn(clf, shown, weight)
    # Where L-BFGS stops at a gradient of 1e-4 or so, both minimise a loss of curvature 0.1 and more.
    np.testing.assert_allclose(clf.linear_.decision_function(shown), Z, atol=0.02)
    networks = ensemble(encoders=encoders).fit(X, y, sample_weight=weight)
    expected = 0.75 * networks.oof_proba_[:, 1] + 0.25 * P
    np.testing.assert_allclose(clf.oof_proba_[:, 1], expected, atol=0.002)
    assert clf.linear_share_ == 0.25


@pytest.mark.parametrize("n_rows", [3, 150])
def test_probabilities_are_the_mean_of_both_by_their_shares(n_rows):
    clf, networks = ensemble(linear_share=0.3).fit(X, y), ensemble().fit(X, y)
    of_linear = clf.linear_.predict_proba(clf.encoders_[0].transform(X[:n_rows]))
    expected = 0.7 * networks.predict_proba(X[:n_rows]) + 0.3 * of_linear
    np.testing.assert_allclose(clf.predict_proba(X[:n_rows]), expected, rtol=1e-6)  # running sums in lookups
    assert_same_bits([networks.estimators_[0].coefs_[0]], [clf.estimators_[0].coefs_[0]])


@pytest.mark.parametrize("weighted", [False, True])
def test_share_is_the_best_out_of_fold_less_a_tenth(weighted):
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float) if weighted else None
    clf = ensemble(linear_share="oof").fit(X, y, sample_weight=weight)
    # The probabilities are a mean, by the share, of networks and a linear model that no share changes.
    fixed = {share: ensemble(linear_share=share).fit(X, y, sample_weight=weight) for share in (0, 0.3, 0.99)}
    networks, linear = fixed[0].oof_proba_[:, 1], fixed[0.99].oof_proba_[:, 1]

    def loss(share):
        return log_loss(y, networks + share / 0.99 * (linear - networks), sample_weight=weight)

    for share, one in fixed.items():
        assert loss(share) == pytest.approx(one.oof_score_["log_loss"], rel=1e-6)  # members' float32
    best = min(range(100), key=lambda k: loss(0.01 * k))
    assert 0 < clf.linear_share_ == pytest.approx(0.01 * best - 0.1, abs=0.006)  # half a step of the grid, and 1e-3


def test_a_linear_model_has_no_share_where_networks_know_better():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (600, 2))
    y = X[:, 0] * X[:, 1] > 0
    member = BCEMLPClassifier((32,), max_iter=60, batch_size=16, learning_rate_init=0.01, scoring="loss")
    clf = BCEMLPEnsembleClassifier(member, 3, linear_share="oof", random_state=0).fit(X, y)
    assert clf.linear_ is None
    assert clf.linear_share_ == 0
    alone = BCEMLPEnsembleClassifier(member, 3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clf.predict_proba(X), alone.predict_proba(X))
    np.testing.assert_array_equal(clf.oof_proba_, alone.oof_proba_)


def test_few_rows_of_a_linear_target_are_predicted_better():
    scores = []
    for seed in range(5):
        X, y = table(1200, 12, seed)
        of_both = []
        for share in (0.0, "oof"):
            clf = ensemble(4, encoders=StandardScaler(), linear_share=share).fit(X[:120], y[:120])
            of_both.append(log_loss(y[120:], clf.predict_proba(X[120:])))
        scores.append(of_both)
    alone, beside = np.mean(scores, axis=0)
    assert beside < 0.97 * alone


def test_sparse_rows_are_scaled_and_not_centred():
    rows = sp.random(150, 30, 0.2, "csr", random_state=0)
    y = np.asarray(rows.sum(axis=1)).ravel() > 3
    sparse, dense = (ensemble(encoders=None, linear_share=0.5).fit(form, y) for form in (rows, rows.toarray()))
    # Centring changes the intercept alone, which has no penalty.
    np.testing.assert_allclose(sparse.linear_.coefs_[0], dense.linear_.coefs_[0], atol=0.02)
    np.testing.assert_allclose(sparse.predict_proba(rows), dense.predict_proba(rows.toarray()), atol=0.005)


def test_same_bits_for_any_number_of_threads():
    models = [ensemble(linear_share="oof", n_threads=n).fit(X, y) for n in (1, 2, 3)]
    for model in models[1:]:
        assert model.linear_share_ == models[0].linear_share_
        np.testing.assert_array_equal(model.predict_proba(X), models[0].predict_proba(X))


def test_calibration_is_of_the_probabilities_with_the_share():
    plain = ensemble(linear_share=0.5).fit(X, y)
    clf = ensemble(linear_share=0.5, calibration="temperature").fit(X, y)
    assert clf.temperature_ != 1
    Z = plain.decision_function(X) / clf.temperature_
    np.testing.assert_allclose(clf.decision_function(X), Z, rtol=1e-9)
    assert clf.oof_score_["log_loss"] < plain.oof_score_["log_loss"]


def test_no_linear_model_where_the_time_is_over(monkeypatch):
    monkeypatch.setattr(skbce._linear_share, "time", SimpleNamespace(perf_counter=lambda: np.inf))
    clf = ensemble(linear_share=0.5).fit(X, y)
    assert clf.linear_ is not None
    clf = ensemble(linear_share=0.5, max_time=1e5).fit(X, y)
    assert (clf.linear_, clf.linear_share_, len(clf.estimators_)) == (None, 0, 3)


@pytest.mark.parametrize("how", ["raised", "ended early"])
def test_ctrl_c_leaves_the_networks(monkeypatch, how):
    fit = BCEMLPClassifier._fit

    def interrupted(self, *args, **options):
        if self.hidden_layer_sizes != ():
            return fit(self, *args, **options)
        if how == "raised":
            raise KeyboardInterrupt
        end = fit(self, *args, **options)
        return type(end)(Outcome.INTERRUPTED)

    monkeypatch.setattr(BCEMLPClassifier, "_fit", interrupted)
    with pytest.warns(ConvergenceWarning, match="Ctrl-C came when all members were trained"):
        clf = ensemble(linear_share=0.5).fit(X, y)
    assert (clf.linear_, clf.linear_share_, len(clf.estimators_)) == (None, 0, 3)


@pytest.mark.parametrize("share", [1, -0.1, np.nan, "auto", None])
def test_bad_share_is_named(share):
    with pytest.raises(ValueError, match="linear_share"):
        ensemble(linear_share=share).fit(X, y)


@pytest.mark.parametrize(
    "edit",
    [{"linear_share_": 1.0}, {"linear_share_": 0.0}, {"linear_": None}, {"linear_": StandardScaler()},
     {"linear_share_": "much"}],
)  # fmt: skip
def test_edited_attributes_are_named(edit):
    clf = ensemble(linear_share=0.5).fit(X, y)
    vars(clf).update(edit)
    with pytest.raises((ValueError, TypeError), match="linear_"):
        clf.predict_proba(X)


def test_files_hold_it(tmp_path):
    clf = ensemble(linear_share=0.5).fit(X, y)
    clf.save(tmp_path / "model")
    np.testing.assert_array_equal(skbce.load(tmp_path / "model").predict_proba(X), clf.predict_proba(X))


def test_onnx_graph_has_it():
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    clf = ensemble(linear_share=0.5).fit(X, y)
    session = onnxruntime.InferenceSession(clf.to_onnx().SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: X})
    np.testing.assert_allclose(found[-1], clf.predict_proba(X), atol=1e-6)


def test_class_weight_of_the_members_is_the_linear_models():
    member = BCEMLPClassifier((5,), max_iter=8, batch_size=16, scoring="loss", class_weight={0: 1, 1: 5})
    heavy = BCEMLPEnsembleClassifier(member, 3, linear_share=0.5, random_state=0).fit(X, y)
    assert (
        heavy.linear_.decision_function(X).mean()
        > ensemble(encoders=None, linear_share=0.5).fit(X, y).linear_.decision_function(X).mean() + 0.5
    )


def test_no_warning_where_nothing_is_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BCEMLPEnsembleClassifier(n_estimators=2, encoders=StandardScaler(), linear_share="oof").fit(X, y)
