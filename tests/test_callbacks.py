"""scikit-learn's callbacks: told of every epoch, with an estimator that is ready to predict, and able to stop."""

import copy
import importlib.util
import pickle
import re
import sys
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbce._callbacks
import skbce.classifier
from skbce import BCEMLPClassifier
from tests.model_checks import assert_same_bits, blas_threads, parameters_of

callback = pytest.importorskip("sklearn.callback", reason="callbacks are in scikit-learn 1.9 and newer")

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = {"adam": {}, "sgd": {"solver": "sgd", "learning_rate_init": 0.1}, "lbfgs": {"solver": "lbfgs"}}
every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def classifier(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (6,), "max_iter": 5, "batch_size": 40, "random_state": 0, **parameters}
    )


def table(n_rows=200, target="binary", dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 5)).astype(dtype)
    Y = (np.column_stack((X[:, 0] - X[:, 1], X[:, 2])) + rng.standard_normal((n_rows, 2)) > 0).astype(int)
    return X, Y if target == "multilabel" else Y[:, 0]


class Recorder:
    """A FitCallback that writes down what it is told, and does something after one of its hooks."""

    def __init__(self, at=None, action=None):
        self.at = at  # (hook, task name, task id)
        self.action = action
        self.events = []

    def _note(self, hook, estimator, context, **given):
        task = (hook, context.task_name, context.task_id)
        self.events.append((task, given))
        return self.action() if self.at == task else None

    def setup(self, estimator, context):
        return self._note("setup", estimator, context)

    def teardown(self, estimator, context):
        return self._note("teardown", estimator, context)

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        return self._note("begin", estimator, context, X=X, y=y, metadata=metadata, fitted=fitted_estimator)

    def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
        return self._note("end", estimator, context, X=X, y=y, metadata=metadata, fitted=fitted_estimator)

    @property
    def tasks(self):
        return [task for task, _ in self.events]

    def fitted(self, hook):
        """The estimators that this hook of the epochs was given, in their order."""
        return [given["fitted"] for (name, task, _), given in self.events if name == hook and task != "fit"]


def raising(error):
    def action():
        raise error

    return action


def unit_of(clf):
    return "iteration" if clf.solver == "lbfgs" else "epoch"


def epochs_model(clf, n_epochs):
    return BCEMLPClassifier(**{**clf.get_params(), "max_iter": n_epochs})


@pytest.mark.parametrize("early_stopping", [False, True])
@every_solver
def test_hooks_are_called_around_the_fit_and_every_epoch(solver, early_stopping):
    recorder = Recorder()
    clf = classifier(early_stopping=early_stopping, **solver).set_callbacks(recorder).fit(*table())
    unit = unit_of(clf)
    epochs = [(hook, unit, k) for k in range(clf.n_iter_) for hook in ("begin", "end")]
    around = [("setup", "fit", 0), ("begin", "fit", 0)], [("end", "fit", 0), ("teardown", "fit", 0)]
    assert clf.n_iter_ == 5
    assert recorder.tasks == around[0] + epochs + around[1]


def test_every_iteration_that_begins_ends_where_lbfgs_converges():
    recorder = Recorder()
    clf = classifier(solver="lbfgs", max_iter=2000, tol=1e-2).set_callbacks(recorder).fit(*table())
    counts = Counter((hook, task) for hook, task, _ in recorder.tasks)
    assert counts["begin", "iteration"] == counts["end", "iteration"] == clf.n_iter_ < 2000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@every_solver
def test_callbacks_do_not_change_the_model(solver, dtype):
    X, y = table(dtype=dtype)
    watched = classifier(**solver).set_callbacks(Recorder(), Recorder()).fit(X, y)
    plain = classifier(**solver).fit(X, y)
    assert_same_bits(parameters_of(watched), parameters_of(plain))
    assert {name for name in vars(watched) if name != "_skl_callbacks"} == vars(plain).keys()


