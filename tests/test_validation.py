"""Rows to validate on, and what is measured on them."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.metrics import (
    accuracy_score,
    adjusted_rand_score,
    f1_score,
    fbeta_score,
    log_loss,
    make_scorer,
    roc_auc_score,
)
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbce.classifier
from skbce import BCEMLPClassifier
from tests.model_checks import assert_same_bits, parameters_of

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

STOCHASTIC = {"adam": {"learning_rate_init": 0.05}, "sgd": {"solver": "sgd", "learning_rate_init": 0.3}}
every_stochastic = pytest.mark.parametrize("solver", STOCHASTIC.values(), ids=STOCHASTIC)


def classifier(**parameters):
    settings = {"hidden_layer_sizes": (9, 5), "max_iter": 12, "batch_size": 40, "random_state": 0}
    return BCEMLPClassifier(**{**settings, **parameters})


def table(n_rows=300, dtype=np.float64, target="binary"):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 6)).astype(dtype)
    Y = np.column_stack((X[:, 0] - X[:, 1], X[:, 2] + 0.4, X[:, 3] * X[:, 4])) + 2 * rng.standard_normal((n_rows, 3))
    Y = (Y > 0).astype(int)
    return X, Y if target == "multilabel" else Y[:, 0]


def halves(**kind):
    """200 rows to train on, and 100 to validate on."""
    X, y = table(**kind)
    return (X[:200], y[:200]), {"X_val": X[200:], "y_val": y[200:]}


def some_weights(n_rows):
    return np.random.default_rng(1).uniform(0.1, 3, n_rows)


def rows_of_early_stopping(monkeypatch):
    """Where the row numbers are written down that early stopping draws, to train on and to validate on."""
    drawn = []

    def split(*arrays, **options):
        drawn[:] = train_test_split(*arrays, **options)
        return drawn

    monkeypatch.setattr(skbce.classifier, "train_test_split", split)
    return drawn


def assert_same_course(clf, expected):
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_", "best_validation_score_"):
        assert getattr(clf, name) == getattr(expected, name), name
    assert (clf.best_iteration_, clf.n_iter_, clf.t_) == (expected.best_iteration_, expected.n_iter_, expected.t_)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("scoring", [None, "loss", "f1_macro"])
@pytest.mark.parametrize("target", ["binary", "multilabel"])
@every_stochastic
def test_the_rows_of_the_split_given_as_validation_rows_give_the_same_model(
    monkeypatch, solver, target, scoring, weighted
):
    X, y = table(target=target)
    weight = some_weights(len(X)) if weighted else None
    # The split draws from the generator that shuffles, so that shuffled rows would come in another order.
    clf = classifier(early_stopping=True, shuffle=False, validation_fraction=0.3, scoring=scoring, **solver)
    drawn = rows_of_early_stopping(monkeypatch)
    split = classifier(**clf.get_params()).fit(X, y, weight)
    train, held_out = drawn
    weights = {} if weight is None else {"sample_weight": weight[train], "sample_weight_val": weight[held_out]}
    drawn.clear()
    clf.fit(X[train], y[train], X_val=X[held_out], y_val=y[held_out], **weights)
    assert not drawn
    assert_same_course(clf, split)


@pytest.mark.parametrize("scoring", [None, "loss", "roc_auc"])
@every_stochastic
def test_validation_rows_are_only_noted_without_early_stopping(solver, scoring):
    (X, y), validation = halves()
    noted = classifier(scoring=scoring, **solver).fit(X, y, **validation)
    plain = classifier(**solver).fit(X, y)
    assert_same_bits(parameters_of(noted), parameters_of(plain))
    assert noted.loss_curve_ == plain.loss_curve_
    assert noted.best_loss_ == plain.best_loss_
    assert len(noted.validation_scores_) == len(noted.validation_loss_curve_) == noted.n_iter_
    assert noted.best_validation_score_ is noted.best_iteration_ is None
    assert plain.validation_scores_ is plain.validation_loss_curve_ is None


def as_frame(X):
    return pd.DataFrame(X, columns=[f"feature {k}" for k in range(X.shape[1])])


FORMS = {
    "dense": (np.asarray, np.asarray),
    "CSR rows, dense validation rows": (sp.csr_matrix, np.asarray),
    "dense rows, CSR validation rows": (np.asarray, sp.csr_array),
    "dense rows, CSC validation rows": (np.asarray, sp.csc_matrix),
    "frames": (as_frame, as_frame),
    "Fortran order, lists": (np.asfortranarray, np.ndarray.tolist),
}


@pytest.mark.parametrize("scoring", [None, "neg_log_loss"])
@pytest.mark.parametrize(("make", "make_val"), FORMS.values(), ids=FORMS)
def test_validation_rows_may_have_any_form(make, make_val, scoring):
    (X, y), validation = halves()
    settings = {"early_stopping": True, "scoring": scoring}
    expected = classifier(**settings).fit(make(X), y, **validation if make is not as_frame else {
        "X_val": as_frame(validation["X_val"]), "y_val": validation["y_val"]
    })  # fmt: skip
    clf = classifier(**settings).fit(make(X), y, X_val=make_val(validation["X_val"]), y_val=validation["y_val"])
    # The products of sparse rows are summed in another order.
    np.testing.assert_allclose(clf.validation_loss_curve_, expected.validation_loss_curve_, rtol=1e-12)
    assert clf.best_iteration_ == expected.best_iteration_
    assert_same_bits(parameters_of(clf), parameters_of(expected))


@pytest.mark.parametrize("scoring", [None, "loss", "roc_auc"])
def test_float64_validation_rows_are_measured_in_the_models_precision(scoring):
    (X, y), validation = halves()
    converted = {**validation, "X_val": validation["X_val"].astype(np.float32)}
    for parameters, rows in (({}, X.astype(np.float32)), ({"dtype": "float32"}, X)):
        settings = {"early_stopping": True, "scoring": scoring, **parameters}
        clf = classifier(**settings).fit(rows, y, **validation)
        assert clf.coefs_[0].dtype == np.float32
        assert_same_course(clf, classifier(**settings).fit(rows, y, **converted))


LABELS = {
    "strings": (lambda y: np.array(["no", "yes"])[y], np.asarray),
    "strings, validation labels in an object array": (lambda y: np.array(["no", "yes"])[y], lambda y: y.astype(object)),
    "booleans": (lambda y: y == 1, np.asarray),
    "integers, validation labels that are booleans": (np.asarray, lambda y: y == 1),
    "integers, validation labels that are floats": (np.asarray, lambda y: y.astype(float)),
    "a list": (np.asarray, np.ndarray.tolist),
    "a Series": (np.asarray, pd.Series),
}


@pytest.mark.parametrize(("label", "make"), LABELS.values(), ids=LABELS)
def test_validation_labels_are_those_of_y(label, make):
    (X, y), validation = halves()
    settings = {"early_stopping": True, "scoring": "f1_macro"}
    expected = classifier(**settings).fit(X, y, **validation)
    y_val = make(label(validation["y_val"]))
    clf = classifier(**settings).fit(X, label(y), X_val=validation["X_val"], y_val=y_val)
    assert_same_course(clf, expected)


@pytest.mark.parametrize("make", [sp.csr_matrix, np.ndarray.tolist, pd.DataFrame])
def test_multilabel_validation_targets_may_be_sparse_or_lists(make):
    (X, Y), validation = halves(target="multilabel")
    settings = {"early_stopping": True, "scoring": "f1_macro"}
    clf = classifier(**settings).fit(X, make(Y), X_val=validation["X_val"], y_val=make(validation["y_val"]))
    assert_same_course(clf, classifier(**settings).fit(X, Y, **validation))


def test_validation_columns_of_a_multilabel_target_may_have_one_class():
    (X, Y), validation = halves(target="multilabel")
    validation["y_val"][:, 1] = 0
    clf = classifier(early_stopping=True).fit(X, Y, **validation)
    assert len(clf.validation_scores_) == clf.n_iter_


def bad_validation():
    _, validation = halves()
    X_val, y_val = validation["X_val"], validation["y_val"]
    with_nan = X_val.copy()
    with_nan[3, 1] = np.nan
    return {
        "X_val alone": ({"X_val": X_val}, "X_val is given without y_val"),
        "y_val alone": ({"y_val": y_val}, "y_val is given without X_val"),
        "sample_weight_val alone": ({"sample_weight_val": np.ones(100)}, "sample_weight_val is given without X_val"),
        "other columns": ({"X_val": X_val[:, :4], "y_val": y_val}, "X_val.*4 features.*expecting 6"),
        "other rows": ({"X_val": X_val, "y_val": y_val[:-1]}, r"X_val, y_val.*\[100, 99\]"),
        "NaN": ({"X_val": with_nan, "y_val": y_val}, "X_val.*NaN"),
        "other labels": ({"X_val": X_val, "y_val": y_val + 1}, r"y_val must .* \[0, 1\]; got \{2\}"),
        "labels of another type": ({"X_val": X_val, "y_val": y_val.astype(str)}, "y_val must .* labels of y"),
        "labels of several types": (
            {"X_val": X_val, "y_val": np.array([0, "no"] * 50, dtype=object)}, "y_val must .* labels of y"
        ),
        "several columns": ({"X_val": X_val, "y_val": np.column_stack((y_val, y_val))}, "y_val must .* a column"),
        "one class": ({"X_val": X_val[y_val == 1], "y_val": y_val[y_val == 1]}, "y_val has only the class 1.*both"),
        "negative weights": ({**validation, "sample_weight_val": -np.ones(100)}, "sample_weight_val.*Negative"),
        "no weight": ({**validation, "sample_weight_val": np.zeros(100)}, "sample_weight_val.*zero"),
        "too few weights": ({**validation, "sample_weight_val": np.ones(7)}, "sample_weight_val.*sample_weight.shape"),
    }  # fmt: skip


BAD = bad_validation()


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize(("validation", "message"), BAD.values(), ids=BAD)
def test_bad_validation_rows_are_refused_and_the_model_is_kept(validation, message, early_stopping):
    (X, y), _ = halves()
    clf = classifier(early_stopping=early_stopping).fit(X, y)
    before = [array.copy() for array in parameters_of(clf)]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        clf.fit(X, y, **validation)
    assert_same_bits(parameters_of(clf), before)
    unfitted = classifier(early_stopping=early_stopping)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        unfitted.fit(X, y, **validation)
    assert not [name for name in vars(unfitted) if name.endswith("_")]


@pytest.mark.parametrize("form", ["one column", "four columns", "twos", "halves", "strings"])
def test_bad_multilabel_validation_targets_are_refused(form):
    (X, Y), validation = halves(target="multilabel")
    Y_val = validation["y_val"]
    bad = {
        "one column": Y_val[:, 0], "four columns": np.column_stack((Y_val, Y_val[:, 0])), "twos": 2 * Y_val,
        "halves": Y_val / 2, "strings": Y_val.astype(str),
    }[form]  # fmt: skip
    with pytest.raises(ValueError, match="y_val must hold 0 and 1 in 3 columns"):
        classifier().fit(X, Y, X_val=validation["X_val"], y_val=bad)


def test_validation_rows_too_large_for_the_models_precision_are_named():
    (X, y), validation = halves()
    with pytest.raises(ValueError, match=r"X_val.*too large for float32"):
        classifier(dtype="float32").fit(X, y, X_val=1e300 * validation["X_val"], y_val=validation["y_val"])


def test_validation_columns_of_other_names_are_refused():
    (X, y), validation = halves()
    X_val = as_frame(validation["X_val"])[::-1].rename(columns={"feature 2": "age"})
    with pytest.raises(ValueError, match=r"(?s)X_val.*feature names should match.*age"):
        classifier().fit(as_frame(X), y, X_val=X_val, y_val=validation["y_val"])


def test_lbfgs_takes_no_validation_rows():
    (X, y), validation = halves()
    with pytest.raises(ValueError, match="X_val needs a solver that goes batch by batch"):
        classifier(solver="lbfgs").fit(X, y, **validation)


def rare_class():
    """300 rows, of which the stratified share of 0.1 has none of the second class."""
    X, _ = table()
    return X, np.array(["common"] * 298 + ["rare"] * 2)


@pytest.mark.parametrize("scoring", [None, "loss", "roc_auc"])
def test_split_without_both_classes_is_refused_and_says_what_to_do(scoring):
    X, y = rare_class()
    clf = classifier(early_stopping=True, scoring=scoring)
    with pytest.raises(
        ValueError, match=r"only the class 'common'\. Raise validation_fraction, or give X_val and y_val"
    ):
        clf.fit(X, y)
    assert not hasattr(clf, "coefs_")
    clf.fit(X, y, X_val=X[-10:], y_val=y[-10:])
    assert clf.set_params(validation_fraction=0.5).fit(X, y).best_iteration_ >= 1


@pytest.mark.parametrize("early_stopping", [False, True])
def test_pipeline_transforms_the_validation_rows_as_the_others(early_stopping):
    (X, y), validation = halves()
    X, X_val = 7 * X + 3, 7 * validation["X_val"] + 3
    with sklearn.config_context(enable_metadata_routing=True):
        requesting = classifier(early_stopping=early_stopping).set_fit_request(X_val=True, y_val=True)
        model = make_pipeline(StandardScaler(), requesting, transform_input=["X_val"])
        model.fit(X, y, X_val=X_val, y_val=validation["y_val"])
    scaler = StandardScaler().fit(X)
    expected = classifier(early_stopping=early_stopping)
    expected.fit(scaler.transform(X), y, X_val=scaler.transform(X_val), y_val=validation["y_val"])
    assert_same_course(model[-1], expected)


def test_cross_validation_hands_the_same_validation_rows_to_every_fold():
    (X, y), validation = halves()
    with sklearn.config_context(enable_metadata_routing=True):
        requesting = classifier(early_stopping=True).set_fit_request(X_val=True, y_val=True)
        model = make_pipeline(StandardScaler(), requesting, transform_input=["X_val"])
        scores = cross_val_score(model, X, y, cv=2, params=validation, error_score="raise")
        by_hand = [
            model.fit(X[train], y[train], **validation).score(X[test], y[test])
            for train, test in sklearn.model_selection.StratifiedKFold(2).split(X, y)
        ]
    assert scores.tolist() == by_hand


def test_metadata_routing_asks_before_it_passes_validation_rows():
    (X, y), validation = halves()
    with sklearn.config_context(enable_metadata_routing=True):
        model = make_pipeline(StandardScaler(), classifier())
        with pytest.raises(ValueError, match=r"X_val.* not explicitly set as requested"):
            model.fit(X, y, **validation)


# Scoring


def of_probabilities(score):
    return lambda clf, X, y, weight: score(y, clf.predict_proba(X)[:, 1], sample_weight=weight)


def of_labels(score, **options):
    return lambda clf, X, y, weight: score(y, clf.predict(X), sample_weight=weight, **options)


def least_probability_of_the_truth(estimator, X, y, sample_weight=None):
    return estimator.predict_proba(X)[np.arange(len(y)), y].min()


def share_of_ones(estimator, X, y):
    return estimator.predict(X).mean()


SCORINGS = {
    "None": (None, of_labels(accuracy_score)),
    "accuracy": ("accuracy", of_labels(accuracy_score)),
    "loss": ("loss", lambda *args: -of_probabilities(log_loss)(*args)),
    "neg_log_loss": ("neg_log_loss", lambda *args: -of_probabilities(log_loss)(*args)),
    "roc_auc": ("roc_auc", of_probabilities(roc_auc_score)),
    "f1": ("f1", of_labels(f1_score)),
    "a scorer that was made": (make_scorer(fbeta_score, beta=2), of_labels(fbeta_score, beta=2)),
    "a name whose metric takes no weights": (
        "adjusted_rand_score", lambda clf, X, y, weight: adjusted_rand_score(y, clf.predict(X)),
    ),
    "a function": (
        least_probability_of_the_truth, lambda clf, X, y, weight: least_probability_of_the_truth(clf, X, y)
    ),
    "a function that takes no weights": (share_of_ones, lambda clf, X, y, weight: share_of_ones(clf, X, y)),
}  # fmt: skip
every_scoring = pytest.mark.parametrize(("scoring", "by_hand"), SCORINGS.values(), ids=SCORINGS)


def models_of_each_epoch(clf, X, y, weight=None):
    """The model after 1, 2, .. epochs: training with another max_iter is the same until there."""
    plain = {**clf.get_params(), "early_stopping": False}
    for n_epochs in range(1, clf.n_iter_ + 1):
        yield BCEMLPClassifier(**{**plain, "max_iter": n_epochs}).fit(X, y, weight)


@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_scoring
def test_scores_and_losses_are_those_of_each_epochs_model_and_the_best_one_is_kept(scoring, by_hand, dtype, weighted):
    (X, y), validation = halves(dtype=dtype)
    weight, weight_val = (some_weights(len(rows)) for rows in (X, validation["X_val"]))
    weight, weight_val = (weight, weight_val) if weighted else (None, None)
    clf = classifier(early_stopping=True, scoring=scoring, learning_rate_init=0.05)
    clf.fit(X, y, weight, **validation, sample_weight_val=weight_val)
    models = list(models_of_each_epoch(clf, X, y, weight))
    X_val, y_val = validation.values()
    scores = [by_hand(model, X_val, y_val, weight_val) for model in models]
    losses = [of_probabilities(log_loss)(model, X_val, y_val, weight_val) for model in models]
    # Probabilities and weights are rounded, and losses summed in another order.
    rounding = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(clf.validation_scores_, scores, rtol=rounding)
    np.testing.assert_allclose(clf.validation_loss_curve_, losses, rtol=rounding)
    if scoring == "loss":
        assert clf.validation_scores_ == [-loss for loss in clf.validation_loss_curve_]
    best = int(np.argmax(clf.validation_scores_))
    assert clf.best_iteration_ == best + 1
    assert clf.best_validation_score_ == clf.validation_scores_[best]
    assert_same_bits(parameters_of(clf), parameters_of(models[best]))


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("scoring", [None, "f1_macro", "roc_auc", "loss"])
def test_multilabel_scores_are_those_of_each_epochs_model(scoring, early_stopping):
    (X, Y), validation = halves(target="multilabel")
    clf = classifier(scoring=scoring, early_stopping=early_stopping, learning_rate_init=0.05).fit(X, Y, **validation)
    models = list(models_of_each_epoch(clf, X, Y))
    X_val, Y_val = validation.values()

    def loss(model):
        return -np.where(Y_val, model.predict_log_proba(X_val), np.log1p(-model.predict_proba(X_val))).sum(1).mean()

    by_hand = {
        None: lambda model: accuracy_score(Y_val, model.predict(X_val)),
        "f1_macro": lambda model: f1_score(Y_val, model.predict(X_val), average="macro"),
        "roc_auc": lambda model: roc_auc_score(Y_val, model.predict_proba(X_val)),
        "loss": lambda model: -loss(model),
    }[scoring]
    # The same sums in another order.
    np.testing.assert_allclose(clf.validation_scores_, [by_hand(model) for model in models], rtol=1e-12)
    np.testing.assert_allclose(clf.validation_loss_curve_, [loss(model) for model in models], rtol=1e-12)
    kept = models[int(np.argmax(clf.validation_scores_))] if early_stopping else models[-1]
    assert_same_bits(parameters_of(clf), parameters_of(kept))


@pytest.mark.parametrize("target", ["binary", "multilabel"])
@every_stochastic
def test_scoring_none_is_accuracy_and_stops_where_mlp_classifier_does(solver, target):
    X, y = table(target=target)
    settings = {"early_stopping": True, "max_iter": 60, "n_iter_no_change": 4, **solver}
    ours = classifier(**settings).fit(X, y)
    named = classifier(scoring="accuracy", **settings).fit(X, y)
    params = {name: getattr(ours, name) for name in MLPClassifier().get_params()}
    theirs = MLPClassifier(**params).fit(X, y)
    assert ours.n_iter_ == named.n_iter_ == theirs.n_iter_ < 60
    assert ours.validation_scores_ == named.validation_scores_ == theirs.validation_scores_
    assert_same_bits(parameters_of(named), parameters_of(ours))


def test_every_row_and_weight_of_the_split_reaches_the_scorer(monkeypatch):
    X, y = table()
    weight, seen = some_weights(len(y)), []

    def scorer(estimator, X, y, sample_weight=None):
        seen.append((X, y, sample_weight))
        return estimator.score(X, y, sample_weight)

    drawn = rows_of_early_stopping(monkeypatch)
    labels = np.array(["no", "yes"])[y]
    clf = classifier(early_stopping=True, scoring=scorer, class_weight={"yes": 3}).fit(X, labels, weight)
    assert len(seen) == clf.n_iter_
    for rows, targets, weights in seen:
        np.testing.assert_array_equal(rows, X[drawn[1]])
        np.testing.assert_array_equal(targets, labels[drawn[1]])
        np.testing.assert_array_equal(weights, (weight * np.where(y == 1, 3, 1))[drawn[1]])
    seen.clear()
    classifier(early_stopping=True, scoring=scorer).fit(X, y)
    assert {weights for _, _, weights in seen} == {None}


@pytest.mark.parametrize("make", [sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_sparse_rows_are_scored_as_they_are(make):
    X, y = table()
    settings = {"early_stopping": True, "scoring": "roc_auc"}
    sparse = classifier(**settings).fit(make(X), y)
    # Another order of sums, but the ranks are the same.
    assert sparse.validation_scores_ == classifier(**settings).fit(X, y).validation_scores_


@pytest.mark.parametrize("split", ["drawn", "given"])
@pytest.mark.parametrize("scoring", [None, "roc_auc", share_of_ones])
def test_feature_names_give_no_warning_and_stay(scoring, split):
    (X, y), validation = halves()
    X = as_frame(X)
    given = {"X_val": as_frame(validation["X_val"]), "y_val": validation["y_val"]} if split == "given" else {}
    clf = classifier(early_stopping=True, scoring=scoring)
    for _ in range(2):
        clf.fit(X, y, **given)
        np.testing.assert_array_equal(clf.feature_names_in_, X.columns)


def bad_scorer(value, from_call=1):
    calls = []

    def scorer(estimator, X, y):
        calls.append(0)
        if len(calls) < from_call:
            return 0.5
        if isinstance(value, Exception):
            raise value
        return value

    return scorer


BAD_SCORES = {
    "NaN": (np.nan, ValueError, "gave nan"),
    "infinite": (np.inf, ValueError, "gave inf"),
    "None": (None, ValueError, "gave None"),
    "a word": ("good", ValueError, "gave 'good'"),
    "an array": (np.ones(2), ValueError, "gave array"),
    "an error": (ZeroDivisionError("no rows"), ZeroDivisionError, "no rows"),
}


@pytest.mark.parametrize("from_call", [1, 3])
@pytest.mark.parametrize("fitted", [False, True], ids=["unfitted", "fitted"])
@pytest.mark.parametrize(("value", "error", "message"), BAD_SCORES.values(), ids=BAD_SCORES)
def test_scorer_that_gives_no_number_is_named_and_the_model_is_kept(value, error, message, fitted, from_call):
    X, y = table()
    clf = classifier(early_stopping=True)
    if fitted:
        clf.fit(X, y)
    before = vars(clf).copy()
    clf.set_params(scoring=bad_scorer(value, from_call))
    with pytest.raises(error, match=message) as raised:
        clf.fit(X, y)
    told = "\n".join([str(raised.value), *getattr(raised.value, "__notes__", [])])
    assert "scoring=" in told
    assert "validation rows" in told
    after = vars(clf).copy()
    assert (before.pop("scoring"), after.pop("scoring")) == (None, clf.scoring)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] or after[name] == before[name] for name in before)


def test_ctrl_c_in_a_scorer_leaves_the_best_model_and_whole_books():
    X, y = table()
    scores = iter([0.1, 0.9, 0.2])

    def interrupted(estimator, X, y):
        score = next(scores, None)
        if score is None:
            raise KeyboardInterrupt
        return score

    clf = classifier(early_stopping=True, scoring=interrupted)
    with pytest.warns(UserWarning, match="interrupted"):
        clf.fit(X, y)
    lengths = {len(curve) for curve in (clf.loss_curve_, clf.validation_scores_, clf.validation_loss_curve_)}
    assert lengths == {clf.n_iter_} == {3}
    assert (clf.best_iteration_, clf.best_validation_score_) == (2, 0.9)
    rising = iter([1, 2])
    expected = classifier(early_stopping=True, max_iter=2, scoring=lambda *args: next(rising)).fit(X, y)
    assert clf.loss_curve_[:2] == expected.loss_curve_
    assert_same_bits(parameters_of(clf), parameters_of(expected))


@pytest.mark.parametrize("scoring", [None, "loss", "roc_auc"])
def test_warm_start_continues_the_curves_and_the_count_of_epochs(scoring):
    (X, y), validation = halves()
    clf = classifier(warm_start=True, early_stopping=True, scoring=scoring, max_iter=5, learning_rate_init=0.02)
    clf.fit(X, y, **validation)
    first = clf.validation_scores_, clf.validation_loss_curve_, clf.best_validation_score_
    clf.fit(X, y, **validation)
    assert clf.n_iter_ == 5
    assert len(clf.loss_curve_) == len(clf.validation_scores_) == len(clf.validation_loss_curve_) == 10
    assert (clf.validation_scores_[:5], clf.validation_loss_curve_[:5]) == first[:2]
    assert len(first[0]) == 5  # the lists of the first fit are not the second's
    assert clf.best_validation_score_ == max(clf.validation_scores_) >= first[2]
    assert clf.best_iteration_ == 1 + int(np.argmax(clf.validation_scores_))
    loss = log_loss(validation["y_val"], clf.predict_proba(validation["X_val"])[:, 1])
    # The same sum in another order.
    assert clf.validation_loss_curve_[clf.best_iteration_ - 1] == pytest.approx(loss, rel=1e-12)


def test_scores_of_another_kind_do_not_keep_a_warm_start_from_its_best():
    (X, y), validation = halves()
    clf = classifier(warm_start=True, early_stopping=True, max_iter=5).fit(X, y, **validation)
    assert clf.best_validation_score_ > 0
    clf.set_params(scoring="loss").fit(X, y, **validation)  # below zero, all of them
    assert clf.best_iteration_ > 5
    assert clf.best_validation_score_ == max(clf.validation_scores_[5:]) < 0


def test_a_second_fit_may_be_scored_on_other_columns():
    (X, y), validation = halves()
    clf = classifier(early_stopping=True, scoring="roc_auc").fit(X, y, **validation)
    clf.fit(X[:, :4], y, X_val=validation["X_val"][:, :4], y_val=validation["y_val"])
    expected = classifier(early_stopping=True, scoring="roc_auc")
    expected.fit(X[:, :4], y, X_val=validation["X_val"][:, :4], y_val=validation["y_val"])
    assert_same_course(clf, expected)


def test_scorer_from_metrics_itself_is_refused_as_in_scikit_learn():
    X, y = table()
    with pytest.raises(ValueError, match="scorer"):
        classifier(early_stopping=True, scoring=roc_auc_score).fit(X, y)


def test_scoring_is_not_looked_at_where_nothing_is_validated():
    X, y = table()
    scored = classifier(scoring=bad_scorer(np.nan)).fit(X, y)
    assert_same_bits(parameters_of(scored), parameters_of(classifier().fit(X, y)))
