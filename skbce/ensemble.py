"""BCEMLPEnsembleClassifier: networks on different parts of the rows, each stopped on the part left out, averaged."""

import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from queue import Empty, SimpleQueue
from typing import Any, Self

import numpy as np
import scipy.optimize
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn import config_context, get_config
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss, roc_auc_score
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.utils import check_array, check_consistent_length, check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from skbce._drafts import draft_of, snapshot
from skbce._files import SavesModel
from skbce._inputs import (
    Table,
    about,
    accuracy,
    checked_labels,
    checked_weight,
    conversion,
    encoded,
    refuse_unreadable,
)
from skbce._linear_share import best_share, fitted_linear
from skbce._prediction import class_probabilities, looked_up_logits
from skbce._state import check_labels, count, number, require, state_of
from skbce._threads import thread_limit, working
from skbce._training import SCHEDULES, SOLVERS, History, Outcome
from skbce._typed import fit_context
from skbce.classifier import BCEMLPClassifier
from skbce.encoder import PiecewiseLinearEncoder
from skbce.kernels import doors
from skbce.onnx import ConvertsToOnnx

_SEEDS = np.iinfo(np.int32).max

# Seconds that members have to end their training in by themselves when Ctrl-C, or a member's error, ends the others'.
_PATIENCE = 0.2

# Rows whose logits are held at once, of each member: memory must not grow with the rows.
_LOOKED_UP_AT_ONCE = 2**14

# Between which temperatures are sought. Out-of-fold rows that are all right would have 0, and no probability is that.
_TEMPERATURES = (0.1, 10.0)


@dataclass
class _Member:
    """A network to be: its encoder's number, the rows it learns from and those it is stopped by.

    When it is trained, how that ended, and its logits of the rows it was stopped by: `logits` where it was stopped, and
    `unseen_logits` where the other ones of these rows would have stopped it.
    """

    estimator: BCEMLPClassifier
    encoder: int
    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    outcome: Outcome | None = None
    logits: NDArray[np.floating] | None = None
    unseen_logits: NDArray[np.floating] | None = None

    @property
    def is_trained(self) -> bool:
        return self.outcome not in (None, Outcome.DIVERGED)


class _Crew:
    """Threads that train members, one after another, until all are done or Ctrl-C or an error ends it.

    An Observer too, of all members: it ends those in training. concurrent.futures would not do, nor do threading's
    conditions: a Ctrl-C on the way out of one leaves it locked, and then its threads wait for ever. What is used here
    is done in C, where Ctrl-C waits.
    """

    def __init__(self, train: Callable[[_Member], None], members: list[_Member]) -> None:
        self._train = train
        self._todo = deque(members)
        self._lock = threading.Lock()  # of the attributes below
        self._n_at_work = 0
        self._stops = False
        self._given_up = False
        self._errors: list[BaseException] = []
        self._news: SimpleQueue[None] = SimpleQueue()  # for each member that is done with, and each thread that ends

    def epoch_begins(self, theta: np.ndarray, history: History) -> None: ...

    def epoch_ends(self, theta: np.ndarray, history: History) -> bool:
        return self._stops

    def ends_now(self) -> bool:
        return self._stops

    def work(self, n_threads: int) -> bool:
        """Train all, raise the first error of a member, and say whether Ctrl-C ended it."""
        interrupted = False
        try:
            for _ in range(n_threads):
                # A daemon: one that a Ctrl-C caught while it started may wait for ever.
                # In a copy of this thread's context: Dask knows by it which worker a thread belongs to.
                run = partial(copy_context().run, self._run)
                threading.Thread(target=run, name="skbce member", daemon=True).start()
            # With a condition in its head the loop's way back would lie outside of this try in CPython 3.12 and 3.13.
            while True:
                if self._stops or not (self._todo or self._n_at_work):
                    break
                self._wait()
        except KeyboardInterrupt:
            interrupted = True
        except RuntimeError as error:
            # What a Ctrl-C becomes in threading, while it waits for a thread to start.
            if not isinstance(error.__context__, KeyboardInterrupt):
                raise
            interrupted = True
        finally:
            self._end()
        if self._errors:
            raise self._errors[0]
        return interrupted

    def _wait(self) -> None:
        """Until there is news; not for long, as a Ctrl-C that comes just before Python waits does not wake it."""
        with suppress(Empty):
            self._news.get(timeout=0.05)

    def _end(self) -> None:
        """Wait for those at work; none begins any more.

        Runs of steps end within 0.1 s, and a look at the rows left out follows. What takes longer is broken off.
        """
        self._stops = True
        patience_ends = time.perf_counter() + _PATIENCE
        while True:
            with self._lock:
                if not self._n_at_work:
                    return
            self._wait()
            self._given_up = time.perf_counter() > patience_ends

    def _run(self) -> None:
        doors.GIVEN_UP.set(lambda: self._given_up)  # in the thread's own context
        while (member := self._next()) is not None:
            try:
                self._train(member)
            except BaseException as error:
                self._errors.append(error)
                self._stops = True
            finally:
                with self._lock:
                    self._n_at_work -= 1
                self._news.put(None)

    def _next(self) -> _Member | None:
        with self._lock:
            if self._stops or not self._todo:
                return None
            self._n_at_work += 1
            return self._todo.popleft()


