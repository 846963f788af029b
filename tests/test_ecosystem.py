"""The classifier among scikit-learn's pipelines, searches and ensembles, as a user puts them together."""

import copy
import inspect
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, make_multilabel_classification
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import parse_version

from skbce import BCEMLPClassifier, GradientCheck, check_gradients
from skbce._config import documentation_url

# max_iter is small so that the tests are quick; nothing here depends on convergence.
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")


def classifier(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (16,), "learning_rate_init": 0.01, "max_iter": 30, "random_state": 0, **parameters}
    )


def scaled(**parameters):
    return make_pipeline(StandardScaler(), classifier(**parameters))


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def cancer_split(cancer):
    return train_test_split(*cancer, stratify=cancer[1], random_state=0)


def small(n_rows=120, n_features=4):
    X = np.random.default_rng(0).standard_normal((n_rows, n_features))
    return X, (X[:, 0] - X[:, 1] > 0.1).astype(int)


def assert_same_parameters(clf, expected):
    for array, reference in zip(
        [*clf.coefs_, *clf.intercepts_], [*expected.coefs_, *expected.intercepts_], strict=True
    ):
        np.testing.assert_array_equal(array, reference)


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "predict_proba", "predict_log_proba", "score"])
def test_method_takes_mlp_classifiers_arguments(method):
    ours, theirs = (inspect.signature(getattr(cls(), method)).parameters for cls in (BCEMLPClassifier, MLPClassifier))
    assert set(theirs) <= set(ours)
    assert [ours[name].default for name in theirs] == [theirs[name].default for name in theirs]


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_fitted_estimator_has_mlp_classifiers_public_attributes(solver, early_stopping):
    X, y = small()
    ours = classifier(solver=solver, early_stopping=early_stopping, max_iter=500).fit(X, y)
    theirs = MLPClassifier(**{name: getattr(ours, name) for name in MLPClassifier().get_params()}).fit(X, y)
    public = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    assert public <= vars(ours).keys()
    for name in public - {"coefs_", "intercepts_", "classes_", "loss_curve_", "validation_scores_"}:
        assert type(getattr(ours, name)) is type(getattr(theirs, name)) or isinstance(getattr(theirs, name), np.generic)


def test_get_params_and_set_params_go_round():
    changed = {
        "hidden_layer_sizes": (3, 2), "activation": "tanh", "solver": "sgd", "alpha": 0.5, "batch_size": 7,
        "learning_rate": "adaptive", "learning_rate_init": 0.3, "power_t": 0.1, "max_iter": 9, "shuffle": False,
        "random_state": 5, "tol": 0.2, "verbose": 1, "warm_start": True, "momentum": 0.1, "nesterovs_momentum": False,
        "early_stopping": True, "validation_fraction": 0.4, "beta_1": 0.2, "beta_2": 0.3, "epsilon": 0.1,
        "n_iter_no_change": 3, "max_fun": 99, "max_time": 60.0, "scoring": "loss", "class_weight": "balanced",
        "weight_decay": 0.01, "max_grad_norm": 5.0, "label_smoothing": 0.1, "dropout": 0.5, "dtype": "float32",
        "n_threads": 1,
    }  # fmt: skip
    defaults = BCEMLPClassifier().get_params()
    assert changed.keys() == defaults.keys()
    assert all(changed[name] != value for name, value in defaults.items())
    assert BCEMLPClassifier().set_params(**changed).get_params() == changed
    assert BCEMLPClassifier(**changed).get_params() == changed
    assert clone(BCEMLPClassifier(**changed)).get_params() == changed
    with pytest.raises(ValueError, match="Invalid parameter 'n_units'"):
        BCEMLPClassifier().set_params(n_units=3)


def test_repr_names_the_class_and_what_was_changed():
    assert repr(BCEMLPClassifier()) == "BCEMLPClassifier()"
    assert repr(BCEMLPClassifier(alpha=0.5)) == "BCEMLPClassifier(alpha=0.5)"
    html = BCEMLPClassifier(alpha=0.5)._repr_html_()
    assert "BCEMLPClassifier" in html
    assert "alpha" in html
    assert "BCEMLPClassifier" in scaled()._repr_html_()


