"""max_time: training ends with the step that passes it."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbce import BCEMLPClassifier
from skbce.kernels import doors
from tests.model_checks import assert_same_bits, parameters_of

STOCHASTIC = ("adam", "sgd")
ignores_max_iter = pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")

N_ROWS, BATCH = 200, 20
STEPS = N_ROWS // BATCH


def classifier(**parameters):
    settings = {"hidden_layer_sizes": (7,), "max_iter": 20, "batch_size": BATCH, "random_state": 0, "max_time": 1000.0}
    return BCEMLPClassifier(**{**settings, **parameters})


def table(n_rows=N_ROWS):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 5))
    return X, (X[:, 0] - X[:, 1] + rng.standard_normal(n_rows) > 0).astype(int)


@pytest.fixture
def time_is_over_after(monkeypatch):
    """Training's clock passes max_time with so many calls of the kernels, each of which takes one step."""
    clock = SimpleNamespace(now=0.0, calls=0)
    monkeypatch.setattr("skbce._training.stopping.time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr("skbce._threads._RUN_SECONDS", -1.0)

    def over_after(n_calls):
        def counted(function):
            def call(*args):
                result = function(*args)
                clock.calls += 1
                clock.now = 2000.0 * (clock.calls >= n_calls)
                return result

            return call

        for door in ("run_steps", "cost_and_gradient"):
            monkeypatch.setattr(doors, door, counted(getattr(doors, door)))
        return clock

    return over_after


def fit_until_time_is_over(clf, *data, method="fit", **options):
    with pytest.warns(ConvergenceWarning, match="max_time=1000 seconds ended training after") as caught:
        getattr(clf, method)(*data, **options)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    return clf


@pytest.mark.parametrize("n_epochs", [1, 3])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_time_that_is_over_with_an_epoch_leaves_the_model_of_the_epochs(time_is_over_after, solver, n_epochs):
    X, y = table()
    expected = classifier(solver=solver, max_iter=n_epochs)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        expected.fit(X, y)
    time_is_over_after(n_epochs * STEPS)
    clf = fit_until_time_is_over(classifier(solver=solver), X, y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.loss_curve_ == expected.loss_curve_
    assert clf.n_iter_ == n_epochs
    assert clf.t_ == n_epochs * N_ROWS


@ignores_max_iter
@pytest.mark.parametrize("n_steps", [1, 4, STEPS - 1])
@pytest.mark.parametrize("solver", STOCHASTIC)
def test_epoch_cut_short_counts_with_its_rows(time_is_over_after, solver, n_steps):
    X, y = table()
    seen = n_steps * BATCH
    expected = classifier(solver=solver, shuffle=False, max_iter=1).fit(X[:seen], y[:seen])
    time_is_over_after(n_steps)
    clf = fit_until_time_is_over(classifier(solver=solver, shuffle=False), X, y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.loss_curve_ == expected.loss_curve_
    assert clf.loss_ == expected.loss_
    assert (clf.n_iter_, clf.t_) == (1, seen)


@ignores_max_iter
def test_steps_of_a_later_epoch_cut_short_are_those_of_the_whole_one(time_is_over_after):
    X, y = table()
    clf, whole = classifier(shuffle=False), classifier(shuffle=False, max_iter=1)
    whole.fit(X, y).set_params(max_iter=1)
    first_loss = whole.loss_curve_[0]
    time_is_over_after(STEPS + 3)
    fit_until_time_is_over(clf, X, y)
    assert clf.loss_curve_[0] == first_loss
    assert (clf.n_iter_, len(clf.loss_curve_), clf.t_) == (2, 2, N_ROWS + 3 * BATCH)


@ignores_max_iter
def test_best_model_so_far_is_kept_with_early_stopping(time_is_over_after):
    X, y = table(300)
    scores = iter([0.1, 0.9, 0.5, 0.2, 0.3])
    settings = {"early_stopping": True, "validation_fraction": 1 / 3}
    rising = iter([1, 2])
    expected = classifier(max_iter=2, scoring=lambda *args: next(rising), **settings).fit(X, y)
    time_is_over_after(3 * STEPS + 2)
    clf = fit_until_time_is_over(classifier(scoring=lambda *args: next(scores), **settings), X, y)
    assert clf.validation_scores_ == [0.1, 0.9, 0.5, 0.2]  # the epoch cut short is scored too
    assert (clf.best_iteration_, clf.n_iter_) == (2, 4)
    assert_same_bits(parameters_of(clf), parameters_of(expected))


@ignores_max_iter
@pytest.mark.parametrize("shuffle", [False, True])
def test_partial_fit_cut_short_says_so_and_goes_on(time_is_over_after, shuffle):
    X, y = table()
    clock = time_is_over_after(4)
    clf = classifier(shuffle=shuffle)
    fit_until_time_is_over(clf, X, y, method="partial_fit", classes=[0, 1])
    assert (clf.n_iter_, clf.t_) == (1, 4 * BATCH)
    clock.calls = -100
    clock.now = 0.0
    clf.partial_fit(X, y)
    assert (clf.n_iter_, clf.t_) == (1, 4 * BATCH + N_ROWS)
    assert len(clf.loss_curve_) == 2


def test_partial_fit_that_ends_its_epoch_in_the_last_moment_does_not_warn(time_is_over_after):
    X, y = table()
    time_is_over_after(STEPS)
    assert classifier().partial_fit(X, y, classes=[0, 1]).t_ == N_ROWS


def test_last_epoch_that_ends_with_the_time_warns_of_max_iter(time_is_over_after):
    X, y = table()
    time_is_over_after(2 * STEPS)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        assert classifier(max_iter=2).fit(X, y).n_iter_ == 2


def test_convergence_with_the_last_epoch_does_not_warn(time_is_over_after):
    X, y = table()
    time_is_over_after(3 * STEPS)
    assert classifier(tol=10, n_iter_no_change=1).fit(X, y).n_iter_ == 3


@ignores_max_iter
def test_a_schedule_cut_short_has_the_rate_of_its_last_step(time_is_over_after):
    X, y = table()
    whole = classifier(learning_rate="cosine", max_iter=2).fit(X, y)
    time_is_over_after(STEPS + 5)
    clf = fit_until_time_is_over(classifier(learning_rate="cosine", max_iter=2), X, y)
    assert clf.learning_rate_curve_[0] == whole.learning_rate_curve_[0]
    # Step 14 of 20, of one half (1 + cos(pi t)); rounded once or twice.
    assert clf.learning_rate_curve_[1] == pytest.approx(1e-3 * (1 + np.cos(np.pi * 14 / 20)) / 2, rel=1e-12)


@pytest.mark.parametrize("n_calls", [2, 5])
def test_lbfgs_ends_after_the_iteration_that_passes_it(time_is_over_after, n_calls):
    X, y = table()
    time_is_over_after(n_calls)
    clf = fit_until_time_is_over(classifier(solver="lbfgs", max_iter=1000), X, y)
    assert 1 <= clf.n_iter_ < n_calls  # an iteration evaluates the cost once or more, and the start did once
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lbfgs failed to converge", ConvergenceWarning)  # as it was told to
        expected = classifier(solver="lbfgs", max_iter=clf.n_iter_, max_time=None).fit(X, y)
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert clf.loss_ == expected.loss_


@ignores_max_iter
@pytest.mark.parametrize("solver", [*STOCHASTIC, "lbfgs"])
@pytest.mark.parametrize("max_time", [1000.0, 700])
def test_time_that_is_not_over_changes_nothing(solver, max_time):
    X, y = table()
    settings = {"solver": solver, "max_iter": 300, "tol": 1e-2}
    limited, free = (classifier(max_time=seconds, **settings).fit(X, y) for seconds in (max_time, None))
    assert_same_bits(parameters_of(limited), parameters_of(free))


@pytest.mark.parametrize("solver", [*STOCHASTIC, "lbfgs"])
def test_a_limit_below_a_step_still_takes_one(solver):
    X, y = table()
    with pytest.warns(ConvergenceWarning, match="max_time=1e-12 seconds ended training after 1 epoch"):
        clf = classifier(solver=solver, max_time=1e-12, max_iter=10**6, tol=0, n_iter_no_change=np.inf).fit(X, y)
    assert clf.n_iter_ == 1
    assert all(np.isfinite(array).all() for array in parameters_of(clf))


@pytest.mark.filterwarnings("ignore:max_time:sklearn.exceptions.ConvergenceWarning")
def test_grid_search_goes_through_with_fits_that_are_cut_short():
    X, y = table()
    model = make_pipeline(StandardScaler(), classifier(max_time=1e-12, max_iter=10**6, tol=0, n_iter_no_change=np.inf))
    search = GridSearchCV(model, {"bcemlpclassifier__alpha": [0, 1]}, cv=2, error_score="raise")
    search.fit(X, y)
    assert search.best_estimator_[-1].n_iter_ == 1
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
