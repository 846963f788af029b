"""LossCurveDisplay: what it draws, what it leaves out, and what it says about what it cannot draw."""

import copy
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbce.plots
from skbce import BCEMLPClassifier, LossCurveDisplay

# max_iter is small so that the tests are quick; nothing here depends on convergence.
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer:sklearn.exceptions.ConvergenceWarning")

X = np.random.default_rng(0).standard_normal((60, 3))
y = (X[:, 0] > X[:, 1]).astype(int)


@pytest.fixture(autouse=True)
def closed_figures():
    plt.close("all")
    yield
    plt.close("all")


def untrained(cls=BCEMLPClassifier, **parameters):
    return cls(**{"hidden_layer_sizes": (3,), "max_iter": 6, "random_state": 0, **parameters})


def fitted(cls=BCEMLPClassifier, attributes=(), **parameters):
    """A network after 6 epochs that has a training loss, and what else is set by hand."""
    clf = untrained(cls, **parameters).fit(X, y)
    vars(clf).update({"validation_loss_curve_": None, "learning_rate_curve_": None, **dict(attributes)})
    return clf


def with_everything(**parameters):
    """One that has each curve, and kept the fourth epoch."""
    attributes = {
        "validation_loss_curve_": [0.9, 0.8, 0.7, 0.6, 0.65, 0.7],
        "validation_scores_": [0.5, 0.6, 0.7, 0.8, 0.8, 0.7],
        "learning_rate_curve_": [0.1, 0.1, 0.1, 0.02, 0.02, 0.02],
        "best_iteration_": 4,
    }
    return fitted(attributes=attributes, **parameters)


def assert_drawn(line, epochs, values):
    np.testing.assert_array_equal(line.get_xdata(), epochs)
    np.testing.assert_array_equal(line.get_ydata(), values)


def dots(display, n=0):
    """(epoch, value) of the dots of an estimator, without the line through the panels."""
    return [(mark.get_xdata()[0], mark.get_ydata()[0]) for mark in display.marks_[n] if mark.get_marker() == "o"]


def y_labels(display):
    return [ax.get_ylabel() for ax in display.axes_]