@pytest.mark.parametrize("target", ["binary", "multilabel"])
@every_solver
def test_fitted_estimators_are_the_models_of_their_epochs_and_stay_so(solver, target):
    X, y = table(target=target)
    recorder = Recorder()
    clf = classifier(**solver).set_callbacks(recorder).fit(X, y)
    # Looked at after all training: what it changed since would show.
    for n_epochs, fitted in enumerate(recorder.fitted("end"), start=1):
        expected = epochs_model(clf, n_epochs).fit(X, y)
        assert_same_bits(parameters_of(fitted), parameters_of(expected))
        np.testing.assert_array_equal(fitted.predict_proba(X), expected.predict_proba(X))
        np.testing.assert_array_equal(fitted.predict(X), expected.predict(X))
        names = {"n_iter_", "t_", "loss_", "loss_curve_", "learning_rate_curve_", "best_loss_", "validation_scores_"}
        for name in names & vars(expected).keys():
            assert getattr(fitted, name) == getattr(expected, name), name
        assert fitted.n_features_in_ == 5
    for before, fitted in zip(recorder.fitted("end"), recorder.fitted("begin")[1:], strict=False):
        assert_same_bits(parameters_of(fitted), parameters_of(before))
    assert recorder.fitted("begin")[0].n_iter_ == 0


def test_fitted_estimators_of_a_second_fit_have_nothing_of_the_first():
    X, y = table()
    recorder = Recorder()
    clf = classifier().fit(X, y).set_callbacks(recorder).set_params(max_iter=3, learning_rate_init=0.1)
    first = clf.loss_curve_
    clf.fit(X, y)
    assert [fitted.loss_curve_ for fitted in recorder.fitted("end")] == [clf.loss_curve_[:k] for k in (1, 2, 3)]
    assert first[0] not in clf.loss_curve_[1:]


@pytest.mark.parametrize("n_epochs", [1, 3])
@every_solver
def test_true_ends_training_with_the_model_of_the_epoch(solver, n_epochs):
    X, y = table()
    clf = classifier(**solver, max_iter=200)
    expected = epochs_model(clf, n_epochs).fit(X, y)
    recorder = Recorder(("end", unit_of(clf), n_epochs - 1), lambda: True)
    clf.set_callbacks(Recorder(), recorder).fit(X, y)
    assert clf.n_iter_ == n_epochs
    assert clf.loss_ == expected.loss_
    assert_same_bits(parameters_of(clf), parameters_of(expected))
    assert recorder.tasks[-2:] == [("end", "fit", 0), ("teardown", "fit", 0)]


@pytest.mark.filterwarnings("error")  # nothing to be warned of
@every_solver
def test_an_end_that_a_callback_asked_for_gives_no_warning(solver):
    clf = classifier(**solver, max_iter=200)
    clf.set_callbacks(Recorder(("end", unit_of(clf), 1), lambda: True)).fit(*table())
    assert clf.n_iter_ == 2


@every_solver
def test_fitted_estimators_of_a_second_fit_have_its_columns(solver):
    X, y = table()
    recorder = Recorder()
    clf = classifier(**solver).fit(X, y).set_callbacks(recorder).fit(X[:, :3], y)
    assert [fitted.coefs_[0].shape for fitted in recorder.fitted("end")] == [(3, 6)] * 5
    np.testing.assert_array_equal(recorder.fitted("end")[-1].predict_proba(X[:, :3]), clf.predict_proba(X[:, :3]))


def test_true_at_the_beginning_of_an_epoch_means_nothing():
    clf = classifier().set_callbacks(Recorder(("begin", "epoch", 1), lambda: True)).fit(*table())
    assert clf.n_iter_ == 5


def test_fit_ends_with_the_best_parameters_of_early_stopping():
    X, y = table()
    scores = iter([0.2, 0.9, 0.4, 0.3, 0.1])
    recorder = Recorder()
    clf = classifier(early_stopping=True, scoring=lambda *args: next(scores), learning_rate_init=0.1)
    clf.set_callbacks(recorder).fit(X, y)
    task, given = recorder.events[-2]
    assert task == ("end", "fit", 0)
    epochs = recorder.fitted("end")
    assert clf.best_iteration_ == given["fitted"].best_iteration_ == 2
    assert_same_bits(parameters_of(given["fitted"]), parameters_of(clf))
    assert_same_bits(parameters_of(epochs[1]), parameters_of(clf))
    assert not np.array_equal(epochs[-1].coefs_[0], clf.coefs_[0])
    assert epochs[2].validation_scores_ == [0.2, 0.9, 0.4]