@pytest.mark.parametrize("url", ["", "https://docs.example/skbce"])
def test_html_links_to_the_documentation_that_the_package_names(monkeypatch, url):
    monkeypatch.setattr("skbce.classifier.documentation_url", lambda: url)
    assert BCEMLPClassifier()._get_doc_link() == url
    links = re.findall(r'href="(https?://[^"]*)"', BCEMLPClassifier()._repr_html_())
    assert [link for link in links if "BCEMLP" in link or link == url] == [url] * bool(url)


@pytest.mark.parametrize(
    ("urls", "expected"),
    [
        (None, ""),
        (["Source, https://s.example"], ""),
        (["Source, s", "Documentation, https://d.example"], "https://d.example"),
    ],
)
def test_documentation_url_is_the_metadatas(monkeypatch, urls, expected):
    monkeypatch.setattr("skbce._config.metadata", lambda name: SimpleNamespace(get_all=lambda key: urls))
    assert documentation_url.__wrapped__() == expected


def test_it_is_a_classifier():
    assert is_classifier(BCEMLPClassifier())
    assert is_classifier(scaled())


def test_pipeline_under_a_grid_search_with_two_jobs_finds_a_good_model(cancer_split):
    X_train, X_test, y_train, y_test = cancer_split
    grid = {
        "bcemlpclassifier__hidden_layer_sizes": [(), (16,)],
        "bcemlpclassifier__alpha": [1e-4, 1.0],
    }
    search = GridSearchCV(scaled(), grid, cv=3, n_jobs=2, scoring="roc_auc").fit(X_train, y_train)
    assert search.best_score_ > 0.98
    assert search.score(X_test, y_test) > 0.98
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # A worker trains the model that this process does.
    best = clone(scaled()).set_params(**search.best_params_).fit(X_train, y_train)
    assert_same_parameters(search.best_estimator_[-1], best[-1])


def test_grid_search_compares_activations_given_as_names_and_as_lists(cancer):
    grid = {"bcemlpclassifier__activation": ["relu", ["relu", "gelu"], ("selu", "tanh"), "mish"]}
    search = GridSearchCV(scaled(hidden_layer_sizes=(6, 4)), grid, cv=2).fit(*cancer)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_params_["bcemlpclassifier__activation"] in grid["bcemlpclassifier__activation"]


def test_cross_validation_with_two_jobs_gives_the_scores_of_one(cancer):
    one, two = (cross_val_score(scaled(), *cancer, cv=4, n_jobs=n_jobs) for n_jobs in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert one.mean() > 0.95


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "predict_log_proba"])
def test_cross_validated_predictions_rank_the_rows(cancer, method):
    X, y = cancer
    result = cross_val_predict(scaled(), X, y, cv=3, method=method)
    if method == "predict_proba":
        assert log_loss(y, result) < 0.15
    score = result[:, 1] if result.ndim == 2 else result
    assert roc_auc_score(y, score) > 0.95


def test_string_targets_are_scored_by_name(cancer):
    X, y = cancer
    labels = np.array(["malignant", "benign"])[y]
    scores = cross_validate(scaled(), X, labels, cv=3, scoring=["accuracy", "neg_log_loss", "roc_auc", "f1_macro"])
    assert scores["test_accuracy"].min() > 0.9
    assert scores["test_roc_auc"].min() > 0.95
    assert scores["test_f1_macro"].min() > 0.9
    assert scores["test_neg_log_loss"].min() > -0.3


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_around_it_keeps_the_ranking(cancer_split, method):
    X_train, X_test, y_train, y_test = cancer_split
    calibrated = CalibratedClassifierCV(scaled(), method=method, cv=3).fit(X_train, y_train)
    Y_hat = calibrated.predict_proba(X_test)
    assert roc_auc_score(y_test, Y_hat[:, 1]) > 0.97
    # Rows of two probabilities, each rounded once.
    np.testing.assert_allclose(Y_hat.sum(axis=1), 1, rtol=0, atol=1e-15)


def test_threshold_may_be_tuned(cancer_split):
    X_train, X_test, y_train, y_test = cancer_split
    tuned = TunedThresholdClassifierCV(scaled(), scoring="balanced_accuracy", cv=3).fit(X_train, y_train)
    assert 0 < tuned.best_threshold_ < 1
    np.testing.assert_array_equal(
        tuned.predict(X_test), (tuned.predict_proba(X_test)[:, 1] >= tuned.best_threshold_).astype(int)
    )
    assert tuned.score(X_test, y_test) > 0.9