def legend_of(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


# What is drawn


def test_training_loss_alone_is_one_panel_against_the_epochs_from_1():
    clf = fitted()
    display = LossCurveDisplay.from_estimator(clf)
    assert y_labels(display) == ["loss (nats per sample)"]
    assert display.ax_.get_xlabel() == "epoch"
    assert list(display.lines_) == ["loss_curves"]
    assert_drawn(display.lines_["loss_curves"][0], [1, 2, 3, 4, 5, 6], clf.loss_curve_)
    assert display.ax_.get_lines() == display.lines_["loss_curves"]
    assert legend_of(display) == ["training"]
    assert display.marks_ == [[]]
    assert display.figure_ is display.ax_.figure


def test_every_curve_is_drawn_in_its_panel():
    clf = with_everything()
    display = LossCurveDisplay.from_estimator(clf)
    assert y_labels(display) == ["loss (nats per sample)", "validation score", "learning rate"]
    assert [ax.get_xlabel() for ax in display.axes_] == ["", "", "epoch"]
    sources = {
        "loss_curves": ("loss_curve_", 0, "training"),
        "validation_loss_curves": ("validation_loss_curve_", 0, "validation"),
        "validation_scores": ("validation_scores_", 1, "validation score"),
        "learning_rate_curves": ("learning_rate_curve_", 2, "learning rate"),
    }
    assert display.lines_.keys() == sources.keys()
    for name, (source, panel, label) in sources.items():
        (line,) = display.lines_[name]
        assert_drawn(line, [1, 2, 3, 4, 5, 6], getattr(clf, source))
        assert line.axes is display.axes_[panel]
        assert line.get_label() == label
    assert display.axes_[2].get_yscale() == "log"


def test_training_and_validation_loss_differ_in_colour_and_line():
    lines = LossCurveDisplay.from_estimator(with_everything()).lines_
    training, validation = lines["loss_curves"][0], lines["validation_loss_curves"][0]
    assert training.get_color() != validation.get_color()
    assert training.get_linestyle() != validation.get_linestyle()


def test_chosen_epoch_is_a_line_through_all_panels_and_a_dot_on_the_validation_curves():
    display = LossCurveDisplay.from_estimator(with_everything())
    assert dots(display) == [(4, 0.6), (4, 0.8), (4, 0.02)]
    through = [mark for mark in display.marks_[0] if mark.get_marker() != "o"]
    assert [mark.axes for mark in through] == list(display.axes_)
    assert all(set(mark.get_xdata()) == {4} for mark in through)
    assert legend_of(display) == ["training", "validation", "epoch 4, chosen"]


def test_chosen_epoch_is_on_the_training_loss_where_there_is_no_validation_loss():
    clf = fitted(attributes={"validation_loss_curve_": None, "best_iteration_": 2})
    assert dots(LossCurveDisplay.from_estimator(clf)) == [(2, clf.loss_curve_[1])]


def test_nothing_is_marked_where_no_epoch_was_chosen():
    display = LossCurveDisplay.from_estimator(fitted(attributes={"best_iteration_": None}))
    assert display.marks_ == [[]]
    assert legend_of(display) == ["training"]


@pytest.mark.parametrize("cls", [BCEMLPClassifier, MLPClassifier])
def test_chosen_epoch_is_the_first_of_the_best_score_for_networks_that_do_not_name_it(cls):
    clf = fitted(cls, early_stopping=True)
    clf.validation_scores_ = [0.5, 0.7, 0.9, 0.9, 0.8, 0.9]
    vars(clf).pop("best_iteration_", None)
    display = LossCurveDisplay.from_estimator(clf)
    assert display.best_iterations == [3]
    assert (3, 0.9) in dots(display)


def test_early_stopping_shows_what_fit_recorded():
    clf = untrained(solver="sgd", learning_rate="adaptive", early_stopping=True, n_iter_no_change=1, max_iter=40)
    display = LossCurveDisplay.from_estimator(clf.fit(X, y))
    assert y_labels(display)[:2] == ["loss (nats per sample)", "validation score"]
    for name, source in {
        "loss_curves": "loss_curve_",
        "validation_loss_curves": "validation_loss_curve_",
        "validation_scores": "validation_scores_",
        "learning_rate_curves": "learning_rate_curve_",
    }.items():
        assert (name in display.lines_) == (getattr(clf, source, None) is not None)
        for line in display.lines_.get(name, []):
            assert_drawn(line, np.arange(1, len(clf.loss_curve_) + 1), getattr(clf, source))
    best = int(np.argmax(clf.validation_scores_))
    assert display.best_iterations == [best + 1]
    assert (best + 1, clf.validation_scores_[best]) in dots(display)


def test_scores_that_began_later_end_with_the_loss():
    clf = untrained(warm_start=True).fit(X, y)
    clf.set_params(early_stopping=True).fit(X, y)
    n_scores = len(clf.validation_scores_)
    n_epochs = len(clf.loss_curve_)
    assert n_scores < n_epochs
    vars(clf).pop("best_iteration_", None)
    display = LossCurveDisplay.from_estimator(clf)
    epochs = np.arange(n_epochs - n_scores + 1, n_epochs + 1)
    assert_drawn(display.lines_["validation_scores"][0], epochs, clf.validation_scores_)
    assert display.best_iterations == [epochs[np.argmax(clf.validation_scores_)]]


def test_network_without_a_first_score_has_no_chosen_epoch():
    clf = fitted(MLPClassifier, early_stopping=True, attributes={"validation_scores_": []})  # Ctrl-C came between
    display = LossCurveDisplay.from_estimator(clf)
    assert display.best_iterations == [None]
    assert y_labels(display) == ["loss (nats per sample)"]


def test_one_epoch_is_seen_as_a_point():
    (line,) = LossCurveDisplay.from_estimator(fitted(max_iter=1)).lines_["loss_curves"]
    assert line.get_marker() == "."


def test_epochs_have_whole_ticks():
    display = LossCurveDisplay.from_estimator(fitted(max_iter=3))
    display.figure_.canvas.draw()
    assert all(tick == int(tick) for tick in display.ax_.get_xticks())


@pytest.mark.parametrize(
    "rates", [[1e-3] * 6, [0.1, 0.02, 0.02, 0.004, 0.004, 0.004], [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6]]
)
def test_learning_rates_have_few_plain_ticks(rates):
    clf = fitted(attributes={"learning_rate_curve_": rates})
    display = LossCurveDisplay.from_estimator(clf, panels="learning_rate")
    display.figure_.canvas.draw()
    lowest, highest = display.ax_.get_ylim()
    ticks = [
        label.get_text()
        for at, label in zip(display.ax_.get_yticks(), display.ax_.get_yticklabels())
        if lowest <= at <= highest
    ]
    assert 1 <= len(ticks) <= 6
    assert all(float(tick.replace("\N{MINUS SIGN}", "-")) > 0 for tick in ticks)


# Panels


def test_learning_rate_that_stays_is_left_out():
    clf = with_everything()
    clf.learning_rate_curve_ = [0.1] * 6
    assert y_labels(LossCurveDisplay.from_estimator(clf)) == ["loss (nats per sample)", "validation score"]


@pytest.mark.parametrize("panels", ["loss", "score", "learning_rate", ["learning_rate", "loss"]])
def test_panels_are_those_asked_for_in_their_order(panels):
    clf = with_everything()
    clf.learning_rate_curve_ = [0.1] * 6
    labels = {"loss": "loss (nats per sample)", "score": "validation score", "learning_rate": "learning rate"}
    display = LossCurveDisplay.from_estimator(clf, panels=panels)
    assert y_labels(display) == [labels[panel] for panel in ([panels] if isinstance(panels, str) else panels)]


@pytest.mark.parametrize("panels", ["accuracy", [], ["loss", "loss"], ["loss", "auto"]])
def test_unknown_panels_are_an_error_that_names_the_known(panels):
    with pytest.raises(ValueError, match=r"panels must be 'auto' or some of \['loss', 'score', 'learning_rate'\]"):
        LossCurveDisplay.from_estimator(fitted(), panels=panels)
    assert not plt.get_fignums()


@pytest.mark.parametrize(
    ("panel", "attribute"), [("score", "validation_scores_"), ("learning_rate", "learning_rate_curve_")]
)
def test_panel_with_nothing_to_show_is_an_error_that_names_the_attribute(panel, attribute):
    clf = fitted()
    vars(clf).pop(attribute, None)
    with pytest.raises(ValueError, match=f"panels has '{panel}'.* no estimator has {attribute}"):
        LossCurveDisplay.from_estimator(clf, panels=["loss", panel])


# Several estimators


def test_several_estimators_have_a_colour_each_and_share_the_panels():
    plain, full = fitted(alpha=1.0), with_everything(alpha=0.1)
    display = LossCurveDisplay.from_estimator([plain, full], names=["plain", "full"])
    assert len(display.axes_) == 3
    losses = display.lines_["loss_curves"]
    assert_drawn(losses[0], [1, 2, 3, 4, 5, 6], plain.loss_curve_)
    assert_drawn(losses[1], [1, 2, 3, 4, 5, 6], full.loss_curve_)
    assert [line.get_label() for line in losses] == ["plain, training", "full, training"]
    assert losses[0].get_color() != losses[1].get_color()
    for name in ("validation_loss_curves", "validation_scores", "learning_rate_curves"):
        missing, line = display.lines_[name]
        assert missing is None
        assert line.get_color() == losses[1].get_color()
    assert legend_of(display) == ["plain", "full", "training", "validation", "epoch chosen"]


def test_chosen_epochs_of_several_estimators_are_dots_alone():
    one, other = with_everything(), with_everything(alpha=1.0)
    other.best_iteration_ = 2
    display = LossCurveDisplay.from_estimator([one, other])
    assert [mark.get_marker() for marks in display.marks_ for mark in marks] == ["o"] * 6
    assert dots(display, 0) == [(4, 0.6), (4, 0.8), (4, 0.02)]
    assert dots(display, 1) == [(2, 0.8), (2, 0.6), (2, 0.1)]


def test_legend_names_the_estimators_that_are_drawn():
    display = LossCurveDisplay.from_estimator({"plain": fitted(), "full": with_everything()}, panels="score")
    assert legend_of(display) == ["full", "epoch chosen"]


def test_dict_gives_the_names():
    display = LossCurveDisplay.from_estimator({"a": fitted(), 2: fitted()})
    assert display.names == ["a", "2"]
    assert legend_of(display) == ["a", "2"]


@pytest.mark.parametrize(
    ("estimators", "names"),
    [
        ([{"alpha": 0.1}, {"alpha": 1.0}], ["alpha=0.1", "alpha=1.0"]),
        (
            [{"alpha": 0.1, "solver": "sgd"}, {"alpha": 1.0, "solver": "adam"}],
            ["alpha=0.1, solver='sgd'", "alpha=1.0, solver='adam'"],
        ),
        ([{}, {}], ["BCEMLPClassifier 1", "BCEMLPClassifier 2"]),
        ([{"alpha": 0.1}, {"alpha": 1.0}, {"alpha": 1.0}], [f"BCEMLPClassifier {n}" for n in (1, 2, 3)]),
        ([{}, {"cls": MLPClassifier}], ["BCEMLPClassifier", "MLPClassifier"]),
        ([{}, {"cls": MLPClassifier, "alpha": 1.0}], ["BCEMLPClassifier, alpha=0.0001", "MLPClassifier, alpha=1.0"]),
        (
            [{"hidden_layer_sizes": (3,) * n, "random_state": np.random.RandomState(n)} for n in (1, 2)],
            ["BCEMLPClassifier 1", "BCEMLPClassifier 2"],
        ),
    ],
    ids=["parameter", "parameters", "equal", "two equal", "classes", "classes and parameter", "long"],
)
def test_names_tell_what_differs(estimators, names):
    display = LossCurveDisplay.from_estimator([fitted(**parameters) for parameters in estimators])
    assert display.names == names


def test_many_estimators_have_colours_of_their_own():
    clf = fitted()
    display = LossCurveDisplay.from_estimator([clf] * 12)
    assert len({to_rgba(line.get_color()) for line in display.lines_["loss_curves"]}) == 12


@pytest.mark.parametrize(("n_estimators", "step"), [(10, 1), (11, 2), (50, 5)])
def test_legend_of_many_estimators_names_ten_at_most(n_estimators, step, tmp_path):
    curve = np.linspace(0.7, 0.1, 30)
    display = LossCurveDisplay(loss_curves=[curve] * n_estimators, validation_scores=[1 - curve] * n_estimators).plot()
    assert legend_of(display) == [f"estimator {n}" for n in range(1, n_estimators + 1, step)]
    display.figure_.savefig(tmp_path / "curves.png")  # warns, which is an error, where the legend leaves no room


def test_name_of_one_estimator_heads_the_legend_if_it_was_given():
    named, unnamed = (LossCurveDisplay.from_estimator(fitted(), names=names) for names in ("net", None))
    assert named.ax_.get_legend().get_title().get_text() == "net"
    assert unnamed.ax_.get_legend().get_title().get_text() == ""


@pytest.mark.parametrize("names", ["a", ["a"], ["a", "b", "c"]])
def test_another_number_of_names_than_of_estimators_is_an_error(names):
    with pytest.raises(ValueError, match="names must name each of the 2 estimators"):
        LossCurveDisplay.from_estimator([fitted(), fitted()], names=names)


def test_names_beside_a_dict_are_an_error():
    with pytest.raises(ValueError, match="names must be None where estimator is a dict"):
        LossCurveDisplay.from_estimator({"a": fitted()}, names=["b"])


@pytest.mark.parametrize("nothing", [[], {}])
def test_no_estimator_is_an_error(nothing):
    with pytest.raises(ValueError, match="estimator must hold at least one estimator"):
        LossCurveDisplay.from_estimator(nothing)


# Estimators


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda clf: clf,
        lambda clf: make_pipeline(StandardScaler(), clf),
        lambda clf: make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), clf)),
        lambda clf: GridSearchCV(clf, {"alpha": [0.1]}, cv=2),
        lambda clf: RandomizedSearchCV(clf, {"alpha": [0.1]}, n_iter=1, cv=2),
        lambda clf: GridSearchCV(make_pipeline(StandardScaler(), clf), {"bcemlpclassifier__alpha": [0.1]}, cv=2),
        lambda clf: make_pipeline(StandardScaler(), GridSearchCV(clf, {"alpha": [0.1]}, cv=2)),
    ],
    ids=["alone", "pipeline", "nested pipelines", "grid", "random", "grid of pipelines", "pipeline of a grid"],
)
def test_network_is_found_in_pipelines_and_searches(wrapped):
    estimator = wrapped(untrained()).fit(X, y)
    inner = estimator
    while not isinstance(inner, BCEMLPClassifier):
        inner = inner.best_estimator_ if hasattr(inner, "best_estimator_") else inner[-1]
    display = LossCurveDisplay.from_estimator(estimator)
    assert_drawn(display.lines_["loss_curves"][0], [1, 2, 3, 4, 5, 6], inner.loss_curve_)


