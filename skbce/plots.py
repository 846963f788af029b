"""LossCurveDisplay: how training went, epoch by epoch. matplotlib is imported where something is drawn."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from skbce.classifier import BCEMLPClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

# Okabe and Ito's colours, told apart by the colour-blind and in grey print; without their black and yellow, which are
# the axes' and too light for a line.
_BLUE, _VERMILION, _GREEN = "#0072B2", "#D55E00", "#009E73"
_COLORS = (_BLUE, _VERMILION, _GREEN, "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "0.35"

# Characters; a longer name made of parameters would cover the curves.
_LONGEST_NAME = 40

# In a legend; of more estimators, whose colours run through a scale, every second or third is named.
_MOST_NAMES = 10

# The label of each panel's axis, and its height in a figure of several.
_PANELS = {
    "loss": ("loss (nats per sample)", 2.0),
    "score": ("validation score", 1.0),
    "learning_rate": ("learning rate", 0.7),
}


@dataclass(frozen=True)
class _Kind:
    """A kind of curve: where it comes from, where it goes and what it looks like."""

    name: str
    source: str
    panel: str
    label: str
    style: dict[str, Any]
    color_alone: str


# A validation loss shares the panel of the training loss, and so needs another line; color_alone serves where there is
# one estimator, and its colour need not say which.
_KINDS = (
    _Kind("loss_curves", "loss_curve_", "loss", "training", {"linestyle": "-"}, _BLUE),
    _Kind("validation_loss_curves", "validation_loss_curve_", "loss", "validation", {"linestyle": "--"}, _VERMILION),
    _Kind("validation_scores", "validation_scores_", "score", "validation score", {"linestyle": "-"}, _VERMILION),
    _Kind(
        "learning_rate_curves",
        "learning_rate_curve_",
        "learning_rate",
        "learning rate",
        {"linestyle": "-", "drawstyle": "steps-mid"},
        _GREY,
    ),
)


class LossCurveDisplay:
    """Losses, validation scores and learning rates by epoch, of one network or of several side by side.

    `LossCurveDisplay.from_estimator` makes one from fitted estimators. All parameters are stored as attributes, so
    `plot` may be called again.

    Parameters
    ----------
    loss_curves : list of array-like of shape (n_epochs,)
        Training loss, nats per sample: a curve for each estimator.
    validation_loss_curves, validation_scores, learning_rate_curves : list of (array-like or None), default=None
        In the same order; None for what an estimator does not have. The last value belongs to the last epoch, so a
        curve that began later may be shorter.
    best_iterations : list of (int or None), default=None
        The epoch (1, 2, ...) whose parameters each estimator kept, where it chose.
    names : list of str, default=None
        What the legend calls them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first panel.
    axes_ : ndarray of shape (n_panels,)
        All panels.
    figure_ : matplotlib Figure
    lines_ : dict of str to list of (Line2D or None)
        The curves of each estimator, under the names of the parameters above; without those that were not drawn.
    marks_ : list of list of Line2D
        For each estimator, what marks its chosen epoch.

    See Also
    --------
    BCEMLPClassifier : has the curves as attributes.
    sklearn.model_selection.LearningCurveDisplay : scores by the number of training rows.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skbce import BCEMLPClassifier, LossCurveDisplay
    >>> X, y = make_classification(random_state=0)
    >>> clf = BCEMLPClassifier(early_stopping=True, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(clf)
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['loss (nats per sample)', 'validation score']
    """

    def __init__(
        self,
        *,
        loss_curves: Sequence[ArrayLike],
        validation_loss_curves: Sequence[ArrayLike | None] | None = None,
        validation_scores: Sequence[ArrayLike | None] | None = None,
        learning_rate_curves: Sequence[ArrayLike | None] | None = None,
        best_iterations: Sequence[int | None] | None = None,
        names: Sequence[str] | None = None,
    ):
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.validation_scores = validation_scores
        self.learning_rate_curves = learning_rate_curves
        self.best_iterations = best_iterations
        self.names = names

    @classmethod
    def from_estimator(
        cls,
        estimator: BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator],
        *,
        ax: "Axes | Sequence[Axes] | None" = None,
        names: str | Sequence[str] | None = None,
        panels: str | Sequence[str] = "auto",
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curves of fitted estimators.

        Parameters
        ----------
        estimator : estimator, iterable of estimators, or dict of names to estimators
            Each a fitted BCEMLPClassifier or scikit-learn's MLPClassifier, with solver 'adam' or 'sgd', or a Pipeline
            that ends in one, or a search whose best_estimator_ is one of these.
        ax : matplotlib Axes or array-like of them, default=None
            An Axes for each panel; None makes a figure.
        names : str or list of str, default=None
            What the legend calls the estimators (ten at most). By default their classes or the parameters by which
            they differ, if there are several.
        panels : {'auto', 'loss', 'score', 'learning_rate'} or list of the last three, default='auto'
            What to draw. 'auto' is the loss, the validation score where there is one, and the learning rate where
            it changes: the first of these if `ax` has fewer Axes.
        line_kw : dict, default=None
            Keywords for matplotlib's plot, for every curve.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            For an estimator that is not fitted.
        TypeError
            For an estimator that is none of the above.
        ValueError
            For a network that 'lbfgs' trained, as that keeps no curve; and for `names`, `panels` and `ax` that do not
            fit the estimators or each other.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        estimators, names = _named(estimator, names)
        networks = [_network(each) for each in estimators]
        if names is None and len(networks) > 1:
            names = _names_by_difference(networks)
        curves = {kind.name: [_curve(network, kind.source) for network in networks] for kind in _KINDS}
        display = cls(**curves, best_iterations=[_best_iteration(network) for network in networks], names=names)
        return display.plot(ax, panels=panels, line_kw=line_kw)

    def plot(
        self,
        ax: "Axes | Sequence[Axes] | None" = None,
        *,
        panels: str | Sequence[str] = "auto",
        line_kw: dict[str, Any] | None = None,
    ) -> Self:
        """Draw the curves, in a new figure or in the Axes given.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of them, default=None
            An Axes for each panel; None makes a figure.
        panels : {'auto', 'loss', 'score', 'learning_rate'} or list of the last three, default='auto'
            See `from_estimator`.
        line_kw : dict, default=None
            Keywords for matplotlib's plot, for every curve.

        Returns
        -------
        display : LossCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        TypeError
            For an `ax` that is not of Axes.
        ValueError
            For a panel that is unknown or has nothing to show, for another number of Axes than panels, and for
            `loss_curves` without an epoch.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D

        panels = self._chosen_panels(panels, most=len(_PANELS) if ax is None else len(_array_of(ax)))
        self.axes_ = _new_axes(panels) if ax is None else _given_axes(ax, panels)
        self.ax_ = self.axes_[0]
        self.figure_ = self.ax_.figure
        self.marks_ = [[] for _ in self.loss_curves]
        self.lines_ = {}
        line_kw = normalize_kwargs(line_kw, Line2D)
        for panel, axes in zip(panels, self.axes_, strict=True):
            for kind in _KINDS:
                if kind.panel == panel and self._has(kind):
                    self.lines_[kind.name] = self._draw(kind, axes, line_kw)
            self._mark(axes, panel)
            if panel == "learning_rate":
                _scale_rates(axes)
        self._legend()
        return self

    def _curves(self, kind: _Kind) -> list[NDArray[np.floating] | None]:
        """The curves of a kind, one for each estimator."""
        curves = getattr(self, kind.name)
        if curves is None:
            return [None] * len(self.loss_curves)
        return [None if curve is None else np.asarray(curve, dtype=float) for curve in curves]

    def _has(self, kind: _Kind) -> bool:
        return any(curve is not None and curve.size for curve in self._curves(kind))

    def _chosen_panels(self, panels: str | Sequence[str], most: int) -> list[str]:
        if not self._has(_KINDS[0]):
            raise ValueError("loss_curves must hold at least one epoch.")
        there = {kind.panel for kind in _KINDS if self._has(kind)}
        if isinstance(panels, str) and panels == "auto":
            rates = [curve for curve in self._curves(_KINDS[-1]) if curve is not None and curve.size]
            if all(rate.min() == rate.max() for rate in rates):
                there.discard("learning_rate")
            return [panel for panel in _PANELS if panel in there][: max(most, 1)]
        panels = [panels] if isinstance(panels, str) else list(panels)
        if not panels or len(set(panels)) < len(panels) or not set(panels) <= set(_PANELS):
            raise ValueError(f"panels must be 'auto' or some of {list(_PANELS)}, each once, got {panels}.")
        for panel in panels:
            if panel not in there:
                sources = " or ".join(kind.source for kind in _KINDS if kind.panel == panel)
                raise ValueError(f"panels has {panel!r}, and there is nothing to show: no estimator has {sources}.")
        return panels

    def _color(self, kind: _Kind, n: int) -> Any:
        """Of a curve: which estimator's it is, or what it is where there is one estimator."""
        n_estimators = len(self.loss_curves)
        if n_estimators == 1:
            return kind.color_alone
        if n_estimators <= len(_COLORS):
            return _COLORS[n]
        import matplotlib

        # Up to its light end, which is too light for a line.
        return matplotlib.colormaps["viridis"](0.9 * n / (n_estimators - 1))

    def _epochs(self, curve: NDArray[np.floating], n: int) -> NDArray[np.integer]:
        """The epochs of an estimator's curve, which ends with the training loss even if it began later."""
        last = max(len(self.loss_curves[n]), len(curve))
        return np.arange(last - len(curve) + 1, last + 1)

    def _draw(self, kind: _Kind, axes: "Axes", line_kw: dict[str, Any]) -> "list[Line2D | None]":
        lines = []
        for n, curve in enumerate(self._curves(kind)):
            if curve is None:
                lines.append(None)
                continue
            label = kind.label if len(self.loss_curves) == 1 else f"{self._name(n)}, {kind.label}"
            style = {**kind.style, "color": self._color(kind, n), "label": label, "linewidth": 1.5}
            if len(curve) == 1:
                style["marker"] = "."  # a line of one point is not seen
            lines += axes.plot(self._epochs(curve, n), curve, **{**style, **line_kw})
        return lines

    def _mark(self, axes: "Axes", panel: str) -> None:
        """The chosen epochs: a dot on the curve that tells of the parameters kept, and a line through all panels.

        The line is for one estimator; with several, nobody could say whose it is.
        """
        for n, best in enumerate(self.best_iterations or []):
            if best is None:
                continue
            if len(self.loss_curves) == 1:
                self.marks_[n].append(axes.axvline(best, color=_GREY, linewidth=1, linestyle=":", zorder=1))
            drawn = [self.lines_[kind.name][n] for kind in _KINDS if kind.panel == panel and kind.name in self.lines_]
            drawn = [line for line in drawn if line is not None and best in line.get_xdata()]
            if drawn:
                line = drawn[-1]  # validation where there is one
                at = list(line.get_xdata()).index(best)
                self.marks_[n] += axes.plot(best, line.get_ydata()[at], **_dot(line.get_color()))

    def _name(self, n: int) -> str:
        return f"estimator {n + 1}" if self.names is None else str(self.names[n])

    def _legend(self) -> None:
        """Name the colours, the two kinds of loss where there are both, and the dots."""
        from matplotlib.lines import Line2D

        alone = len(self.loss_curves) == 1
        drawn = {name: [line for line in lines if line is not None] for name, lines in self.lines_.items()}
        if alone:
            handles = [line for lines in drawn.values() for line in lines if line.axes is self.ax_]
        else:
            handles = []
            for n in range(len(self.loss_curves)):
                lines = [lines[n] for lines in self.lines_.values() if lines[n] is not None]
                if lines:
                    handles.append(Line2D([], [], color=lines[0].get_color(), label=self._name(n)))
            handles = handles[:: math.ceil(len(handles) / _MOST_NAMES)]
            losses = [kind for kind in _KINDS[:2] if kind.name in drawn]
            if len(losses) == 2:
                for kind in losses:
                    style = drawn[kind.name][0].get_linestyle()
                    handles.append(Line2D([], [], color=_GREY, linestyle=style, label=kind.label))
        if any(self.marks_):
            label = f"epoch {self.best_iterations[0]}, chosen" if alone else "epoch chosen"
            handles.append(Line2D([], [], **_dot(_GREY), label=label))
        # "best" said aloud: as matplotlib's default it would warn where long curves make the search slow.
        self.ax_.legend(handles=handles, loc="best", title=self._name(0) if alone and self.names is not None else None)


def _dot(color) -> dict[str, Any]:
    return {"color": color, "linestyle": "", "marker": "o", "markersize": 7, "markeredgecolor": "white", "zorder": 3}


def _array_of(ax) -> np.ndarray:
    return np.asarray(ax, dtype=object).ravel()


def _given_axes(ax, panels: list[str]) -> np.ndarray:
    from matplotlib.axes import Axes

    axes = _array_of(ax)
    for each in axes:
        if not isinstance(each, Axes):
            raise TypeError(f"ax must be a matplotlib Axes or an array of them, got {type(each).__name__}.")
    if len(axes) != len(panels):
        raise ValueError(f"ax must have an Axes for each of the panels {panels}, got {len(axes)}.")
    for each, panel in zip(axes, panels, strict=True):
        _dress(each, panel)
        each.set_xlabel("epoch")
    return axes


def _new_axes(panels: list[str]) -> np.ndarray:
    import matplotlib.pyplot as plt

    heights = [_PANELS[panel][1] for panel in panels]
    figure, axes = plt.subplots(
        len(panels), sharex=True, squeeze=False, height_ratios=heights, figsize=(6.4, 1.2 + 1.6 * sum(heights)),
        layout="constrained",
    )  # fmt: skip
    for each, panel in zip(axes[:, 0], panels, strict=True):
        _dress(each, panel)
        each.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlabel("epoch")
    figure.align_ylabels()
    return axes[:, 0]


def _dress(axes: "Axes", panel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel(_PANELS[panel][0])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _scale_rates(axes: "Axes") -> None:
    """Logarithmic, as schedules divide; with ticks at 2 and 5 where powers of ten would be too few."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    lowest, highest = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if highest < 50 * lowest else (1,), numticks=5))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def _named(estimator, names) -> tuple[list, list[str] | None]:
    """The estimators as a list, and their names where these are given."""
    if isinstance(estimator, Mapping):
        if names is not None:
            raise ValueError("names must be None where estimator is a dict: its keys are the names.")
        estimators, names = list(estimator.values()), [str(name) for name in estimator]
    elif isinstance(estimator, Iterable) and not hasattr(estimator, "fit"):  # ensembles are iterable, and estimators
        estimators = list(estimator)
    else:
        estimators = [estimator]
    if not estimators:
        raise ValueError("estimator must hold at least one estimator.")
    if names is not None:
        names = [names] if isinstance(names, str) else [str(name) for name in names]
        if len(names) != len(estimators):
            raise ValueError(f"names must name each of the {len(estimators)} estimators, got {names}.")
    return estimators, names


def _network(estimator):
    """The fitted network in an estimator, with a curve of its losses."""
    check_is_fitted(estimator)
    name = type(estimator).__name__
    if isinstance(estimator, Pipeline):
        return _network(estimator.steps[-1][1])
    if hasattr(estimator, "best_estimator_"):
        return _network(estimator.best_estimator_)
    if getattr(estimator, "refit", True) is False:
        raise ValueError(f"{name} has no best_estimator_: it was fitted with refit=False.")
    if not isinstance(estimator, (BCEMLPClassifier, MLPClassifier)):
        raise TypeError(
            "estimator must be a BCEMLPClassifier or MLPClassifier, a Pipeline that ends in one, or a search over "
            f"these; got {name}."
        )
    if not hasattr(estimator, "loss_curve_"):
        raise ValueError(f"{name} has no loss_curve_: solver='lbfgs' has no epochs. Fit with 'adam' or 'sgd'.")
    if not len(estimator.loss_curve_):
        raise ValueError(f"{name} has an empty loss_curve_: its training ended within the first epoch.")
    return estimator


def _names_by_difference(networks: list) -> list[str]:
    """Their classes where these differ, and the parameters that do; numbers where that would not tell, or be long."""
    classes = [type(network).__name__ for network in networks]
    parameters = [network.get_params(deep=False) for network in networks]
    shared = [name for name in parameters[0] if all(name in values for values in parameters)]
    differing = [name for name in shared if len({repr(values[name]) for values in parameters}) > 1]
    names = [
        ", ".join(([class_name] if len(set(classes)) > 1 else []) + [f"{name}={values[name]!r}" for name in differing])
        for class_name, values in zip(classes, parameters, strict=True)
    ]
    if len(set(names)) < len(names) or max(map(len, names)) > _LONGEST_NAME:
        return [f"{class_name} {n}" for n, class_name in enumerate(classes, 1)]
    return names


def _curve(network, source: str) -> NDArray[np.floating] | None:
    values = getattr(network, source, None)
    return None if values is None else np.array(values, dtype=float)


def _best_iteration(network) -> int | None:
    """The epoch whose parameters were kept: as the network says, or that of its first best score."""
    if hasattr(network, "best_iteration_"):
        return network.best_iteration_
    scores = _curve(network, "validation_scores_")
    if scores is None or not len(scores):
        return None
    return len(network.loss_curve_) - len(scores) + 1 + int(np.argmax(scores))