class BCEMLPEnsembleClassifier(SavesModel, ConvertsToOnnx, ClassifierMixin, BaseEstimator):
    """Several networks for a binary target, their probabilities averaged.

    The rows are cut into as many stratified folds as there are members. Each member is trained on all folds but one,
    and stopped by its loss on that one, so that every row serves in training and in validation [1]_. What members say
    of rows they did not see makes up out-of-fold probabilities: an honest score of a single member at no further cost,
    and a cautious one of the ensemble, which is better than its members. Each row is judged by a member as it was when
    the other rows of its fold liked it best, so that the row has had no part in when to stop either.

    Members differ by their rows and their seeds, and where several `encoders` are given, by what they are shown.

    Parameters
    ----------
    estimator : BCEMLPClassifier or None, default=None
        What members are copies of, with the solver 'adam' or 'sgd' and without callbacks; `early_stopping`,
        `random_state` and `n_threads` are set in each, and `scoring` says what it is stopped by. None is a network of
        two layers of 128 relu units, stopped by its loss, with batches that suit the number of rows.
    n_estimators : int, default=8
        Members. Where a class has fewer rows than that (of positive weight), there are as many folds as it has rows,
        and several members a fold.
    cv : splitter, list of (training rows, held-out rows) or None, default=None
        Folds, as in scikit-learn's cross-validation, where the rows are not independent: `GroupKFold(8)`'s for the rows
        of several patients, as `list(GroupKFold(8).split(X, y, groups))`. The members take them in turn, the first one
        the first. None draws stratified folds, one for each member.
    encoders : transformer, list of transformers or None, default=None
        What X goes through, as an array of numbers, before the members: with a list the first member takes the first,
        and so on, in turn. Each is fitted once, without y, on all rows of positive weight, and with their weights where
        it takes `sample_weight`; a `random_state` of None is set in it. None shows the members X itself.
    linear_share : float in [0, 1) or 'oof', default=0.0
        Share of a logistic regression in the probabilities, on what the first encoder shows, standardised: where
        columns act in proportion and rows are few, it knows what networks have to learn. 'oof' takes the share that
        gives the rows held out the least log loss, as members say of them where they were stopped, less a tenth, for
        these are single members' and the ensemble's are better.
    calibration : {'temperature'} or None, default=None
        'temperature' divides the logits by the number from 0.1 to 10 that gives the rows held out the least log loss
        [2]_, as members say of them where they were stopped.
    max_time : float or None, default=None
        Seconds that fit may take. Members that are in training then stop with their best parameters so far; those that
        have not begun are left out, with a warning. The first one takes at least a step.
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
    held_out_ : list of ndarray of int64
        For each member the numbers of the rows that it was stopped by, and did not train on.
    oof_proba_ : ndarray of shape (n_samples, 2)
        Mean probability of the members that held the row out, as they were in the epoch of the best score on the other
        rows they held out (all but a sixteenth; with a `scoring` of the user's, on all of them). NaN where there is
        none, because `cv` has it in no fold of theirs, `max_time` or Ctrl-C left members out, or they diverged.
    oof_score_ : dict of str to float
        'log_loss' (nats per sample), 'roc_auc', 'brier' and 'accuracy' of oof_proba_, weighted by sample_weight.
        'roc_auc' is NaN where only rows of one class have a probability.
    linear_ : BCEMLPClassifier or None
        The logistic regression, a network without hidden layers, for what the first encoder shows; the mean of the
        logits of one for each member, fitted on the member's rows. None where it has no share.
    linear_share_ : float
        Its share. 0 where `max_time` or Ctrl-C came before it was fitted.
    temperature_ : float
        1 without calibration.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Where X had names that are all strings.

    Raises
    ------
    ValueError
        In fit: where y is not binary, where a class has fewer than 2 rows of positive weight, where an encoder's output
        is not a table of finite numbers, where a fold of `cv` leaves nothing to train on or to stop by, and where no
        member could be trained.

    Notes
    -----
    Ctrl-C in fit keeps the members that are trained, and those in training with their best parameters so far, with a
    warning. An error in one member ends the others and is raised; the estimator is then what it was before fit.

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

    classes_: NDArray[Any]
    estimators_: list[BCEMLPClassifier]
    encoders_: list[Any]
    held_out_: list[NDArray[np.int64]]
    oof_proba_: NDArray[np.floating]
    oof_score_: dict[str, float]
    # Those that older files and pickles hold have no linear model.
    linear_: BCEMLPClassifier | None = None
    linear_share_: float = 0.0
    temperature_: float
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    _parameter_constraints: dict = {
        "estimator": [BCEMLPClassifier, None],
        "n_estimators": [Interval(Integral, 2, None, closed="left")],
        "cv": [HasMethods(["split"]), list, tuple, None],
        "encoders": [HasMethods(["fit", "transform"]), list, tuple, None],
        "linear_share": [Interval(Real, 0, 1, closed="left"), StrOptions({"oof"})],
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
        cv: BaseCrossValidator | Sequence[tuple[ArrayLike, ArrayLike]] | None = None,
        encoders: TransformerMixin | Sequence[TransformerMixin] | None = None,
        linear_share: float | str = 0.0,
        calibration: str | None = None,
        max_time: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.cv = cv
        self.encoders = encoders
        self.linear_share = linear_share
        self.calibration = calibration
        self.max_time = max_time
        self.random_state = random_state
        self.n_threads = n_threads

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train the members.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Numbers; float32 and CSR stay what they are. With `encoders`, missing values and sparse matrices as these
            take them.
        y : array-like of shape (n_samples,)
            Two labels of any kind.
        sample_weight : array-like of shape (n_samples,), default=None
            Multiplies each row's loss, in training, stopping, scores and calibration.

        Returns
        -------
        self : BCEMLPEnsembleClassifier
        """
        deadline = np.inf if self.max_time is None else time.perf_counter() + self.max_time
        with draft_of(self) as draft:
            X, y, sample_weight = draft._validated(X, y, sample_weight)
            template = self._template(len(y))
            Y, labels = encoded(template, y, continues=False, incremental=False)
            random_state = check_random_state(self.random_state)
            splits = self._splits(X, Y.ravel(), labels["classes_"], sample_weight, random_state)
            members = self._members(template, splits, random_state)
            encoders = [_seeded(encoder, random_state) for encoder in self._encoder_list()]
            tables = [_encoded_table(_fitted(encoder, X, sample_weight), X) for encoder in encoders] or [X]
            interrupted = self._train(members, tables, y, sample_weight, deadline)
            trained = [member for member in members if member.is_trained]
            if interrupted and not trained:
                raise KeyboardInterrupt
            if not trained:
                raise ValueError(
                    "No member could be trained: the parameters of each became non-finite. Scale X (StandardScaler, or "
                    "PiecewiseLinearEncoder, as encoders), or lower the estimator's learning_rate_init."
                )
            linear = None
            if self.linear_share != 0 and not interrupted:
                linear, interrupted = draft._linear(trained, tables[0], y, sample_weight, deadline)
            draft._publish(trained, encoders, linear, Y.ravel().astype(bool), labels["classes_"], sample_weight)
        self._tell_of(members, interrupted)
        return self

    def predict_proba(self, X: Table) -> NDArray[np.floating]:
        """Probabilities of both classes: the mean of the members'.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Y_hat : ndarray of shape (n_samples, 2)
            float64, strictly between 0 and 1.
        """
        check_is_fitted(self)
        return snapshot(self)._probabilities(X)

    def predict_log_proba(self, X: Table) -> NDArray[np.floating]:
        """Logarithms of the probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        log_Y_hat : ndarray of shape (n_samples, 2)
            In nats; finite.
        """
        return np.log(self.predict_proba(X))

    def decision_function(self, X: Table) -> NDArray[np.floating]:
        """Logits of the mean probability: log(p / (1 - p)).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        Z : ndarray of shape (n_samples,)
        """
        return _logits(self.predict_proba(X))

    def predict(self, X: Table) -> NDArray[Any]:
        """Labels: of the class with the larger probability.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        check_is_fitted(self)
        model = snapshot(self)
        k = model.predict_proba(X).argmax(axis=1)  # which looks at the attributes first
        return model.classes_[k]

    def _probabilities(self, X) -> NDArray[np.float64]:
        with state_of(self):
            self._check_state()
        X = self._checked_table(X, reset=False)
        P = np.zeros((X.shape[0], 2))
        shown = [
            (self.encoders_[k] if self.encoders_ else None, members)
            for k, members in self._members_by_encoder().items()
        ]
        looked_up = [_Shown(*both) for both in shown if _is_looked_up(*both, X)]
        looked_up = [one for one in looked_up if one.fits()]
        _add_looked_up(looked_up, X, P, self.estimators_[0].n_threads)
        for encoder, members in shown:
            if any(one.members is members for one in looked_up):
                continue
            table = X if encoder is None else _encoded_table(encoder, X)
            for member, weight in members.items():
                P += weight * member.predict_proba(table)
        return _tempered(_shares(P), self.temperature_)

    def _members_by_encoder(self) -> dict[int, dict[BCEMLPClassifier, float]]:
        """By the encoder's number the models that see what it shows, and what each one's probabilities count."""
        found: dict[int, dict[BCEMLPClassifier, float]] = {k: {} for k in sorted({*self._encoder_of})}
        for member, k in zip(self.estimators_, self._encoder_of, strict=True):
            found[k][member] = found[k].get(member, 0.0) + 1.0
        if self.linear_ is not None:
            share = self.linear_share_
            found.setdefault(0, {})[self.linear_] = len(self.estimators_) * share / (1 - share)
        return found

    def score(self, X: Table, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy: the share of rows, by weight, that are predicted right.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        score : float
        """
        return accuracy(y, self.predict(X), sample_weight)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimators_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        encoders = self._encoder_list()
        tags.input_tags.sparse = all(map(_takes_sparse, encoders))
        # Not by the encoders' tags: scikit-learn's scalers take missing values too, and leave them.
        fill = PiecewiseLinearEncoder | SimpleImputer | KNNImputer
        tags.input_tags.allow_nan = bool(encoders) and all(isinstance(encoder, fill) for encoder in encoders)
        return tags

    def _check_state(self) -> None:
        """Raise an error where the fitted attributes are not those of an ensemble; each member looks at its own."""
        members, encoders, encoder_of = self.estimators_, self.encoders_, self._encoder_of
        require(isinstance(members, list) and len(members) > 0, "estimators_ is no list of members")
        require(all(isinstance(member, BCEMLPClassifier) for member in members), "estimators_ are no BCEMLPClassifiers")
        require(isinstance(encoders, list), "encoders_ is no list")
        require(isinstance(encoder_of, list) and len(encoder_of) == len(members), "_encoder_of is not as estimators_")
        require(
            all(isinstance(k, Integral) and 0 <= k < max(1, len(encoders)) for k in encoder_of),
            "_encoder_of names encoders that are not there",
        )
        require(not encoders or all(hasattr(encoders[k], "transform") for k in encoder_of), "encoders_ are none")
        share = number("linear_share_", self.linear_share_)
        require(0 <= share < 1, "linear_share_ is not in [0, 1)")
        require((self.linear_ is None) == (share == 0), "linear_ is None where linear_share_ is 0, and nowhere else")
        require(share == 0 or isinstance(self.linear_, BCEMLPClassifier), "linear_ is no BCEMLPClassifier")
        require(0 < number("temperature_", self.temperature_) < np.inf, "temperature_ is not positive")
        count("n_features_in_", self.n_features_in_)
        check_labels("classes_", self.classes_, 2)

    def _encoder_list(self) -> list:
        if self.encoders is None:
            return []
        return list(self.encoders) if isinstance(self.encoders, list | tuple) else [self.encoders]

    def _checked_table(self, X, reset: bool):
        """X as an array of numbers, or CSR; encoders look at missing values themselves."""
        encoders = self._encoder_list()
        with conversion(), about("X"):
            refuse_unreadable("X", X)
            return validate_data(
                self,
                X,
                reset=reset,
                accept_sparse="csr" if all(map(_takes_sparse, encoders)) else False,
                dtype=(np.float64, np.float32),
                ensure_all_finite="allow-nan" if encoders else True,
            )

    def _template(self, n_rows: int) -> BCEMLPClassifier:
        """What members are copies of, after a look whether they can be stopped, and encoders are any."""
        for encoder in self._encoder_list():
            if not (hasattr(encoder, "fit") and hasattr(encoder, "transform")):
                raise ValueError(f"encoders must be transformers, with fit and transform; got {encoder!r}.")
        if self.estimator is None:
            return _default_member(n_rows)
        with about("estimator"):
            self.estimator._validate_params()
        if self.estimator.solver not in SOLVERS:
            raise ValueError(
                f"estimator has solver={self.estimator.solver!r}, which does not stop early: a member could not be "
                f"stopped on the rows it leaves out. Give it one of {SOLVERS}."
            )
        if getattr(self.estimator, "_skl_callbacks", None):
            raise ValueError("estimator has callbacks, and members are trained side by side, without any.")
        return self.estimator

    def _validated(self, X, y, sample_weight):
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        X = self._checked_table(X, reset=True)
        y = checked_labels(self, y)
        if y.ndim != 1:
            raise ValueError(f"y should be a 1d array of two labels, got the shape {y.shape}.")
        with about("X and y"):
            check_consistent_length(X, y)
        return X, y, checked_weight(sample_weight, X)

    def _splits(self, X, Y: np.ndarray, classes, sample_weight, random_state) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each member the numbers of the rows it learns from, and of those it is stopped by."""
        weighty = np.arange(len(Y)) if sample_weight is None else np.flatnonzero(sample_weight)
        counts = np.bincount(Y[weighty], minlength=2)
        if counts.min() < 2:
            of_weight = "" if sample_weight is None else " with a sample_weight above zero"
            found = dict(zip(classes.tolist(), counts.tolist()))
            raise ValueError(f"y needs at least 2 rows of each class{of_weight}, got {found}.")
        if self.cv is not None:
            splits = _given_splits(self.cv, X, Y, weighty)
            # Each its own, for training shuffles them.
            return [tuple(map(np.copy, splits[k % len(splits)])) for k in range(self.n_estimators)]
        n_folds = min(self.n_estimators, int(counts.min()))
        splits = []
        while len(splits) < self.n_estimators:
            splits += _folds(Y, weighty, n_folds, random_state)
        return splits[: self.n_estimators]

    def _members(self, template, splits, random_state) -> list[_Member]:
        """The seeds and encoders of all."""
        settings = {"early_stopping": True, "n_threads": self.n_threads}
        n_encoders = max(1, len(self._encoder_list()))
        return [
            _Member(
                clone(template).set_params(**settings, random_state=random_state.randint(_SEEDS)), k % n_encoders, *rows
            )
            for k, rows in enumerate(splits)
        ]

    def _train(self, members: list[_Member], tables: list, y, sample_weight, deadline: float) -> bool:
        """Train the members, several at a time, and say whether Ctrl-C ended that.

        On Ctrl-C, after the deadline, and where one fails, those that run end early.
        """
        config = get_config()

        def train(member: _Member) -> None:
            remaining = deadline - time.perf_counter()
            if remaining <= 0 and member is not members[0]:
                return
            rows = member.training, member.held_out
            estimator, table = member.estimator, tables[member.encoder]
            max_time = estimator.max_time
            if np.isfinite(remaining):
                estimator.max_time = min(max(remaining, 0.0), np.inf if max_time is None else max_time)
            with config_context(**config):  # which is a thread's own
                end = estimator._fit(table, y, sample_weight, split=rows, observer=crew)
            estimator.max_time = max_time
            # One that was broken off in its first epoch has been stopped by no rows: it is as if it had not begun.
            if end.outcome is not Outcome.INTERRUPTED or estimator.n_iter_:
                member.outcome, member.logits, member.unseen_logits = end.outcome, end.best_logits, end.unseen_logits

        crew = _Crew(train, members)
        return crew.work(min(thread_limit(self.n_threads), len(members)))

    def _linear(self, trained: list[_Member], table, y, sample_weight, deadline: float) -> tuple[Any, bool]:
        """What `fitted_linear` gives for the members' rows, and whether Ctrl-C ended it."""
        splits = [(member.training, member.held_out) for member in trained]
        first = trained[0].estimator
        weights, dtype = (sample_weight, first.class_weight), first.coefs_[0].dtype
        try:
            return fitted_linear(splits, table, y, *weights, dtype, self.n_threads, deadline), False
        except KeyboardInterrupt:
            return None, True

    def _publish(self, trained: list[_Member], encoders, linear, positive, classes, sample_weight) -> None:
        """Set the fitted attributes."""
        P = _out_of_fold(trained, [member.unseen_logits for member in trained], len(positive))
        seen = np.isfinite(P[:, 1])
        positive, weight = positive[seen], None if sample_weight is None else sample_weight[seen]
        model, Q = (None, None) if linear is None else (linear[0], _shares(linear[1][seen]))
        share, temperature = self._share_and_temperature(trained, Q, seen, positive, weight)
        if share:
            P[seen] = (1 - share) * P[seen] + share * Q
        P = _tempered(P, temperature)
        vars(self).update(
            classes_=classes,
            estimators_=[member.estimator for member in trained],
            encoders_=encoders,
            held_out_=[member.held_out for member in trained],
            linear_=model if share else None,
            linear_share_=share,
            temperature_=temperature,
            _encoder_of=[member.encoder for member in trained],
            oof_proba_=P,
            oof_score_=_scores(positive, P[seen, 1], weight),
        )

    def _share_and_temperature(self, trained: list[_Member], Q, seen, positive, weight) -> tuple[float, float]:
        """The linear model's share, Q being its probabilities of the rows that were seen, and the temperature.

        By logits where members were stopped: these flatter a member by about as much as the mean of all is better than
        one. By oof_proba_ both come out too large (docs/ensemble.md#oof_score_).
        """
        share, temperature = 0.0 if Q is None else self.linear_share, 1.0
        if share != "oof" and self.calibration is None:
            return float(share), temperature
        P = _out_of_fold(trained, [member.logits for member in trained], len(seen))[seen]
        if share == "oof":
            share = best_share(P, Q, positive, weight)
        if self.calibration == "temperature":
            mixed = P if Q is None else (1 - share) * P + share * Q
            temperature = _best_temperature(_logits(mixed), positive, weight)
        return float(share), temperature

    def _tell_of(self, members: list[_Member], interrupted: bool) -> None:
        """One warning for what members would warn of. The default member's max_iter is no concern of the user."""
        n_members, cause = len(members), "Ctrl-C" if interrupted else "max_time"
        count = Counter(member.outcome for member in members)
        template = members[0].estimator
        n_ended = sum(count[outcome] for outcome in (Outcome.TIME_OVER, Outcome.STOPPED, Outcome.INTERRUPTED))
        planned = self.estimator is None or callable(template.learning_rate) or template.learning_rate in SCHEDULES
        news = {
            f"are left out, for {cause} came before they began": count[None],
            "are left out, for their parameters became non-finite (scale X, or lower learning_rate_init)": count[
                Outcome.DIVERGED
            ],
            f"had not converged when {cause} ended their training": n_ended,
            f"had not converged after max_iter={template.max_iter} epochs": 0 if planned else count[Outcome.MAX_ITER],
        }
        told = [f"{n} of {n_members} members {text}" for text, n in news.items() if n]
        if interrupted and not (count[None] or n_ended):
            told.append("Ctrl-C came when all members were trained")
        if told:
            warnings.warn("; ".join(told) + ".", ConvergenceWarning, stacklevel=4)