def test_stopping_by_a_callback_keeps_the_best_parameters_of_early_stopping():
    X, y = table()
    scores = iter([0.2, 0.9, 0.4])
    recorder = Recorder(("end", "epoch", 2), lambda: True)
    clf = classifier(early_stopping=True, scoring=lambda *args: next(scores)).set_callbacks(recorder).fit(X, y)
    assert (clf.n_iter_, clf.best_iteration_) == (3, 2)
    assert_same_bits(parameters_of(clf), parameters_of(recorder.fitted("end")[1]))


def test_hooks_are_given_the_rows_as_the_user_gave_them_and_the_weights_of_training():
    X, y = table()
    frame = pd.DataFrame(X, columns=list("abcde"))
    weight = np.random.default_rng(1).uniform(0.1, 2, len(y))
    recorder = Recorder()
    classifier(class_weight={1: 3}).set_callbacks(recorder).fit(frame, y, weight)
    for (hook, _, _), given in recorder.events:
        if hook in ("begin", "end"):
            assert given["X"] is frame
            np.testing.assert_array_equal(given["y"], y)
            np.testing.assert_array_equal(given["metadata"]["sample_weight"], weight * (1 + 2 * y))
    unweighted = Recorder()
    classifier().set_callbacks(unweighted).fit(X, y)
    assert all(given.get("metadata") is None for _, given in unweighted.events)


RAISES = {
    "setup": ("setup", "fit", 0),
    "fit begins": ("begin", "fit", 0),
    "first epoch begins": ("begin", "epoch", 0),
    "third epoch begins": ("begin", "epoch", 2),
    "first epoch ends": ("end", "epoch", 0),
    "third epoch ends": ("end", "epoch", 2),
}


@pytest.mark.parametrize("error", [ValueError("no"), MemoryError("no"), SystemExit("no")], ids=repr)
@pytest.mark.parametrize("fitted", [False, True], ids=["unfitted", "fitted"])
@pytest.mark.parametrize("at", RAISES.values(), ids=RAISES)
@every_solver
def test_callback_that_raises_leaves_the_model_before(two_blas_threads, solver, at, fitted, error):
    X, y = table()
    clf = classifier(**solver)
    if fitted:
        clf.fit(X, y)
    before = vars(clf).copy()
    at = (at[0], at[1].replace("epoch", unit_of(clf)), at[2])
    recorder, other = Recorder(at, raising(error)), Recorder()
    with pytest.raises(type(error), match="no"):
        clf.set_callbacks(other, recorder).fit(X[:, :3], y)
    assert recorder.tasks[-1] == other.tasks[-1] == ("teardown", "fit", 0)
    assert blas_threads() == two_blas_threads
    after = vars(clf).copy()
    del after["_skl_callbacks"]
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] or after[name] == before[name] for name in before)
    if fitted:
        clf.predict(X)


def test_callback_that_raises_when_all_is_done_leaves_the_new_model(two_blas_threads):
    X, y = table()
    recorder = Recorder(("end", "fit", 0), raising(ValueError("no")))
    clf = classifier().set_callbacks(recorder)
    with pytest.raises(ValueError, match="no"):
        clf.fit(X, y)
    assert_same_bits(parameters_of(clf), parameters_of(classifier().fit(X, y)))
    assert recorder.tasks[-1] == ("teardown", "fit", 0)
    assert blas_threads() == two_blas_threads


@every_solver
def test_ctrl_c_in_a_callback_ends_training_with_a_usable_model(solver):
    X, y = table()
    clf = classifier(**solver)
    recorder = Recorder(("end", unit_of(clf), 1), raising(KeyboardInterrupt))
    with pytest.warns(UserWarning, match="interrupted"):
        clf.set_callbacks(recorder).fit(X, y)
    assert clf.n_iter_ == 2
    assert_same_bits(parameters_of(clf), parameters_of(epochs_model(clf, 2).fit(X, y)))
    assert recorder.tasks[-2:] == [("end", "fit", 0), ("teardown", "fit", 0)]


def test_divergence_ends_the_fit_task_and_is_raised():
    X, y = table()
    recorder = Recorder()
    clf = classifier(solver="sgd", learning_rate_init=1e200).set_callbacks(recorder)
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(X, y)
    assert recorder.tasks[-2:] == [("end", "fit", 0), ("teardown", "fit", 0)]
    assert np.isfinite(recorder.events[-2][1]["fitted"].predict_proba(X)).all()