def test_soft_voting_averages_its_probabilities(cancer_split):
    X_train, X_test, y_train, y_test = cancer_split
    members = [("net", scaled()), ("linear", make_pipeline(StandardScaler(), LogisticRegression()))]
    voting = VotingClassifier(members, voting="soft").fit(X_train, y_train)
    mean = np.mean([member.predict_proba(X_test) for member in voting.estimators_], axis=0)
    # The same mean of two, summed in another order at most.
    np.testing.assert_allclose(voting.predict_proba(X_test), mean, rtol=1e-15)
    assert voting.score(X_test, y_test) > 0.93


@pytest.mark.parametrize("place", ["member", "final"])
def test_stacking_takes_it_in_either_place(cancer_split, place):
    X_train, X_test, y_train, y_test = cancer_split
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    member, final = (scaled(), LogisticRegression()) if place == "member" else (linear, classifier())
    stack = StackingClassifier([("member", member), ("linear", linear)], final_estimator=final, cv=3)
    assert stack.fit(X_train, y_train).score(X_test, y_test) > 0.93


def test_bagging_trains_its_members_on_weights_and_features_of_their_own(cancer_split):
    X_train, X_test, y_train, y_test = cancer_split
    bagging = BaggingClassifier(scaled(), n_estimators=4, max_features=0.7, random_state=0).fit(X_train, y_train)
    assert bagging.score(X_test, y_test) > 0.93
    first, second = bagging.estimators_[:2]
    assert not np.array_equal(first[-1].coefs_[0], second[-1].coefs_[0])


def test_boosting_trains_it_on_weights():
    X, y = small(n_rows=400)
    boosted = AdaBoostClassifier(classifier(hidden_layer_sizes=(), max_iter=100), n_estimators=5, random_state=0)
    assert boosted.fit(X, y).score(X, y) > 0.95
    assert len(boosted.estimators_) > 1


def test_permutation_importance_finds_the_features_that_matter():
    X, y = small(n_rows=400)
    clf = classifier().fit(X, y)
    importance = permutation_importance(clf, X, y, n_repeats=5, random_state=0).importances_mean
    assert importance[:2].min() > 0.1
    assert np.abs(importance[2:]).max() < 0.05


def test_partial_dependence_rises_and_falls_with_the_features_that_matter():
    X, y = small(n_rows=400)
    clf = classifier().fit(X, y)
    rising, falling = (partial_dependence(clf, X, [column]).average[0] for column in (0, 1))
    assert rising[-1] > rising[0] + 0.3
    assert falling[-1] < falling[0] - 0.3


def test_learning_curve_may_train_it_increment_by_increment():
    X, y = small(n_rows=400)
    sizes, _, scores = learning_curve(
        classifier(batch_size=10), X, y, train_sizes=[40, 150, 300], cv=4, exploit_incremental_learning=True
    )
    np.testing.assert_array_equal(sizes[:2], [40, 150])
    assert scores.mean(axis=1)[-1] > scores.mean(axis=1)[0]


def customers(n_rows=300):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n_rows),
            "income": rng.lognormal(10, 1, n_rows),
            "city": rng.choice(["Bern", "Lyon", "Oslo"], n_rows),
        }
    )
    return frame, np.where((frame["age"] > 45) ^ (frame["city"] == "Oslo"), "buys", "leaves")


@pytest.mark.parametrize("sparse_output", [False, True], ids=["dense", "sparse"])
def test_column_transformer_prepares_a_frame_of_numbers_and_words(sparse_output):
    frame, y = customers()
    prepared = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["age", "income"]),
            ("words", OneHotEncoder(sparse_output=sparse_output, handle_unknown="ignore"), ["city"]),
        ],
        sparse_threshold=1.0 if sparse_output else 0.0,
    )
    model = make_pipeline(prepared, classifier(max_iter=100)).fit(frame, y)
    assert sp.issparse(model[:-1].transform(frame)) is sparse_output
    assert model.score(frame, y) > 0.9
    np.testing.assert_array_equal(model.classes_, ["buys", "leaves"])
    unseen = pd.DataFrame({"age": [70, 20], "income": [3e4, 3e4], "city": ["Rome", "Oslo"]})
    np.testing.assert_array_equal(model.predict(unseen), ["buys", "buys"])


