"""DaskBCEMLPClassifier: scikit-learn's rules, for tables that lie on the workers of a Dask cluster."""

import inspect
import uuid
from numbers import Integral
from operator import itemgetter
from typing import Any, Self

import dask
import dask.array as da
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from skbce._drafts import draft_of
from skbce._parameters import Layout
from skbce._training import SOLVERS, Optimizer, Outcome
from skbce.classifier import BCEMLPClassifier
from skbce.dask.cluster import Cluster, ClusterError
from skbce.dask.partitions import (
    Encoding,
    Table,
    block_of,
    check_validation_labels,
    checked,
    is_frame,
    is_partitioned,
    len_of,
    parts_of,
)
from skbce.dask.sums import Blocks
from skbce.dask.training import AveragedTraining, ClusterCost, ClusterHeldOut, FullBatchTraining, Network


def _with_parameters_of(base, own) -> inspect.Signature:
    """The parameters of `own`, with those of `base` in place of its **parameters.

    scikit-learn and help() read them there; a second list could differ from the first.
    """
    known = inspect.signature(base).parameters
    new = [p for p in inspect.signature(own).parameters.values() if p.name not in known and p.kind is p.KEYWORD_ONLY]
    return inspect.Signature([*known.values(), *new])


class DaskBCEMLPClassifier(BCEMLPClassifier):
    """BCEMLPClassifier over dask arrays and dataframes, whose partitions stay on the workers where they lie.

    A subclass, for parameters, attributes and their checks are those of BCEMLPClassifier; `fit` trains over partitions,
    and what predicts gives dask arrays for dask collections.

    Which algorithm runs follows from `solver` and `batch_size`:

    - 'lbfgs', and 'sgd' or 'adam' with a `batch_size` of all rows or more: cost and gradient are sums over partitions,
      added up in the order of the partitions, and the client steps. It is the model that BCEMLPClassifier fits on
      all partitions together, to rounding, whatever the workers.
    - 'sgd' or 'adam' with smaller batches: each partition steps by itself from the same parameters, batch by batch;
      every epoch, or every `sync_every` steps, parameters and moments are averaged, weighted by rows. This is not the
      algorithm of one machine, and its model depends on how the table is cut, but not on the workers.

    Parameters
    ----------
    hidden_layer_sizes, activation, ... : as in BCEMLPClassifier
        All of its parameters; where they mean something else:

        - `batch_size`: rows a step of one partition; 'auto' is min(200, rows). As many as all partitions have
          together, or more, is a step for all of them, with 'sgd' and 'adam'.
        - `early_stopping` needs X_val of `fit`; `validation_fraction` stays as it is. `scoring` is None or "loss".
        - `max_time`: training ends after the iteration, the step, or the round before an averaging that passes it.
        - `n_threads`: most threads on each worker; None is all that it owns.
    sync_every : int or None, default=None
        Most steps of a partition between two averagings; None is an epoch. Only for batches smaller than the table.
    client : distributed.Client or None, default=None
        None is the current one. It is not copied, and not pickled.

    Attributes
    ----------
    coefs_, intercepts_, classes_, ... : as in BCEMLPClassifier
        On the client.

    Raises
    ------
    ValueError
        In fit, before any work where shapes tell: for X and y that are no dask collections, or cut apart otherwise;
        without a client; for parameters that have no meaning here. After a look at the partitions, by number: where
        one has other columns than the first, as many rows of y as X has not, or values that BCEMLPClassifier
        refuses; where the labels of all are not two.
    ClusterError
        In fit, for a cluster without workers, or whose scheduler is gone; the parameters reached so far are kept.

    Notes
    -----
    Callbacks and `partial_fit` are not there.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client, LocalCluster
    >>> from skbce.dask import DaskBCEMLPClassifier
    >>> with LocalCluster(
    ...     n_workers=1, processes=False, dashboard_address=":0"
    ... ) as cluster, Client(cluster) as client:
    ...     X = da.random.default_rng(0).standard_normal((1000, 5), chunks=(250, 5))
    ...     clf = DaskBCEMLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, X[:, 0] > X[:, 1])
    ...     print(clf.predict_proba(X).chunks[0], clf.score(X, X[:, 0] > X[:, 1]) > 0.95)
    (250, 250, 250, 250) True
    """

    _parameter_constraints: dict = {
        **BCEMLPClassifier._parameter_constraints,
        "sync_every": [Interval(Integral, 1, None, closed="left"), None],
        "client": "no_validation",
    }

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", *, sync_every=None, client=None, **parameters):
        super().__init__(hidden_layer_sizes, activation, **parameters)
        self.sync_every = sync_every
        self.client = client

    __init__.__signature__ = _with_parameters_of(BCEMLPClassifier.__init__, __init__)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train on the partitions of X and y where they lie; only parameters, and sums of their size, travel.

        What is not in memory yet is computed once, and kept on the workers until fit ends.

        Parameters
        ----------
        X : dask array or dataframe of shape (n_samples, n_features)
            In partitions of any and unknown numbers of rows; blocks of an array may be dense or sparse.
        y : dask array, series or dataframe of shape (n_samples,) or (n_samples, n_outputs)
            Cut as X.
        sample_weight : dask array or series of shape (n_samples,), default=None
            Cut as X.
        X_val, y_val, sample_weight_val : as X, y and sample_weight, default=None
            Rows to watch the score and the loss on after each epoch; see `fit` of BCEMLPClassifier.

        Returns
        -------
        self : DaskBCEMLPClassifier
        """
        validation = (X_val, y_val, sample_weight_val)
        self._check_combinations(validation)
        self._check_meaningful(X_val)
        parts = parts_of(X, y, sample_weight)
        parts_val = None if X_val is None else parts_of(*validation, suffix="_val")
        cluster = Cluster(self.client)
        with draft_of(self) as draft:
            continues = draft.warm_start and draft.__sklearn_is_fitted__()
            end = draft._fit_parts(cluster, parts, parts_val, continues)
        if isinstance(end, ClusterError):
            raise end
        self._tell_of(end)
        return self

    @property
    def partial_fit(self):
        """Not there: `to_local()` gives a classifier that has it."""
        raise AttributeError("DaskBCEMLPClassifier has no partial_fit. to_local() gives a classifier that has it.")

    def decision_function(self, X: Any) -> da.Array | NDArray[np.floating]:
        """As BCEMLPClassifier's; for a dask collection a dask array, which computes partition by partition."""
        check_is_fitted(self)
        return self._lazily("decision_function", X, self.n_outputs_ if self._multilabel else None)

    def predict(self, X: Any) -> da.Array | NDArray[Any]:
        """As BCEMLPClassifier's; for a dask collection a dask array, which computes partition by partition."""
        check_is_fitted(self)
        dtype = np.dtype(np.int64) if self._multilabel else self.classes_.dtype
        return self._lazily("predict", X, self.n_outputs_ if self._multilabel else None, dtype)

    def predict_proba(self, X: Any) -> da.Array | NDArray[np.floating]:
        """As BCEMLPClassifier's; for a dask collection a dask array, which computes partition by partition."""
        check_is_fitted(self)
        return self._lazily("predict_proba", X, self.n_outputs_ if self._multilabel else 2)

    def predict_log_proba(self, X: Any) -> da.Array | NDArray[np.floating]:
        """As BCEMLPClassifier's; for a dask collection a dask array, which computes partition by partition."""
        check_is_fitted(self)
        return self._lazily("predict_log_proba", X, self.n_outputs_ if self._multilabel else 2)

    def input_gradient(self, X: Any, output: int = 0) -> da.Array | NDArray[np.floating]:
        """As BCEMLPClassifier's; for a dask collection a dask array, which computes partition by partition."""
        check_is_fitted(self)
        return self._lazily("input_gradient", X, self.n_features_in_, output=output)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy: the share of rows, by weight, whose labels are all right.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`: dask collections cut alike; or all of them arrays.

        Returns
        -------
        accuracy : float
        """
        check_is_fitted(self)
        if not is_partitioned(X):
            return super().score(X, y, sample_weight)
        cluster, local = Cluster(self.client), self.to_local()
        model = dask.delayed(local, pure=False, traverse=False)
        parts = parts_of(X, y, sample_weight)
        sums = [dask.delayed(_right_and_total, pure=False)(k, model, *part) for k, part in enumerate(parts)]
        right, total = np.sum(cluster.gathered(cluster.computed(sums)), axis=0)
        return float(right / total)

    def to_local(self) -> BCEMLPClassifier:
        """A BCEMLPClassifier with the parameters and, once fitted, the model; it shares the arrays.

        Returns
        -------
        clf : BCEMLPClassifier
        """
        parameters = self.get_params(deep=False)
        for name in ("sync_every", "client"):
            del parameters[name]
        clf = BCEMLPClassifier(**parameters)
        vars(clf).update({name: value for name, value in vars(self).items() if name not in ("sync_every", "client")})
        return clf

    def __getstate__(self):
        return {**super().__getstate__(), "client": None}

    def __sklearn_clone__(self):
        # A client cannot be copied, as clone does with parameters.
        without_client = type(self)(**{**self.get_params(deep=False), "client": None})
        vars(without_client).update({name: value for name, value in vars(self).items() if name != "client"})
        new = BaseEstimator.__sklearn_clone__(without_client)
        new.client = self.client
        return new

    def _check_meaningful(self, X_val) -> None:
        """Say so where a parameter means nothing over partitions."""
        stochastic = self.solver in SOLVERS
        default = inspect.signature(type(self)).parameters["validation_fraction"].default
        meaningless = {
            "set_callbacks": (hasattr(self, "_skl_callbacks"), "callbacks are told of no epochs here."),
            f"scoring={self.scoring!r}": (
                self.scoring not in (None, "loss"),
                "it would bring all predictions to the client. None (the accuracy) and 'loss' are sums.",
            ),
            "early_stopping=True": (
                self.early_stopping and stochastic and X_val is None,
                "no rows are split off partitions. Give fit X_val and y_val, dask collections.",
            ),
            f"validation_fraction={self.validation_fraction}": (
                self.validation_fraction != default,
                "no rows are split off partitions. Give fit X_val and y_val.",
            ),
            f"sync_every={self.sync_every}": (
                self.sync_every is not None and not stochastic,
                "lbfgs averages nothing.",
            ),
        }
        for name, (is_set, why) in meaningless.items():
            if is_set:
                raise ValueError(f"{name} means nothing to {type(self).__name__}: {why}")

    def _fit_parts(self, cluster: Cluster, parts, parts_val, continues: bool):
        """Look at the partitions, train over them, and publish."""
        dtype = self._precision(continues)
        pairs, table = self._checked(cluster, parts, "X, y, sample_weight", dtype)
        self._set_features(table, continues)
        labels = table.labels(self, continues)
        n_outputs = table.first.n_columns
        units = tuple(self._layer_units(table.first.n_features, n_outputs))
        layout = Layout(units, self.activation, dropout=self.dropout)
        random_state = check_random_state(self.random_state)
        if continues:
            self._check_same_layers(layout)
            theta = self._converted_theta(layout, dtype)
        else:
            theta = layout.initial(random_state, dtype or table.dtype)
        class_weight = table.balanced(labels) if self.class_weight == "balanced" else self.class_weight
        encoding = Encoding(labels, class_weight, theta.dtype)
        blocks = self._blocks(cluster, pairs, table, encoding)
        del pairs
        network = self._network_for_workers(units, theta.dtype)
        held_out = self._held_out_blocks(cluster, parts_val, theta.dtype, labels, n_outputs, table, network)
        return self._train(table, blocks, network, layout, theta, labels, held_out, random_state, continues)

    def _checked(self, cluster: Cluster, parts, names: str, dtype):
        """Futures of checked partitions with their facts, of those that have rows; and the facts of all together."""
        check = dask.delayed(checked, pure=False)
        pairs = cluster.computed([check(k, names, *part, dtype) for k, part in enumerate(parts)])
        # Not pinned: a task goes where its only input lies.
        facts = cluster.gathered(cluster.client.map(itemgetter(1), pairs, pure=False))
        numbers = [k for k, one in enumerate(facts) if one.n_rows]
        table = Table([facts[k] for k in numbers], numbers, names)
        table.check_weights()
        return [pairs[k] for k in numbers], table

    def _blocks(self, cluster: Cluster, pairs, table: Table, encoding: Encoding) -> Blocks:
        calls = [
            (worker, (number, pair, encoding, table.names))
            for number, pair, worker in zip(table.numbers, pairs, cluster.holders(pairs), strict=True)
        ]
        futures = cluster.called(_block_of_pair, calls)
        if not any(cluster.gathered(cluster.client.map(_has_weight, futures, pure=False))):
            raise ValueError(f"class_weight={self.class_weight!r} leaves no row a weight above zero.")
        return Blocks(cluster, futures)

    def _held_out_blocks(self, cluster, parts_val, dtype, labels, n_outputs, table, network) -> ClusterHeldOut | None:
        """What watches the rows of X_val; they are not weighted by class."""
        if parts_val is None:
            return None
        pairs, watched = self._checked(cluster, parts_val, "X_val, y_val, sample_weight_val", dtype)
        for name, what in (
            ("n_features", "columns"),
            ("feature_names", "feature names"),
            ("n_columns", "columns of y"),
        ):
            given, expected = getattr(watched.first, name), getattr(table.first, name)
            if given != expected:
                raise ValueError(f"X_val, y_val: the {what} must be those of X and y, {expected}, got {given}.")
        check_validation_labels(watched, labels, n_outputs)
        blocks = self._blocks(cluster, pairs, watched, Encoding(labels, None, dtype))
        return ClusterHeldOut(blocks, network, self.scoring)

    def _set_features(self, table: Table, continues: bool) -> None:
        names = table.first.feature_names
        if continues:
            if table.first.n_features != self.n_features_in_:
                raise ValueError(
                    f"X has {table.first.n_features} features, but {type(self).__name__} is expecting "
                    f"{self.n_features_in_} features as input."
                )
            return
        self.n_features_in_ = table.first.n_features
        vars(self).pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    def _network_for_workers(self, units: tuple[int, ...], dtype) -> Network:
        def hashable(value):
            return tuple(value) if np.iterable(value) and not isinstance(value, str) else value

        return Network(
            units,
            hashable(self.activation),
            hashable(self.dropout),
            np.dtype(dtype).name,
            self.label_smoothing,
            self.n_threads,
        )

    def _train(self, table, blocks, network, layout, theta, labels, held_out, random_state, continues):
        history = self._history(continues)
        if held_out is None:
            history.validation_scores = history.validation_loss_curve = None
        cost = ClusterCost(blocks, network, self.alpha)
        training = None
        if self.solver != "lbfgs":
            training = self._training(table, blocks, network, cost, theta, history, held_out, random_state)
        try:
            if training is None:
                return self._fit_lbfgs(cost, table.n_rows, layout, theta, history, labels)
            return self._fit_epochs(training, layout, labels)
        except ClusterError as error:
            if not history.n_epochs:
                raise
            if training is not None:
                training.settled(Outcome.INTERRUPTED)
            vars(self).update(
                self._attributes(layout, theta, labels, history), _scored_by=self.scoring, _no_improvement_count=0
            )
            self._keep_optimizer(None)
            return error  # to be raised when the parameters so far are kept

    def _training(self, table, blocks, network, cost, theta, history, held_out, random_state):
        """Epochs of one step over all rows, or of averaged steps."""
        settings, n_rows = self._settings(), table.n_rows
        optimizer = Optimizer.new(settings, theta.size, theta.dtype)
        epochs = (n_rows, theta, optimizer, settings, history, held_out)
        batch_size = min(200, n_rows) if self.batch_size == "auto" else self.batch_size
        if batch_size < n_rows:
            most_rows = max(facts.n_rows for facts in table.facts)
            seed = random_state.randint(2**31)
            return AveragedTraining(blocks, network, batch_size, most_rows, self.sync_every, seed, *epochs)
        if self.sync_every is not None:
            raise ValueError(
                f"sync_every={self.sync_every} needs batches smaller than the table, and batch_size={self.batch_size} "
                f"is all of its {n_rows} rows: nothing is averaged."
            )
        if np.any(np.asarray(self.dropout) != 0):
            raise ValueError(
                f"dropout={self.dropout!r} needs batches smaller than the table, and batch_size={self.batch_size} is "
                f"all of its {n_rows} rows."
            )
        return FullBatchTraining(cost, cost.n_W, *epochs)

    def _lazily(self, method: str, X: Any, n_columns: int | None, dtype=None, **kwargs):
        """A method of the local model on each partition, later; at once where X is not partitioned."""
        if not is_partitioned(X):
            return getattr(super(), method)(X, **kwargs)
        shape = () if n_columns is None else (n_columns,)
        dtype = self.coefs_[0].dtype if dtype is None else dtype
        empty = np.empty((0, *shape), dtype)
        # An object of the graph, so that it travels once to a worker, and not with each task.
        model = dask.delayed(self.to_local(), name=f"skbce-model-{uuid.uuid4().hex}", traverse=False)
        name = f"{method}-{uuid.uuid4().hex}"
        if is_frame(X):
            predict = dask.delayed(_predicted, pure=False)
            arrays = [
                da.from_delayed(predict(part, model, method, empty, kwargs), (np.nan, *shape), meta=empty)
                for part in X.to_delayed()
            ]
            return da.concatenate(arrays, allow_unknown_chunksizes=True)
        if X.ndim != 2 or X.numblocks[1] > 1 or X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have {self.n_features_in_} columns, in blocks of whole rows (X.rechunk({{1: -1}})); its "
                f"chunks are {X.chunks}."
            )
        form = {"drop_axis": 1} if n_columns is None else {"chunks": (X.chunks[0], (n_columns,))}
        return X.map_blocks(
            _predicted,
            model=model,
            method=method,
            empty=empty,
            kwargs=kwargs,
            name=name,
            dtype=dtype,
            meta=empty,
            **form,
        )


def _block_of_pair(number: int, pair, encoding: Encoding, names: str):
    """On a worker: `block_of`, from what `checked` gave."""
    return block_of(number, pair[0], encoding, names)


def _has_weight(block) -> bool:
    return block.total > 0


def _predicted(X, model: BCEMLPClassifier, method: str, empty: np.ndarray, kwargs: dict) -> np.ndarray:
    """On a worker: what the model predicts for one partition, which may be empty."""
    return getattr(model, method)(X, **kwargs) if len_of(X) else empty


def _right_and_total(number: int, model: BCEMLPClassifier, X, y, sample_weight) -> np.ndarray:
    """On a worker: the weight of the rows that are right, and of all, of one partition."""
    if len_of(X) == 0:
        return np.zeros(2)
    try:
        total = float(len_of(X) if sample_weight is None else np.sum(np.asarray(sample_weight, dtype=np.float64)))
        return np.array([BCEMLPClassifier.score(model, X, y, sample_weight) * total if total > 0 else 0.0, total])
    except ValueError as error:
        raise ValueError(f"Partition {number}: {error}") from error