def test_multilabel_network_has_curves():
    clf = untrained().fit(X, np.column_stack((y, 1 - y)))
    (line,) = LossCurveDisplay.from_estimator(clf).lines_["loss_curves"]
    assert_drawn(line, [1, 2, 3, 4, 5, 6], clf.loss_curve_)


def test_estimator_is_left_as_it_was():
    clf = with_everything()
    clf.validation_loss_curve_ = np.array(clf.validation_loss_curve_)
    before = copy.deepcopy(vars(clf))
    display = LossCurveDisplay.from_estimator(clf)
    display.loss_curves[0][:] = 0
    display.validation_loss_curves[0][:] = 0
    assert vars(clf).keys() == before.keys()
    assert clf.loss_curve_ == before["loss_curve_"]
    np.testing.assert_array_equal(clf.validation_loss_curve_, before["validation_loss_curve_"])


@pytest.mark.parametrize("cls", [BCEMLPClassifier, MLPClassifier])
def test_lbfgs_is_an_error_that_says_it_keeps_no_curve(cls):
    clf = untrained(cls, solver="lbfgs", max_iter=500).fit(X, y)
    with pytest.raises(ValueError, match=f"{cls.__name__} has no loss_curve_: solver='lbfgs' has no epochs"):
        LossCurveDisplay.from_estimator([fitted(), clf])