def test_set_output_gives_the_classifier_feature_names():
    frame, y = customers()
    encoder = OneHotEncoder(sparse_output=False)
    prepared = ColumnTransformer([("words", encoder, ["city"])], remainder=StandardScaler())
    model = make_pipeline(prepared, classifier()).set_output(transform="pandas").fit(frame, y)
    np.testing.assert_array_equal(model[-1].feature_names_in_, model[:-1].get_feature_names_out())
    assert model[-1].n_features_in_ == 5


def test_documents_are_classified_from_their_sparse_word_counts():
    documents = ["good film", "a good day", "bad film", "bad weather", "very good", "very bad"] * 5
    y = ["good" in document for document in documents]
    model = make_pipeline(TfidfVectorizer(), classifier(max_iter=300)).fit(documents, y)
    np.testing.assert_array_equal(model.predict(["so good", "so bad"]), [True, False])


def test_metadata_routing_takes_weights_through_pipeline_and_grid_search():
    X, y = small()
    weight = np.random.default_rng(1).uniform(0, 3, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        requesting = classifier().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), requesting)
        routed = pipeline.fit(X, y, sample_weight=weight)
        # Before 1.7 the search does not see what the pipeline's last step requests for its score.
        accuracy = make_scorer(accuracy_score).set_score_request(sample_weight=True)
        scoring = accuracy if parse_version(sklearn.__version__) < parse_version("1.7") else None
        search = GridSearchCV(pipeline, {"bcemlpclassifier__alpha": [0.1]}, scoring=scoring, cv=3)
        search.fit(X, y, sample_weight=weight)
        score = pipeline.score(X, y, sample_weight=weight)
    expected = classifier().fit(StandardScaler().fit_transform(X), y, weight)
    assert_same_parameters(routed[-1], expected)
    expected.set_params(alpha=0.1).fit(StandardScaler().fit_transform(X), y, weight)
    assert_same_parameters(search.best_estimator_[-1], expected)
    assert score == np.average(routed.predict(X) == y, weights=weight)


def test_metadata_routing_without_a_request_says_so():
    X, y = small()
    weight = np.random.default_rng(1).uniform(0, 3, len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=True)
        with pytest.raises(ValueError, match=r"sample_weight.* are passed but are not explicitly set as requested"):
            make_pipeline(scaler, classifier()).fit(X, y, sample_weight=weight)
        ignoring = make_pipeline(scaler, classifier().set_fit_request(sample_weight=False))
        ignoring.fit(X, y, sample_weight=weight)
    assert_same_parameters(ignoring[-1], classifier().fit(scaler.fit_transform(X, sample_weight=weight), y))


def test_partial_fit_may_request_classes_and_weights():
    with sklearn.config_context(enable_metadata_routing=True):
        clf = classifier().set_partial_fit_request(sample_weight=True, classes=True)
        assert clf.get_metadata_routing().partial_fit.requests == {"sample_weight": True, "classes": True}


@pytest.mark.parametrize("meta", [OneVsRestClassifier, MultiOutputClassifier, ClassifierChain])
def test_several_targets_may_be_trained_each_by_a_network_of_its_own(meta):
    X, Y = make_multilabel_classification(n_samples=200, n_classes=3, n_labels=2, random_state=0)
    together = scaled(max_iter=60).fit(X, Y)
    apart = meta(scaled(max_iter=60)).fit(X, Y)
    assert apart.predict(X).shape == together.predict(X).shape == Y.shape
    assert np.mean(apart.predict(X) == Y) > 0.9
    assert np.mean(together.predict(X) == Y) > 0.9
    assert len(apart.estimators_) == 3


def test_multi_output_trains_increment_by_increment():
    X, _ = small()
    Y = (X[:, :2] > 0).astype(int)
    increments = MultiOutputClassifier(classifier())
    for _ in range(60):
        increments.partial_fit(X, Y, classes=[np.array([0, 1])] * 2)
    assert np.mean(increments.predict(X) == Y) > 0.9


def test_one_network_for_several_targets_is_searched_and_scored():
    X, Y = make_multilabel_classification(n_samples=200, n_classes=3, n_labels=2, random_state=0)
    search = GridSearchCV(scaled(), {"bcemlpclassifier__alpha": [1e-4, 1e-2]}, cv=3).fit(X, Y)
    assert 0.3 < search.best_score_ <= 1
    macro = roc_auc_score(Y, cross_val_predict(scaled(), X, Y, cv=3, method="predict_proba"), average="macro")
    assert macro > 0.8


