"""BCEMLPEnsembleClassifier: networks on different parts of the rows, each stopped on the part left out, averaged."""

import threading
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import scipy.optimize
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, _fit_context, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from skbce._threads import thread_limit
from skbce._training import History, Outcome
from skbce.classifier import BCEMLPClassifier, Table

_SEEDS = np.iinfo(np.int32).max


@dataclass
class _Member:
    """A network to be: its encoder's number, its rows, and in the end how it was trained."""

    estimator: BCEMLPClassifier
    encoder: int
    train: NDArray[np.int64]
    held_out: NDArray[np.int64]
    outcome: Outcome | None = None


class _Stop:
    """An Observer that ends training between epochs once it is told to."""

    def __init__(self) -> None:
        self.told = threading.Event()

    def epoch_begins(self, theta: np.ndarray, history: History) -> None: ...

    def epoch_ends(self, theta: np.ndarray, history: History) -> bool:
        return self.told.is_set()


class BCEMLPEnsembleClassifier(ClassifierMixin, BaseEstimator):
    """Several networks for a binary target, their probabilities averaged.

    The rows are cut into as many stratified folds as there are members. Each member is trained on all folds but one,
    and stopped by its loss on that one, so that every row serves in training and in validation [1]_. What members say
    of rows they did not see makes up out-of-fold probabilities: an honest score of a single member at no further cost,
    and a cautious one of the ensemble, which is better than its members.

    Members differ by their rows and their seeds, and where several `encoders` are given, by what they are shown.

    Parameters
    ----------
    estimator : BCEMLPClassifier or None, default=None
        What members are copies of; `early_stopping` is turned on, and `random_state` set, in each. None is a network of
        two layers of 128 relu units, stopped by its loss, with batches that suit the number of rows.
    n_estimators : int, default=8
        Members. Where a class has fewer rows than that, there are as many folds as it has rows, and several members
        a fold.
    encoders : transformer, list of transformers or None, default=None
        What X goes through before the members: with a list the first member takes the first, and so on, in turn. Each
        is fitted once, on all rows and without y. None shows the members X itself.
    calibration : {'temperature'} or None, default=None
        'temperature' divides the logits by the number that gives the out-of-fold probabilities the least log loss [2]_.
    max_time : float or None, default=None
        Seconds that fit may take. Members that are in training then stop with their best parameters so far; those that
        have not begun are left out, with a warning.
    random_state : int, RandomState instance or None, default=None
        Draws the folds, and the members' seeds.
    n_threads : int or None, default=None
        Most threads to use, as BCEMLPClassifier's; members are trained side by side. The result is the same to the last
        bit for any number.

    Attributes
    ----------
    classes_ : ndarray of shape (2,)
    estimators_ : list of BCEMLPClassifier
        The members, fitted on encoded X.
    encoders_ : list of transformers
        Fitted; empty without `encoders`.
    oof_proba_ : ndarray of shape (n_samples, 2)
        Mean probability of the members that did not train on the row; NaN where there is none, because `max_time` or
        Ctrl-C left members out.
    oof_score_ : dict of str to float
        'log_loss' (nats per sample), 'roc_auc', 'brier' and 'accuracy' of oof_proba_, weighted by sample_weight.
    temperature_ : float
        1 without calibration.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had names that are all strings.

    Raises
    ------
    ValueError
        In fit: where y is not binary, where a class has fewer than 2 rows, and where no member could be trained.

    References
    ----------
    .. [1] A. Krogh, J. Vedelsby, "Neural Network Ensembles, Cross Validation, and Active Learning" (NIPS 1994).
    .. [2] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks" (2017).
       :doi:`10.48550/arXiv.1706.04599`

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skbce import BCEMLPEnsembleClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> clf = BCEMLPEnsembleClassifier(encoders=StandardScaler(), random_state=0).fit(X, y)
    >>> bool(clf.oof_score_["roc_auc"] > 0.98)
    True
    """

    _parameter_constraints: dict = {
        "estimator": [HasMethods(["fit", "predict_proba"]), None],
        "n_estimators": [Interval(Integral, 2, None, closed="left")],
        "encoders": [HasMethods(["fit", "transform"]), list, tuple, None],
        "calibration": [StrOptions({"temperature"}), None],
        "max_time": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        estimator: BCEMLPClassifier | None = None,
        n_estimators: int = 8,
        *,
        encoders: TransformerMixin | Sequence[TransformerMixin] | None = None,
        calibration: str | None = None,
        max_time: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.encoders = encoders
        self.calibration = calibration
        self.max_time = max_time
        self.random_state = random_state
        self.n_threads = n_threads

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the members.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            With `encoders`, what these take, missing values included.
        y : array-like of shape (n_samples,)
            Two labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            As in BCEMLPClassifier.fit.

        Returns
        -------
        self : BCEMLPEnsembleClassifier
        """
        deadline = np.inf if self.max_time is None else time.perf_counter() + self.max_time
        X, y, classes, sample_weight = self._validated(X, y, sample_weight)
        random_state = check_random_state(self.random_state)
        encoders = [clone(encoder) for encoder in self._encoder_list()]
        tables = [_encoded(encoder.fit(X), X) for encoder in encoders] or [X]
        members = self._members(y, len(tables), random_state)
        self._train(members, tables, y, sample_weight, deadline)
        trained = [member for member in members if member.outcome not in (None, Outcome.DIVERGED)]
        if not trained:
            raise ValueError(
                "No member could be trained: their parameters became non-finite, or max_time left no time. Scale X "
                "(StandardScaler, or PiecewiseLinearEncoder among the encoders), or raise max_time."
            )
        oof_proba = _out_of_fold(trained, tables, len(y))
        temperature = 1.0
        seen = np.isfinite(oof_proba)
        positive = y[seen] == classes[1]
        seen_weight = None if sample_weight is None else sample_weight[seen]
        if self.calibration == "temperature":
            temperature = _best_temperature(_logit(oof_proba[seen]), positive, seen_weight)
            oof_proba = _tempered(oof_proba, temperature)
        vars(self).update(
            classes_=classes,
            estimators_=[member.estimator for member in trained],
            encoders_=encoders,
            temperature_=temperature,
            _encoder_of=[member.encoder for member in trained],
            oof_proba_=np.column_stack((1 - oof_proba, oof_proba)),
            oof_score_=_scores(positive, oof_proba[seen], seen_weight),
        )
        self._tell_of(members, len(trained))
        return self

    def predict_proba(self, X: Table) -> NDArray[np.floating]:
        """Probabilities of both classes: the mean of the members'.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Y_hat : ndarray of shape (n_samples, 2)
            float64.
        """
        check_is_fitted(self)
        X = self._checked_table(X, reset=False)
        tables = [_encoded(encoder, X) for encoder in self.encoders_] or [X]
        p = np.zeros(X.shape[0])
        for member, encoder in zip(self.estimators_, self._encoder_of, strict=True):
            p += member.predict_proba(tables[encoder])[:, 1]
        p = _tempered(p / len(self.estimators_), self.temperature_)
        return np.column_stack((1 - p, p))

    def decision_function(self, X: Table) -> NDArray[np.floating]:
        """Logits of the mean probability: log(p / (1 - p)).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples,)
        """
        return _logit(self.predict_proba(X)[:, 1])

    def predict(self, X: Table) -> NDArray[Any]:
        """Labels: of the class with the larger probability.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        return self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(np.intp)]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        encoders = self._encoder_list()
        tags.input_tags.sparse = not encoders
        tags.input_tags.allow_nan = bool(encoders) and all(
            getattr(encoder.__sklearn_tags__().input_tags, "allow_nan", False) for encoder in encoders
        )
        return tags

    def _encoder_list(self) -> list:
        if self.encoders is None:
            return []
        return list(self.encoders) if isinstance(self.encoders, list | tuple) else [self.encoders]

    def _checked_table(self, X, reset: bool, **checks):
        """X as an array of numbers; encoders look at missing values themselves."""
        finite = "allow-nan" if self._encoder_list() else True
        sparse = ["csr", "csc"] if not self._encoder_list() else False
        checks |= {"accept_sparse": sparse, "dtype": (np.float64, np.float32), "ensure_all_finite": finite}
        return validate_data(self, X, reset=reset, **checks)

    def _validated(self, X, y, sample_weight):
        X, y = self._checked_table(X, reset=True, y=y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        if type_of_target(y, input_name="y", raise_unknown=True) != "binary":
            raise ValueError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        classes, counts = np.unique(y, return_counts=True)
        if len(classes) < 2:
            raise ValueError(f"y needs two classes, and contains only one class: {classes.tolist()[0]!r}.")
        if counts.min() < 2:
            raise ValueError(
                f"y needs at least 2 rows of each class, got {dict(zip(classes.tolist(), counts.tolist()))}."
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        return X, y, classes, sample_weight

    def _members(self, y: np.ndarray, n_tables: int, random_state: np.random.RandomState) -> list[_Member]:
        """Folds, seeds and encoders of all members."""
        n_folds = min(self.n_estimators, int(np.unique(y, return_counts=True)[1].min()))
        splits: list[tuple[np.ndarray, np.ndarray]] = []
        while len(splits) < self.n_estimators:
            folds = StratifiedKFold(n_folds, shuffle=True, random_state=random_state.randint(_SEEDS))
            splits += folds.split(np.zeros(len(y)), y)
        template = _default_member(len(y)) if self.estimator is None else self.estimator
        settings = {"early_stopping": True, "n_threads": self.n_threads}
        return [
            _Member(
                clone(template).set_params(**settings, random_state=random_state.randint(_SEEDS)),
                k % n_tables,
                train.astype(np.int64),
                held_out.astype(np.int64),
            )
            for k, (train, held_out) in enumerate(splits[: self.n_estimators])
        ]

    def _train(self, members: list[_Member], tables: list, y, sample_weight, deadline: float) -> None:
        """Train the members, several at a time; on Ctrl-C and after the deadline those that run end early."""
        stop = _Stop()

        def train(member: _Member) -> None:
            remaining = deadline - time.perf_counter()
            if stop.told.is_set() or remaining <= 0:
                return
            if np.isfinite(remaining):
                member.estimator.set_params(max_time=remaining)
            end = member.estimator._fit(
                tables[member.encoder], y, sample_weight, split=(member.train, member.held_out), observer=stop
            )
            member.estimator.set_params(max_time=None)
            member.outcome = end.outcome

        n_workers = min(thread_limit(self.n_threads), len(members))
        with ThreadPoolExecutor(n_workers) as pool:
            futures = [pool.submit(train, member) for member in members]
            try:
                wait(futures)
            except KeyboardInterrupt:
                stop.told.set()
        for future in futures:
            future.result()

    def _tell_of(self, members: list[_Member], n_trained: int) -> None:
        """One warning for what members would warn of."""
        if n_trained < len(members):
            warnings.warn(
                f"{n_trained} of {len(members)} members were trained: max_time was over, training was interrupted, or "
                "parameters became non-finite.",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif any(member.outcome in (Outcome.TIME_OVER, Outcome.STOPPED) for member in members):
            warnings.warn(
                "Some members were still improving when max_time or Ctrl-C ended their training.",
                ConvergenceWarning,
                stacklevel=4,
            )


def _default_member(n_rows: int) -> BCEMLPClassifier:
    """The network of `estimator=None`: batches are smaller on small tables, so that an epoch has steps enough."""
    return BCEMLPClassifier(
        (128, 128),
        batch_size=int(np.clip(n_rows // 32, 16, 256)),
        scoring="loss",
        n_iter_no_change=16,
        tol=0.0,
        dtype="float32",
    )


def _encoded(encoder, X) -> np.ndarray:
    """X as the encoder shows it, in float32 or float64 as it comes."""
    table = encoder.transform(X)
    return table if sp.issparse(table) else np.asarray(table)


def _out_of_fold(members: list[_Member], tables: list, n_rows: int) -> np.ndarray:
    """For each row the mean probability of the members that did not train on it; NaN where there is none."""
    total, count = np.zeros(n_rows), np.zeros(n_rows)
    for member in members:
        rows = member.held_out
        total[rows] += member.estimator.predict_proba(tables[member.encoder][rows])[:, 1]
        count[rows] += 1
    return np.divide(total, count, out=np.full(n_rows, np.nan), where=count > 0)


def _logit(p: np.ndarray) -> np.ndarray:
    return np.log(p) - np.log1p(-p)


def _tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """sigmoid(logit(p) / temperature)."""
    return p if temperature == 1 else 1 / (1 + np.exp(-_logit(p) / temperature))


def _best_temperature(logits: np.ndarray, positive: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """The temperature of least log loss, between 1/10 and 10."""

    def loss(log_temperature: float) -> float:
        z = logits / np.exp(log_temperature)
        return float(np.average(np.logaddexp(0, np.where(positive, -z, z)), weights=sample_weight))

    bound = np.log(10)
    return float(np.exp(scipy.optimize.minimize_scalar(loss, bounds=(-bound, bound), method="bounded").x))


def _scores(positive: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None) -> dict[str, float]:
    weight = {"sample_weight": sample_weight}
    return {
        "log_loss": float(log_loss(positive, p, labels=[False, True], **weight)),
        "roc_auc": float(roc_auc_score(positive, p, **weight)) if 0 < positive.mean() < 1 else float("nan"),
        "brier": float(brier_score_loss(positive, p, **weight)),
        "accuracy": float(accuracy_score(positive, p > 0.5, **weight)),
    }