def test_input_that_is_refused_calls_no_hook():
    X, y = table()
    recorder = Recorder()
    with pytest.raises(ValueError, match="one class"):
        classifier().set_callbacks(recorder).fit(X, np.zeros(len(y)))
    with pytest.raises(ValueError, match="y_val"):
        classifier().set_callbacks(recorder).fit(X, y, X_val=X, y_val=y + 1)
    assert not recorder.events


def test_without_callbacks_nothing_is_made_for_them(monkeypatch):
    monkeypatch.setattr(skbce.classifier, "EpochTasks", raising(AssertionError))
    X, y = table()
    for parameters in SOLVERS.values():
        clf = classifier(**parameters).fit(X, y)
        assert not hasattr(clf, "_callback_fit_ctx")
    clf.set_callbacks(Recorder()).set_callbacks().fit(X, y)  # taken away again
    make_pipeline(StandardScaler(), classifier()).fit(X, y)


def test_partial_fit_calls_no_callback(monkeypatch):
    X, y = table()
    recorder = Recorder()
    clf = classifier().set_callbacks(recorder)
    for _ in range(2):
        clf.partial_fit(X, y, classes=[0, 1])
    assert not recorder.events
    clf.fit(X, y)
    assert recorder.events


def test_warm_start_counts_its_epochs_anew():
    X, y = table()
    recorder = Recorder()
    clf = classifier(warm_start=True).set_callbacks(recorder).fit(X, y)
    n_events = len(recorder.events)
    clf.fit(X, y)
    assert recorder.tasks[n_events:] == recorder.tasks[:n_events]
    assert [len(fitted.loss_curve_) for fitted in recorder.fitted("end")] == list(range(1, 11))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_matrix, sp.csc_array], ids=["dense", "CSR", "CSC"])
def test_callbacks_see_dense_and_sparse_rows(make):
    X, y = table()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = classifier().set_callbacks(monitor).fit(make(X), y)
    assert monitor.get_logs().data[-1]["accuracy"] == clf.score(make(X), y)


def scores_of_epochs(monitor, name, unit="epoch"):
    return [row[name] for row in monitor.get_logs().data if row["task_name"] == unit]