GRADIENT_CASES = {
    "unfitted": lambda X, y: (classifier(activation="tanh"), X, y),
    "fitted": lambda X, y: (classifier(activation="tanh").fit(X, y), X, y),
    "logistic": lambda X, y: (classifier(activation="logistic", hidden_layer_sizes=(5, 4)), X, y),
    "no hidden layer": lambda X, y: (classifier(hidden_layer_sizes=(), alpha=1.0), X, y),
    "weighted": lambda X, y: (classifier(activation="tanh"), X, y, np.linspace(0, 2, len(y))),
    "sparse": lambda X, y: (classifier(activation="tanh"), sp.csr_matrix(X * (X > 0)), y),
    "multilabel": lambda X, y: (classifier(activation="tanh").fit(X, X[:, :3] > 0), X, X[:, :3] > 0),
    "strings": lambda X, y: (classifier(activation="tanh"), X, np.where(y == 1, "yes", "no")),
    "lbfgs": lambda X, y: (classifier(activation="tanh", solver="lbfgs", tol=1e-2).fit(X, y), X, y),
}


@pytest.mark.parametrize("case", GRADIENT_CASES.values(), ids=GRADIENT_CASES)
def test_check_gradients_finds_the_gradient_right_and_leaves_the_estimator_alone(case):
    estimator, *data = case(*small(n_rows=40))
    before = copy.deepcopy(vars(estimator))
    check = check_gradients(estimator, *data)
    assert isinstance(check, GradientCheck)
    assert check.dtype == "float64"
    # Differences of a cost near 1 are right to 1e-13; relative to a thousandth of the largest derivative at least, that
    # is 1e-8 where this is some 0.01, as near a minimum.
    assert check.largest < 1e-7
    assert vars(estimator).keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_equal(vars(estimator)[name], value)


def test_check_gradients_in_float32_finds_float32s_rounding():
    X, y = small(n_rows=40)
    check = check_gradients(classifier(activation="tanh"), X.astype(np.float32), y)
    assert check.dtype == "float32"
    # Sums over 40 rows of terms rounded to 6e-8; in float64 it would be below 1e-9.
    assert 1e-9 < check.largest < 1e-5


def test_check_gradients_of_a_pipelines_classifier_is_on_the_prepared_table(cancer):
    X, y = cancer
    model = scaled(hidden_layer_sizes=(2,), activation="tanh", max_iter=5).fit(X, y)
    assert check_gradients(model[-1], model[:-1].transform(X), y).largest < 1e-7  # as above


def test_check_gradients_does_not_advance_a_generator():
    X, y = small(n_rows=40)
    clf = classifier(random_state=np.random.RandomState(3), activation="tanh")
    first, second = check_gradients(clf, X, y), check_gradients(clf, X, y)
    assert first == second
    assert clf.random_state.randint(10**9) == np.random.RandomState(3).randint(10**9)


def test_check_gradients_prints_a_line_for_every_layer():
    X, y = small(n_rows=40)
    check = check_gradients(classifier(hidden_layer_sizes=(3, 2), activation="tanh"), X, y)
    first, header, *rows = str(check).splitlines()
    assert first == f"gradient check (float64), cost {check.cost:.6f}: largest relative errors"
    assert header.split() == ["layer", "W", "b"]
    assert [row.split()[0] for row in rows] == ["1", "2", "3"]
    assert all(re.fullmatch(r"\s+\d  \d\.\de[+-]\d\d  \d\.\de[+-]\d\d", row) for row in rows)
    assert check.largest == max(*check.W, *check.b)


@pytest.mark.parametrize("bad", ["NaN in X", "three classes", "other width"])
def test_check_gradients_rejects_what_fit_rejects(bad):
    X, y = small(n_rows=40)
    clf = classifier().fit(X, y)
    if bad == "NaN in X":
        X[3, 1] = np.nan
    elif bad == "three classes":
        clf, y = classifier(), np.arange(40) % 3
    else:
        X = X[:, :3]
    with pytest.raises(ValueError, match=r"NaN|Only binary|features"):
        check_gradients(clf, X, y)