def _default_member(n_rows: int) -> BCEMLPClassifier:
    """The network of `estimator=None`: batches are smaller on small tables, so that an epoch has steps enough.

    docs/tabular.md has where the other numbers come from.
    """
    return BCEMLPClassifier(
        (128, 128),
        batch_size=int(np.clip(n_rows // 32, 16, 256)),
        scoring="loss",
        n_iter_no_change=16,
        tol=0.0,
        weight_decay=1.0,
        dropout=0.1,
        dtype="float32",
    )


def _takes_sparse(encoder) -> bool:
    """What an encoder says of itself; no, where it has no tags."""
    try:
        return bool(encoder.__sklearn_tags__().input_tags.sparse)
    except (AttributeError, TypeError):
        return False


def _seeded(encoder: TransformerMixin, random_state: np.random.RandomState) -> TransformerMixin:
    """A copy, with a seed wherever its random_state is None: the ensemble's random_state determines all."""
    encoder = clone(encoder)
    unset = [
        name
        for name, value in sorted(encoder.get_params().items(), key=lambda item: item[0])
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    return encoder.set_params(**{name: random_state.randint(_SEEDS) for name in unset})


def _encoded_table(encoder, X) -> NDArray[np.floating] | sp.csr_matrix:
    """X as the encoder shows it, as members take it without another copy."""
    table = encoder.transform(X)
    try:
        table = check_array(table, accept_sparse="csr", dtype=(np.float64, np.float32))
    except ValueError as error:
        raise ValueError(f"encoders: {encoder!r} gives what networks do not take. {error}") from error
    if table.shape[0] != X.shape[0]:
        raise ValueError(f"encoders: {encoder!r} gives {table.shape[0]} rows for {X.shape[0]}.")
    return table


class _Shown:
    """Members that see what one encoder shows, and what the probabilities of each count; all as kernels take them."""

    def __init__(self, encoder: PiecewiseLinearEncoder, members: dict[BCEMLPClassifier, float]) -> None:
        with state_of(encoder):
            self.plan = encoder._plan()
        self.encoder = encoder
        self.members = members
        self.networks = [member._network(sparse=True) for member in members]

    def fits(self) -> bool:
        return all(layout.units[0] == self.plan.width for layout, _ in self.networks)


def _is_looked_up(encoder, members: dict[BCEMLPClassifier, float], X) -> bool:
    """Whether `_add_looked_up` can do what `encoder.transform` and `predict_proba` do.

    Then it pays for a single row already, though running sums are of all weights: by default that takes 0.45 of the
    time (mean of 22 tables), as no member is asked by itself. With 1024 units a layer and 3000 components it takes
    1.2 times as long, and from 4 rows on less.
    """
    return (
        type(encoder) is PiecewiseLinearEncoder
        and X.shape[1] == encoder.n_features_in_
        # Someone may have exchanged or refitted a member.
        and all(type(member) is BCEMLPClassifier and not getattr(member, "_multilabel", True) for member in members)
    )


def _add_looked_up(shown: list[_Shown], X: np.ndarray, P: NDArray[np.float64], n_threads: int | None) -> None:
    """Add the members' probabilities to P, times what each counts.

    W_1's rows are looked up where a value lies, instead of a wide product.
    """
    if not shown:
        return
    X = np.require(X, requirements="A")
    pairs = [(one.plan, one.networks) for one in shown]
    with working() as work, work:
        for start in range(0, len(X), _LOOKED_UP_AT_ONCE):
            rows = slice(start, min(start + _LOOKED_UP_AT_ONCE, len(X)))
            logits = looked_up_logits(pairs, doors.Table(X[rows]), n_threads)
            for one, of_members in zip(shown, logits, strict=True):
                for (member, weight), Z in zip(one.members.items(), of_members, strict=True):
                    P[rows] += weight * _probabilities_of(member, Z, one.encoder, X[rows])


def _probabilities_of(member: BCEMLPClassifier, Z: np.ndarray | None, encoder, X: np.ndarray) -> np.ndarray:
    if Z is None:
        # The member says what is not finite, or that it is only a running sum.
        return member.predict_proba(_encoded_table(encoder, X))
    return class_probabilities(Z)


def _fitted(encoder: TransformerMixin, X, sample_weight: np.ndarray | None) -> TransformerMixin:
    """Fitted on the rows that have weight."""
    if sample_weight is None:
        return encoder.fit(X)
    weighty = sample_weight > 0
    weight = {"sample_weight": sample_weight[weighty]} if has_fit_parameter(encoder, "sample_weight") else {}
    return encoder.fit(X[weighty], **weight)


def _folds(Y: np.ndarray, weighty: np.ndarray, n_folds: int, random_state) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows outside and inside of each fold. Of those with weight all folds have some of both classes."""
    fold = np.empty(len(Y), np.intp)
    if len(weighty) < len(Y):
        fold = random_state.permutation(len(Y)) % n_folds
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state.randint(_SEEDS))
    for k, (_, held_out) in enumerate(splitter.split(weighty, Y[weighty])):
        fold[weighty[held_out]] = k
    return [(_where(fold != k), _where(fold == k)) for k in range(n_folds)]


def _given_splits(cv, X, Y: np.ndarray, weighty: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Those of `cv`, as numbers of rows in ascending order, each once."""
    splits = []
    for split in cv.split(X, Y) if hasattr(cv, "split") else cv:
        training, held_out = np.zeros(len(Y), bool), np.zeros(len(Y), bool)
        try:
            training_rows, held_out_rows = split
            training[np.asarray(training_rows)] = True
            held_out[np.asarray(held_out_rows)] = True
        except (IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"cv: a split has to be the numbers of training and of held-out rows of X. {error}"
            ) from error
        if (training & held_out).any():
            raise ValueError("cv: a split has rows to train on among those it holds out, so they could stop nothing.")
        if len(np.unique(Y[weighty][training[weighty]])) < 2 or not held_out[weighty].any():
            raise ValueError(
                f"cv: split {len(splits)} has to have rows of both classes to train on, and rows to stop by, each of a "
                "sample_weight above zero."
            )
        splits.append((_where(training), _where(held_out)))
    if not splits:
        raise ValueError("cv: there are no splits.")
    return splits


def _where(mask: np.ndarray) -> NDArray[np.int64]:
    return np.flatnonzero(mask).astype(np.int64, copy=False)


def _out_of_fold(members: list[_Member], logits: list, n_rows: int) -> NDArray[np.float64]:
    """For each row the mean probabilities of the members that did not train on it; NaN where there is none."""
    P = np.zeros((n_rows, 2))
    for member, Z in zip(members, logits, strict=True):
        P[member.held_out] += class_probabilities(Z)
    P[P[:, 1] == 0] = np.nan  # no member says 0
    return _shares(P)


def _shares(P: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of both classes' probabilities as mean ones, that add to 1: float32's add to 1 within its rounding."""
    return P / P.sum(axis=1, keepdims=True)


def _logits(P: np.ndarray) -> np.ndarray:
    """From both columns: neither is rounded from the other."""
    return np.log(P[:, 1]) - np.log(P[:, 0])


def _tempered(P: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """sigmoid(logit / temperature) of both classes, strictly between 0 and 1."""
    if temperature != 1:
        Z = _logits(P) / temperature
        P = np.column_stack((expit(-Z), expit(Z)))
    return np.clip(P, np.nextafter(0, 1), np.nextafter(1, 0))


def _best_temperature(logits: np.ndarray, positive: np.ndarray, sample_weight: np.ndarray | None) -> float:
    """The temperature of least log loss."""

    def loss(log_temperature: float) -> float:
        Z = logits / np.exp(log_temperature)
        return float(np.average(np.logaddexp(0, np.where(positive, -Z, Z)), weights=sample_weight))

    # The loss is convex in 1 / temperature, so the minimum between the bounds is the one.
    result = scipy.optimize.minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded")
    return float(np.exp(result.x))


def _scores(positive: np.ndarray, p: np.ndarray, sample_weight: np.ndarray | None) -> dict[str, float]:
    weight = {"sample_weight": sample_weight}
    one_class = positive.all() or not positive.any()
    return {
        "log_loss": float(log_loss(positive, p, labels=[False, True], **weight)),
        "roc_auc": np.nan if one_class else float(roc_auc_score(positive, p, **weight)),
        "brier": float(brier_score_loss(positive, p, **weight)),
        "accuracy": float(accuracy_score(positive, p > 0.5, **weight)),
    }