@pytest.mark.parametrize(
    "estimator",
    [
        BCEMLPClassifier(),
        make_pipeline(StandardScaler(), BCEMLPClassifier()),
        GridSearchCV(BCEMLPClassifier(), {"alpha": [1]}),
    ],
    ids=["alone", "pipeline", "search"],
)
def test_unfitted_estimator_is_a_not_fitted_error(estimator):
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(estimator)


def test_search_without_refit_is_an_error_that_names_it():
    search = GridSearchCV(untrained(), {"alpha": [0.1]}, cv=2, refit=False).fit(X, y)
    with pytest.raises(ValueError, match="GridSearchCV has no best_estimator_: it was fitted with refit=False"):
        LossCurveDisplay.from_estimator(search)


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(),
        MLPRegressor(hidden_layer_sizes=(3,), max_iter=2000, random_state=0),
        OneVsRestClassifier(untrained()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_other_estimator_is_an_error_that_names_it(estimator):
    with pytest.raises(TypeError, match=f"estimator must be a BCEMLPClassifier .* got {type(estimator).__name__}"):
        LossCurveDisplay.from_estimator(estimator.fit(X, y))


@pytest.mark.parametrize("estimator", ["net", [3], BCEMLPClassifier])
def test_what_is_no_estimator_is_an_error(estimator):
    with pytest.raises(TypeError):
        LossCurveDisplay.from_estimator(estimator)


def test_training_that_ended_within_its_first_epoch_is_an_error():
    clf = untrained(activation="identity", solver="sgd", learning_rate_init=1e10)
    with pytest.raises(ValueError, match="non-finite"):
        clf.fit(X * 1e300, y)
    with pytest.raises(ValueError, match="BCEMLPClassifier has an empty loss_curve_"):
        LossCurveDisplay.from_estimator(clf)


# Axes


def test_one_axes_gets_the_loss():
    figure, ax = plt.subplots()
    display = LossCurveDisplay.from_estimator(with_everything(), ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert list(display.axes_) == [ax]
    assert display.lines_.keys() == {"loss_curves", "validation_loss_curves"}
    assert len(plt.get_fignums()) == 1


def test_several_axes_get_a_panel_each():
    _, axes = plt.subplots(1, 2)
    display = LossCurveDisplay.from_estimator(with_everything(), ax=axes)
    assert list(display.axes_) == list(axes)
    assert y_labels(display) == ["loss (nats per sample)", "validation score"]
    assert [ax.get_xlabel() for ax in axes] == ["epoch", "epoch"]
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize(("n_axes", "panels"), [(1, ["loss", "score"]), (2, "loss"), (4, "auto"), (0, "auto")])
def test_another_number_of_axes_than_panels_is_an_error(n_axes, panels):
    axes = [plt.figure().add_subplot() for _ in range(n_axes)]
    with pytest.raises(ValueError, match=f"ax must have an Axes for each of the panels .*, got {n_axes}"):
        LossCurveDisplay.from_estimator(with_everything(), ax=axes, panels=panels)


def test_ax_that_is_no_axes_is_an_error_that_names_its_type():
    with pytest.raises(TypeError, match="ax must be a matplotlib Axes or an array of them, got Figure"):
        LossCurveDisplay.from_estimator(fitted(), ax=plt.figure())


# The display


def test_plot_draws_the_same_again_elsewhere():
    display = LossCurveDisplay.from_estimator([with_everything(), with_everything(alpha=1.0)])
    axes, lines = display.axes_, display.lines_
    assert display.plot() is display
    assert display.axes_[0] is not axes[0]
    for name, again in display.lines_.items():
        for line, before in zip(again, lines[name], strict=True):
            assert line is not before
            assert_drawn(line, before.get_xdata(), before.get_ydata())
            assert line.get_label() == before.get_label()
    ax = plt.figure().add_subplot()
    assert display.plot(ax, panels="score").ax_ is ax
    assert list(display.lines_) == ["validation_scores"]


def test_display_can_be_made_from_arrays():
    display = LossCurveDisplay(
        loss_curves=[[0.7, 0.6], [0.5]], validation_scores=[None, [0.9]], best_iterations=[None, 1]
    ).plot()
    assert_drawn(display.lines_["loss_curves"][0], [1, 2], [0.7, 0.6])
    assert_drawn(display.lines_["validation_scores"][1], [1], [0.9])
    assert legend_of(display) == ["estimator 1", "estimator 2", "epoch chosen"]


@pytest.mark.parametrize("loss_curves", [[], [[]], [[], []]])
def test_display_without_an_epoch_is_an_error(loss_curves):
    with pytest.raises(ValueError, match="loss_curves must hold at least one epoch"):
        LossCurveDisplay(loss_curves=loss_curves).plot()


@pytest.mark.parametrize("color", [{"color": "black"}, {"c": "black"}])
def test_line_kw_reaches_every_curve_and_the_legend(color):
    display = LossCurveDisplay.from_estimator([fitted(), with_everything()], line_kw={"linewidth": 4, **color})
    lines = [line for lines in display.lines_.values() for line in lines if line is not None]
    assert len(lines) == 5
    assert {(line.get_linewidth(), line.get_color()) for line in lines} == {(4, "black")}
    assert display.ax_.get_legend().get_lines()[0].get_color() == "black"


def test_picture_is_saved(tmp_path):
    path = tmp_path / "curves.png"
    LossCurveDisplay.from_estimator([with_everything(), with_everything(alpha=1.0)]).figure_.savefig(path)
    assert path.stat().st_size > 0


def test_colours_of_several_differ_in_grey_too():
    # Luminance as in sRGB; 0.03 apart is seen side by side, and line by line the legend has the order.
    grey = sorted(np.dot(to_rgba(color)[:3], [0.2126, 0.7152, 0.0722]) for color in skbce.plots._COLORS[:3])
    assert np.diff(grey).min() > 0.03


# matplotlib


def test_without_matplotlib_drawing_is_an_error_that_says_how_to_get_it(monkeypatch):
    display = LossCurveDisplay(loss_curves=[[0.7, 0.6]])
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"LossCurveDisplay\.from_estimator requires matplotlib.*pip install"):
        LossCurveDisplay.from_estimator(fitted())
    with pytest.raises(ImportError, match=r"LossCurveDisplay\.plot requires matplotlib.*pip install"):
        display.plot()


def test_importing_skbce_does_not_import_matplotlib():
    code = "import sys, skbce; skbce.LossCurveDisplay; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
