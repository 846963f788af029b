"""class_weight is a shorter way to write a sample_weight."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from skbce import BCEMLPClassifier
from skbce._class_weight import row_weights
from tests.model_checks import assert_same_bits, parameters_of

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = ("adam", "sgd", "lbfgs")


def classifier(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (7,), "max_iter": 4, "batch_size": 25, "random_state": 0, **parameters}
    )


def table(n_rows=150, n_features=5, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, n_features)).astype(dtype)
    return X, (X[:, 0] + 0.5 * rng.standard_normal(n_rows) > 0.8).astype(int)


def multilabel_table():
    X, y = table()
    return X, np.column_stack((y, X[:, 1] > 0.5, X[:, 2] + X[:, 3] > -1)).astype(int)


def some_weights(n_rows):
    return np.random.default_rng(1).uniform(0.1, 3, n_rows)


LABELS = {
    "integers": (np.array([0, 1]), {0: 0.3, 1: 2.5}),
    "other integers": (np.array([-5, 7]), {7: 2.5, -5: 0.3}),
    "strings": (np.array(["no", "yes"]), {"no": 0.3, "yes": 2.5}),
    # Where keys are read as integers before they are looked up, these are not found.
    "strings of digits": (np.array(["0", "1"]), {"0": 0.3, "1": 2.5}),
    "booleans": (np.array([False, True]), {False: 0.3, True: 2.5}),
    "strings as objects": (np.array(["no", "yes"], dtype=object), {"no": 0.3, "yes": 2.5}),
    "floats": (np.array([0.0, 1.0]), {0: 0.3, 1.0: 2.5}),
    "one is left out": (np.array([0, 1]), {1: 2.5}),
    "NumPy's keys": (np.array([0, 1]), {np.int64(0): np.float32(0.5), np.int64(1): np.int64(3)}),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("labels", "class_weight"), LABELS.values(), ids=LABELS)
def test_dict_is_the_sample_weight_of_its_numbers(labels, class_weight, solver):
    X, y = table()
    weight = np.array([float(class_weight.get(label, 1)) for label in labels.tolist()])[y]
    clf = classifier(solver=solver, class_weight=class_weight).fit(X, labels[y])
    assert_same_bits(parameters_of(clf), parameters_of(classifier(solver=solver).fit(X, labels[y], weight)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "CSR"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_balanced_is_the_sample_weight_of_scikit_learn(solver, sparse, dtype):
    X, y = table(dtype=dtype)
    X = sp.csr_matrix(X) if sparse else X
    clf = classifier(solver=solver, class_weight="balanced").fit(X, y)
    expected = classifier(solver=solver).fit(X, y, compute_sample_weight("balanced", y))
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    plain = classifier(solver=solver).fit(X, y)
    assert clf.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean()  # a fifth of y is 1


def test_dict_multiplies_sample_weight():
    X, y = table()
    weight = some_weights(len(y))
    clf = classifier(class_weight={0: 0.3, 1: 2.5}).fit(X, y, weight)
    product = np.where(y, 2.5, 0.3) * weight
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, y, product)))


def balanced(y, weight):
    """The product of sample_weight and 'balanced', whose rows are counted by weight."""
    shares = np.array([weight[y == 0].sum(), weight[y == 1].sum()]) / weight.sum()
    return weight * (1 / (2 * shares))[y]


def test_balanced_counts_rows_by_sample_weight():
    X, y = table()
    weight = some_weights(len(y))
    product = row_weights("balanced", y[:, None].astype(np.uint8), (0, 1), False, weight)
    # Sums of 150 weights in another order.
    np.testing.assert_allclose(product, balanced(y, weight), rtol=1e-14)
    assert product[y == 0].sum() == pytest.approx(product[y == 1].sum(), rel=1e-14)
    clf = classifier(class_weight="balanced").fit(X, y, weight)
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, y, product)))


def test_balanced_gives_weights_the_meaning_of_repeated_rows():
    X, y = table()
    times = np.random.default_rng(2).integers(0, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), times)
    settings = {"class_weight": "balanced", "solver": "lbfgs", "max_iter": 2000, "tol": 1e-8, "alpha": 1.0}
    settings["hidden_layer_sizes"] = ()  # a cost with one minimum
    weighted = classifier(**settings).fit(X, y, times)
    by_hand = classifier(**settings).fit(X[repeated], y[repeated])
    # Both end where SciPy sees no more progress, some 1e-7 from the minimum.
    np.testing.assert_allclose(weighted.predict_proba(X), by_hand.predict_proba(X), rtol=0, atol=1e-5)


COLUMNS = [{0: 1, 1: 5}, {1: 0.5}, {}]


@pytest.mark.parametrize("weighted", [False, True], ids=["alone", "with sample_weight"])
@pytest.mark.parametrize("class_weight", [COLUMNS, "balanced"], ids=["list of dict", "balanced"])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix], ids=["dense", "sparse"])
def test_weights_of_a_multilabel_targets_columns_multiply(make, class_weight, weighted):
    X, Y = multilabel_table()
    weight = some_weights(len(Y)) if weighted else np.ones(len(Y))
    product = weight * np.prod([balanced(column, weight) / weight for column in Y.T], axis=0)
    if class_weight == COLUMNS:
        product = weight * compute_sample_weight([{0: 1, 1: 5}, {0: 1, 1: 0.5}, {0: 1, 1: 1}], Y)
    clf = classifier(class_weight=class_weight, dtype="float64").fit(X, make(Y), weight)
    expected = classifier(dtype="float64").fit(X, make(Y), product)
    # Weights that differ by the order of their factors; Adam scales a rounding of 1e-16 up.
    for array, reference in zip(parameters_of(clf), parameters_of(expected), strict=True):
        np.testing.assert_allclose(array, reference, rtol=0, atol=1e-11)


def test_balanced_columns_may_have_one_class():
    Y = np.array([[0, 1], [0, 0], [0, 1], [0, 1]], dtype=np.uint8)
    weights = row_weights("balanced", Y, (0, 1), multilabel=True)
    np.testing.assert_array_equal(weights, compute_sample_weight("balanced", Y))


def test_validation_split_is_scored_with_the_product(monkeypatch):
    X, y = table()
    drawn = []
    monkeypatch.setattr(
        "skbce.classifier.train_test_split", lambda *a, **k: drawn.append(train_test_split(*a, **k)) or drawn[-1]
    )
    weight = some_weights(len(y))
    settings = {"early_stopping": True, "validation_fraction": 0.3, "max_iter": 8}
    clf = classifier(class_weight="balanced", **settings).fit(X, y, weight)
    product = row_weights("balanced", y[:, None].astype(np.uint8), (0, 1), False, weight)
    expected = classifier(**settings).fit(X, y, product)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.validation_scores_ == expected.validation_scores_
    assert clf.validation_loss_curve_ == expected.validation_loss_curve_
    rows = drawn[0][1]
    loss = log_loss(y[rows], clf.predict_proba(X[rows]), sample_weight=product[rows])
    # The same sum in another order.
    assert clf.validation_loss_curve_[clf.best_iteration_ - 1] == pytest.approx(loss, rel=1e-12)


def test_given_validation_rows_are_not_weighted_by_it():
    X, y = table()
    weighted = classifier(class_weight={0: 1, 1: 9}).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    by_hand = classifier().fit(X[:100], y[:100], 1 + 8.0 * y[:100], X_val=X[100:], y_val=y[100:])
    assert weighted.validation_loss_curve_ == by_hand.validation_loss_curve_


@pytest.mark.parametrize("rows", ["all", "only the first class", "only the second class"])
def test_partial_fit_takes_a_dict_whichever_classes_y_has(rows):
    X, y = table()
    chosen = {"all": y >= 0, "only the first class": y == 0, "only the second class": y == 1}[rows]
    labels = np.array(["no", "yes"])
    class_weight = {"no": 0.25, "yes": 3}
    clf = classifier(class_weight=class_weight)
    expected = classifier()
    for _ in range(2):
        clf.partial_fit(X[chosen], labels[y[chosen]], classes=labels)
        expected.partial_fit(X[chosen], labels[y[chosen]], np.where(y[chosen], 3, 0.25), classes=labels)
    assert_same_bits(parameters_of(clf), parameters_of(expected))


def test_partial_fit_takes_dicts_of_columns_that_have_one_class():
    X, Y = multilabel_table()
    Y[:, 1] = 0
    clf = classifier(class_weight=COLUMNS).partial_fit(X, Y, classes=[0, 1, 2])
    expected = classifier().partial_fit(X, Y, np.where(Y[:, 0], 5.0, 1.0), classes=[0, 1, 2])
    assert_same_bits(parameters_of(clf), parameters_of(expected))


def test_partial_fit_refuses_balanced_and_says_what_to_give():
    X, y = table()
    clf = classifier(class_weight="balanced")
    with pytest.raises(ValueError, match=r"class_weight='balanced' needs all rows.*Give a dict"):
        clf.partial_fit(X, y, classes=[0, 1])
    weights = dict(enumerate(compute_class_weight("balanced", classes=np.array([0, 1]), y=y)))
    clf.set_params(class_weight=weights).partial_fit(X, y, classes=[0, 1])
    expected = classifier().partial_fit(X, y, compute_sample_weight("balanced", y), classes=[0, 1])
    assert_same_bits(parameters_of(clf), parameters_of(expected))


def test_warm_start_goes_on_with_other_weights():
    X, y = table()
    clf = classifier(warm_start=True, class_weight={1: 3}).fit(X, y)
    expected = classifier(warm_start=True).fit(X, y, 1 + 2.0 * y)
    assert_same_bits(parameters_of(clf.set_params(class_weight=None).fit(X, y)), parameters_of(expected.fit(X, y)))


BAD = {
    "unknown label": {2: 1.0},
    "unknown label beside known ones": {0: 1.0, 1: 2.0, 2: 3.0},
    "labels of another type": {"0": 1.0, "1": 2.0},
    "negative": {0: -1.0},
    "NaN": {1: np.nan},
    "infinite": {1: np.inf},
    "all zero": {0: 0, 1: 0.0},
    "no number": {0: "2"},
    "None": {0: None},
    "a list": [{0: 1, 1: 2}],
}


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("class_weight", BAD.values(), ids=BAD)
def test_bad_weights_are_refused_and_the_model_is_kept(class_weight, solver, method):
    X, y = table()
    if method == "partial_fit" and solver == "lbfgs":
        method = "fit"  # there is no partial_fit
    clf = classifier(solver=solver).fit(X, y)
    before, predicted = [array.copy() for array in parameters_of(clf)], clf.predict_proba(X)
    with pytest.raises(ValueError, match="class_weight"):
        getattr(clf.set_params(class_weight=class_weight), method)(X, y)
    assert_same_bits(parameters_of(clf), before)
    np.testing.assert_array_equal(clf.predict_proba(X), predicted)
    unfitted = classifier(solver=solver, class_weight=class_weight)
    with pytest.raises(ValueError, match="class_weight"):
        unfitted.fit(X, y)
    assert not [name for name in vars(unfitted) if name.endswith("_")]


@pytest.mark.parametrize(
    "class_weight",
    [{0: 1, 1: 2}, [{0: 1}] * 2, [{0: 1}] * 4, [{0: 1}, {1: 1}, {7: 1}], [{0: 1}, {1: -1}, {}], [1, 2, 3]],
    ids=["dict", "too few", "too many", "unknown label", "negative", "numbers"],
)
def test_bad_weights_of_a_multilabel_target_are_refused(class_weight):
    X, Y = multilabel_table()
    with pytest.raises(ValueError, match="class_weight"):
        classifier(class_weight=class_weight).fit(X, Y)


def test_weight_zero_leaves_a_class_out():
    X, y = table()
    clf = classifier(class_weight={0: 0, 1: 1}, max_iter=60, learning_rate_init=0.05).fit(X, y)
    assert (clf.predict(X) == 1).all()
    with pytest.raises(ValueError, match="leaves no row a weight above zero"):
        clf.partial_fit(X[y == 0], y[y == 0])


def test_weights_that_leave_nothing_together_are_refused():
    X, y = table()
    with pytest.raises(ValueError, match="leaves no row a weight above zero"):
        classifier(class_weight={0: 0}).fit(X, y, (y == 0).astype(float))