@pytest.mark.parametrize("names", [False, True], ids=["array", "frame"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
@every_solver
def test_scoring_monitor_logs_the_scores_of_the_models_of_the_epochs(solver, weighted, names):
    X, y = table()
    X = pd.DataFrame(X, columns=list("abcde")) if names else X
    weight = np.random.default_rng(1).uniform(0.1, 2, len(y)) if weighted else None
    monitor = callback.ScoringMonitor(scoring=["accuracy", "neg_log_loss"])
    clf = classifier(**solver).set_callbacks(monitor).fit(X, y, weight)
    models = [epochs_model(clf, k).fit(X, y, weight) for k in range(1, clf.n_iter_ + 1)]
    accuracies = [accuracy_score(y, model.predict(X), sample_weight=weight) for model in models]
    losses = [-log_loss(y, model.predict_proba(X), sample_weight=weight) for model in models]
    assert scores_of_epochs(monitor, "accuracy", unit_of(clf)) == accuracies
    # The same sums, of arrays that lie elsewhere.
    np.testing.assert_allclose(scores_of_epochs(monitor, "neg_log_loss", unit_of(clf)), losses, rtol=1e-14)


def test_scoring_monitor_takes_a_multilabel_target():
    X, Y = table(target="multilabel")
    monitor = callback.ScoringMonitor(scoring="f1_macro")
    classifier().set_callbacks(monitor).fit(X, Y)
    assert len(scores_of_epochs(monitor, "f1_macro")) == 5


def printed(text):
    """The lines of a progress bar as last drawn, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.fixture
def progress_bar():
    pytest.importorskip("rich")
    return callback.ProgressBar


@every_solver
def test_progress_bar_ends_at_100_per_cent(progress_bar, capsys, solver):
    classifier(**solver).set_callbacks(progress_bar()).fit(*table())
    text = printed(capsys.readouterr().out)
    assert "BCEMLPClassifier - fit" in text
    assert "100%" in text
    assert not re.search(r"\b\d{1,2}%", text)


def test_progress_bar_ends_at_100_per_cent_where_training_stops_before_max_iter(progress_bar, capsys):
    clf = classifier(max_iter=500, early_stopping=True, n_iter_no_change=2).set_callbacks(progress_bar())
    assert clf.fit(*table()).n_iter_ < 500
    assert "100%" in printed(capsys.readouterr().out)


def test_progress_bar_of_a_pipeline_shows_the_epochs_of_its_classifier(progress_bar, capsys):
    model = make_pipeline(StandardScaler(), classifier()).set_callbacks(progress_bar()).fit(*table())
    text = printed(capsys.readouterr().out)
    assert "Pipeline - fit" in text
    assert "BCEMLPClassifier - fit" in text
    assert not hasattr(model[-1], "_skl_callbacks")
    assert not hasattr(model[-1], "_parent_callback_ctx")


def test_callbacks_of_a_classifier_in_a_pipeline_are_told_of_its_epochs():
    X, y = table()
    recorder, monitor = Recorder(("end", "epoch", 2), lambda: True), callback.ScoringMonitor(scoring="accuracy")
    model = make_pipeline(StandardScaler(), classifier().set_callbacks(recorder, monitor)).fit(X, y)
    assert model[-1].n_iter_ == 3
    assert [task for task in recorder.tasks if task[0] == "end"][:-1] == [("end", "epoch", k) for k in range(3)]
    assert scores_of_epochs(monitor, "accuracy")[-1] == model.score(X, y)


class EpochsToFiles:
    """A FitCallback that leaves a file for every fit of a process, with the epochs in it."""

    def __init__(self, folder):
        self.folder = folder

    def setup(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        if context.task_name == "epoch":
            with open(self.folder / f"{context.parent.root_uuid}-{id(estimator)}-{estimator.alpha}", "a") as file:
                file.write(f"{fitted_estimator.n_iter_}\n")
            return fitted_estimator.n_iter_ == 3
        return None

    def teardown(self, estimator, context):
        pass


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_tells_the_callbacks_of_its_candidates_of_every_epoch(progress_bar, capsys, tmp_path, n_jobs):
    X, y = table()
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = make_pipeline(StandardScaler(), classifier().set_callbacks(EpochsToFiles(tmp_path), monitor))
    grid = {"bcemlpclassifier__alpha": [0.001, 0.1]}
    search = GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, error_score="raise").set_callbacks(progress_bar())
    search.fit(X, y)
    assert search.best_estimator_[-1].n_iter_ == 3  # stopped by the callback
    files = list(tmp_path.iterdir())
    epochs = Counter(int(line) for file in files for line in file.read_text().split())
    # Two candidates, two folds each, and the best one again: each trained for three epochs.
    assert epochs == {1: 5, 2: 5, 3: 5}
    assert len(scores_of_epochs(monitor, "accuracy")) == 3 * 5
    text = printed(capsys.readouterr().out)
    assert "GridSearchCV - fit" in text
    assert "100%" in text
    expected = clone(model).set_params(**search.best_params_)
    expected[-1].set_callbacks(Recorder(("end", "epoch", 2), lambda: True))
    assert_same_bits(parameters_of(search.best_estimator_[-1]), parameters_of(expected.fit(X, y)[-1]))


@pytest.mark.parametrize("trip", [clone, copy.copy, copy.deepcopy, lambda clf: pickle.loads(pickle.dumps(clf))])
@pytest.mark.parametrize("fitted", [False, True], ids=["unfitted", "fitted"])
def test_copies_and_pickles_keep_their_callbacks(trip, fitted):
    X, y = table()
    clf = classifier().set_callbacks(callback.ScoringMonitor(scoring="accuracy"))
    if fitted:
        clf.fit(X, y)
        if trip is not clone:
            np.testing.assert_array_equal(trip(clf).predict_proba(X), clf.predict_proba(X))
    other = trip(clf)
    (monitor,) = other._skl_callbacks
    n_before = len(monitor._log)
    other.fit(X, y)
    assert len(monitor._log) == n_before + 6
    assert_same_bits(parameters_of(other), parameters_of(classifier().fit(X, y)))


def test_set_callbacks_refuses_what_is_no_callback():
    with pytest.raises(TypeError, match="FitCallback protocol"):
        classifier().set_callbacks(print)


def test_older_scikit_learn_leaves_it_without_set_callbacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)  # as if it were not there
    spec = importlib.util.spec_from_file_location("without", skbce._callbacks.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.CallbackSupportMixin is not skbce._callbacks.CallbackSupportMixin
    assert not hasattr(module.CallbackSupportMixin(), "set_callbacks")
