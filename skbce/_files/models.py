"""What each class consists of in a file, and what must hold of it; nothing is imported by a name in a file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from skbce._files.values import Packer, Unpacker

# What stands for a scorer that is a function. No `scoring` is equal to it: its scores are not taken for another's.
_A_FUNCTION = "a function"

# What set_output leaves, before fit too.
_OF_UNFITTED = {"_sklearn_output_config"}


class Check(NamedTuple):
    """What a value must be, in words and in code."""

    what: str
    holds: Callable[[Any], bool]


def _nothing(values: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Kind:
    """A class as files know it.

    Parameters
    ----------
    cls : type
    required : dict of str to Check
        The attributes of a fitted one.
    optional : dict of str to Check
        Those that some have.
    agree : callable(attributes, parameters)
        Raises ValueError where the attributes do not fit each other.
    check_parameters : callable(parameters)
        Raises ValueError for what the class itself looks at in fit only.
    """

    cls: type
    required: dict[str, Check]
    optional: dict[str, Check] = field(default_factory=dict)
    agree: Callable[[dict[str, Any], dict[str, Any]], None] = lambda attributes, parameters: None
    check_parameters: Callable[[dict[str, Any]], None] = _nothing

    @property
    def is_estimator(self) -> bool:
        return hasattr(self.cls, "get_params")

    def parameters_of(self, model: Any) -> dict[str, Any]:
        return model.get_params(deep=False) if self.is_estimator else {}


def pack_model(packer: Packer, model: Any, path: str) -> dict[str, Any]:
    """An estimator as JSON, its attributes with it."""
    kind = _kind_of(model, path)
    parameters = kind.parameters_of(model)
    attributes = {name: value for name, value in vars(model).items() if name not in parameters}
    unknown = [name for name in attributes if name not in kind.required and name not in kind.optional]
    if unknown:
        raise ValueError(
            f"{path or type(model).__name__} has {', '.join(unknown)}, which a model file does not hold: callbacks, "
            "metadata requests, or attributes that others gave it. Take them off, or pickle the model."
        )
    if callable(attributes.get("_scored_by")):
        attributes["_scored_by"] = _A_FUNCTION
    return {
        "class": type(model).__name__,
        "parameters": {name: packer.pack(value, _join(path, name)) for name, value in parameters.items()},
        "attributes": {name: packer.pack(value, _join(path, name)) for name, value in attributes.items()},
    }


def unpack_model(unpacker: Unpacker, packed: dict[str, Any], path: str) -> Any:
    """The estimator that JSON stands for, after a look at every field.

    Raises
    ------
    ValueError
        For anything that no estimator of the class could have, by its path.
    """
    kind = _kinds().get(packed["class"]) if isinstance(packed["class"], str) else None
    if kind is None:
        raise ValueError(f"{path or 'the model'} is of the class {str(packed['class'])[:80]!r}, which is not known.")
    if packed.keys() != {"class", "parameters", "attributes"} or not all(
        isinstance(packed[part], dict) for part in ("parameters", "attributes")
    ):
        raise ValueError(f"{path or 'the model'} does not consist of parameters and attributes.")
    parameters, attributes = (
        {name: unpacker.unpack(value, _join(path, name)) for name, value in packed[part].items()}
        for part in ("parameters", "attributes")
    )
    try:
        model = _with_parameters(kind, parameters)
        if attributes.keys() - _OF_UNFITTED or not kind.is_estimator:
            _check_attributes(kind, attributes, kind.parameters_of(model))
        else:
            _check_each(kind.optional, attributes)
        _set_attributes(model, attributes)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path or packed['class']}: {error}") from error
    return model


def _kind_of(model: Any, path: str) -> Kind:
    kind = _kinds().get(type(model).__name__)
    if kind is None or kind.cls is not type(model):
        what = f"{path} is of type {type(model).__name__}" if path else f"got {type(model).__name__}"
        known = [name for name in _kinds() if not name.startswith("_")]
        raise ValueError(
            f"{what}, which a model file does not hold. It holds plain values, arrays and {', '.join(known)}."
        )
    return kind


def _with_parameters(kind: Kind, parameters: dict[str, Any]) -> Any:
    """An unfitted one; parameters that are younger than the file have their defaults."""
    if not kind.is_estimator:
        _check_names(parameters, {})
        return kind.cls.__new__(kind.cls)
    unknown = sorted(parameters.keys() - set(kind.cls._get_param_names()))
    if unknown:
        raise ValueError(f"there are parameters that are not known: {unknown}.")
    model = kind.cls(**parameters)
    model._validate_params()
    kind.check_parameters(kind.parameters_of(model))
    return model


def _check_names(found: dict[str, Any], known: dict[str, Any]) -> None:
    unknown = sorted(found.keys() - known.keys())
    if unknown:
        raise ValueError(f"there is {unknown}, which is not known.")


def _check_each(checks: dict[str, Check], values: dict[str, Any]) -> None:
    _check_names(values, checks)
    for name, value in values.items():
        if not checks[name].holds(value):
            raise ValueError(f"{name} must be {checks[name].what}, got {str(value)[:80]}.")


def _check_attributes(kind: Kind, attributes: dict[str, Any], parameters: dict[str, Any]) -> None:
    missing = sorted(kind.required.keys() - attributes.keys())
    if missing:
        raise ValueError(f"there is no {', '.join(missing)}.")
    _check_each({**kind.required, **kind.optional}, attributes)
    if "feature_names_in_" in attributes:
        _demand(
            len(attributes["feature_names_in_"]) == attributes["n_features_in_"], "feature_names_in_", "n_features_in_"
        )
    kind.agree(attributes, parameters)


def _set_attributes(model: Any, attributes: dict[str, Any]) -> None:
    from skbce._version import __version__

    if "coefs_" in attributes:
        # As if unpickled: one vector again. Versions are the file format's concern.
        model.__setstate__({**vars(model), **attributes, "_skbce_version": __version__})
    else:
        vars(model).update(attributes)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _demand(holds: bool, *names: str) -> None:
    if not holds:
        raise ValueError(f"{', '.join(names[:-1])} and {names[-1]} do not fit each other.")


# What values must be. Types are those of plain values: True is no number here, though it is an int.


def _is_int(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_array(value: Any, dtype: Any, ndim: int) -> bool:
    return type(value) is np.ndarray and value.dtype == dtype and value.ndim == ndim


def _is_list_of(value: Any, holds: Callable[[Any], bool]) -> bool:
    return type(value) is list and all(map(holds, value))


def _is_increasing(edges: np.ndarray) -> bool:
    return bool(np.isfinite(edges).all() and (edges[1:] > edges[:-1]).all())


def _is_array_of_parameters(value: Any, ndim: int) -> bool:
    floats = type(value) is np.ndarray and value.dtype in (np.float32, np.float64) and value.ndim == ndim
    return floats and value.size > 0 and bool(np.isfinite(value).all())


def _is_array_of_moments(value: Any) -> bool:
    # Squares may be beyond float32; what is divided by their root is 0 then.
    floats = type(value) is np.ndarray and value.dtype in (np.float32, np.float64) and value.ndim == 1
    return floats and not np.isnan(value).any()


def _are_labels(value: Any) -> bool:
    """Labels in their order, each once, as np.unique gives them."""
    if type(value) is not np.ndarray or value.ndim != 1 or value.dtype.kind not in "biufUO":
        return False
    labels = value.tolist()
    if any(label is None or label != label for label in labels):
        return False
    try:
        return all(a < b for a, b in pairwise(labels))
    except TypeError:  # labels of types that have no order
        return False


def _is_output_config(value: Any) -> bool:
    return type(value) is dict and all(
        k == "transform" and v in ("default", "pandas", "polars") for k, v in value.items()
    )


COUNT = Check("an integer >= 0", lambda v: _is_int(v) and v >= 0)
POSITIVE = Check("an integer > 0", lambda v: _is_int(v) and v > 0)
NUMBER = Check("a number, not NaN", lambda v: _is_number(v) and v == v)
RATE = Check("a finite number >= 0", lambda v: _is_number(v) and 0 <= v < np.inf)
BOOL = Check("True or False", lambda v: type(v) is bool)
CURVE = Check("a list of numbers, none NaN", lambda v: _is_list_of(v, NUMBER.holds))
COUNTS = Check("a list of integers >= 0", lambda v: _is_list_of(v, COUNT.holds))
TEXTS = Check("a list of texts", lambda v: _is_list_of(v, lambda text: type(text) is str))
LABELS = Check("an array of labels in order, each once", _are_labels)
NAMES = Check("an array of texts", lambda v: _is_array(v, object, 1) and all(type(name) is str for name in v))
OUTPUT_CONFIG = Check("a container of set_output", _is_output_config)
BOOLS = Check("an array of bools of one dimension", lambda v: _is_array(v, bool, 1))
FLOATS = Check("an array of float64 of one dimension", lambda v: _is_array(v, np.float64, 1))


def _or_none(check: Check) -> Check:
    return Check(f"{check.what}, or None", lambda v: v is None or check.holds(v))


_OF_X = {"n_features_in_": POSITIVE}
_SOMETIMES_OF_X = {"feature_names_in_": NAMES}

_EPOCH_ATTRIBUTES = {
    "loss_curve_": CURVE,
    "learning_rate_curve_": CURVE,
    "best_loss_": _or_none(NUMBER),
    "validation_scores_": _or_none(CURVE),
    "validation_loss_curve_": _or_none(CURVE),
    "best_validation_score_": _or_none(NUMBER),
    "best_iteration_": _or_none(COUNT),
}


def _network_kind() -> Kind:
    from skbce.classifier import BCEMLPClassifier

    def are_layers(ndim: int) -> Check:
        what = f"a list of arrays of finite float32 or float64 of {ndim} dimension(s)"
        return Check(what, lambda v: _is_list_of(v, lambda array: _is_array_of_parameters(array, ndim)))

    required = {
        **_OF_X,
        "classes_": LABELS,
        "coefs_": are_layers(2),
        "intercepts_": are_layers(1),
        "n_layers_": POSITIVE,
        "n_outputs_": POSITIVE,
        "out_activation_": Check("'logistic'", lambda v: v == "logistic"),
        "n_iter_": COUNT,
        "t_": COUNT,
        "loss_": NUMBER,
        "_multilabel": BOOL,
        "_sparse_targets": BOOL,
        "_moments": Check("a list of arrays without NaN", lambda v: _is_list_of(v, _is_array_of_moments)),
        "_n_steps": COUNT,
        "_learning_rate": RATE,
        "_learning_rate_from": RATE,
    }
    optional = {
        **_SOMETIMES_OF_X,
        **_EPOCH_ATTRIBUTES,
        "_scored_by": Check("the name of a scorer, or None", lambda v: v is None or type(v) is str),
        "_no_improvement_count": COUNT,
        # Models of before it was noted have the parameter's.
        "_activation": Check("names of activations", lambda v: type(v) is str or _is_tuple_of_names(v)),
    }
    return Kind(BCEMLPClassifier, required, optional, _check_network, _check_network_parameters)


def _is_tuple_of_names(value: Any) -> bool:
    return type(value) is tuple and all(type(name) is str for name in value)


def _check_network(network: dict[str, Any], parameters: dict[str, Any]) -> None:
    from skbce._parameters import known_activations

    W, b = network["coefs_"], network["intercepts_"]
    _demand(len(W) > 0 and len(W) == len(b), "coefs_", "intercepts_")
    units = (network["n_features_in_"], *(array.shape[1] for array in W))
    _demand([array.shape for array in W] == list(pairwise(units)), "n_features_in_", "the shapes of coefs_")
    _demand([array.shape for array in b] == [(n,) for n in units[1:]], "coefs_", "intercepts_")
    _demand(network["n_layers_"] == len(units), "coefs_", "n_layers_")
    _demand(network["n_outputs_"] == units[-1], "coefs_", "n_outputs_")
    _demand(len({array.dtype for array in (*W, *b, *network["_moments"])}) == 1, "the dtypes of coefs_", "_moments")
    n_parameters = sum(array.size for array in (*W, *b))
    _demand(all(moment.size == n_parameters for moment in network["_moments"]), "coefs_", "_moments")
    _demand(len(network["_moments"]) <= 2, "solver", "_moments")
    known_activations(network.get("_activation", parameters["activation"]), len(units) - 2)
    classes = network["classes_"]
    if network["_multilabel"]:
        _demand(np.array_equal(classes, np.arange(units[-1])) and classes.dtype.kind == "i", "classes_", "n_outputs_")
    else:
        _demand(len(classes) == 2 and units[-1] == 1 and not network["_sparse_targets"], "classes_", "n_outputs_")
    of_epochs = {*_EPOCH_ATTRIBUTES, "_scored_by", "_no_improvement_count"}
    if network.keys() & _EPOCH_ATTRIBUTES.keys():
        missing = sorted(of_epochs - network.keys())
        if missing:
            raise ValueError(f"there is no {', '.join(missing)}.")


def _check_network_parameters(parameters: dict[str, Any]) -> None:
    """What fit looks at when it knows the layers and the labels, as far as it can be known without them."""
    from skbce._parameters import known_activations, known_dropout

    sizes = parameters["hidden_layer_sizes"]
    sizes = list(sizes) if np.iterable(sizes) else [sizes]
    if not all(isinstance(size, int | np.integer) and not isinstance(size, bool) and size > 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be integers > 0, got {str(sizes)[:80]}.")
    for name, known in (("activation", known_activations), ("dropout", known_dropout)):
        value = parameters[name]
        known(value, 1 if isinstance(value, str) or not np.iterable(value) else len(value))
    of_columns = parameters["class_weight"]
    for weights in of_columns if isinstance(of_columns, list) else [of_columns]:
        if not (weights is None or weights == "balanced" or _are_weights(weights)):
            raise ValueError(f"class_weight must have dicts of finite weights >= 0, got {str(weights)[:80]}.")


def _are_weights(weights: Any) -> bool:
    return type(weights) is dict and all(isinstance(w, Real) and 0 <= w < np.inf for w in weights.values())


def _ensemble_kind() -> Kind:
    from skbce.classifier import BCEMLPClassifier
    from skbce.ensemble import BCEMLPEnsembleClassifier

    def is_member(value: Any) -> bool:
        return type(value) is BCEMLPClassifier and value.__sklearn_is_fitted__()

    def is_fitted_encoder(value: Any) -> bool:
        return hasattr(value, "transform") and _is_fitted(value)

    def are_scores(value: Any) -> bool:
        known = {"log_loss", "roc_auc", "brier", "accuracy"}
        return type(value) is dict and value.keys() == known and all(map(_is_number, value.values()))

    required = {
        **_OF_X,
        "classes_": LABELS,
        "estimators_": Check("a list of fitted BCEMLPClassifiers", lambda v: _is_list_of(v, is_member) and v != []),
        "encoders_": Check("a list of fitted transformers", lambda v: _is_list_of(v, is_fitted_encoder)),
        "held_out_": Check(
            "a list of arrays of row numbers", lambda v: _is_list_of(v, lambda rows: _is_array(rows, np.int64, 1))
        ),
        "oof_proba_": Check(
            "probabilities of two columns, or NaN",
            lambda v: _is_array(v, np.float64, 2) and v.shape[1] == 2 and not ((v < 0) | (v > 1)).any(),
        ),
        "oof_score_": Check("a dict of four scores", are_scores),
        "temperature_": Check("a finite number > 0", lambda v: _is_number(v) and 0 < v < np.inf),
        "_encoder_of": COUNTS,
    }
    # The first files have neither.
    optional = {
        **_SOMETIMES_OF_X,
        "linear_": Check("a fitted BCEMLPClassifier or None", lambda v: v is None or is_member(v)),
        "linear_share_": Check("a number in [0, 1)", lambda v: _is_number(v) and 0 <= v < 1),
    }
    return Kind(BCEMLPEnsembleClassifier, required, optional, _check_ensemble, _check_ensemble_parameters)


def _check_ensemble(ensemble: dict[str, Any], parameters: dict[str, Any]) -> None:
    members, encoders, classes = ensemble["estimators_"], ensemble["encoders_"], ensemble["classes_"]
    for name in ("held_out_", "_encoder_of"):
        _demand(len(members) == len(ensemble[name]), "estimators_", name)
    _demand(max(ensemble["_encoder_of"]) < max(1, len(encoders)), "encoders_", "_encoder_of")
    n_rows = len(ensemble["oof_proba_"])
    for rows in ensemble["held_out_"]:
        _demand(((rows >= 0) & (rows < n_rows)).all(), "held_out_", "oof_proba_")
    _demand(len(classes) == 2, "classes_", "two of them")
    linear = ensemble.get("linear_")
    _demand((linear is None) == (ensemble.get("linear_share_", 0) == 0), "linear_", "linear_share_")
    for member in [*members, *([] if linear is None else [linear])]:
        _demand(not member._multilabel and np.array_equal(member.classes_, classes), "estimators_", "classes_")
        _demand(bool(encoders) or member.n_features_in_ == ensemble["n_features_in_"], "estimators_", "n_features_in_")
    for encoder in encoders:
        n_features = getattr(encoder, "n_features_in_", ensemble["n_features_in_"])
        _demand(n_features == ensemble["n_features_in_"], "encoders_", "n_features_in_")


def _check_ensemble_parameters(parameters: dict[str, Any]) -> None:
    encoders = parameters["encoders"]
    for encoder in encoders if isinstance(encoders, list | tuple) else [encoders]:
        if not (encoder is None or hasattr(encoder, "transform")):
            raise ValueError(f"encoders must be transformers, got {str(encoder)[:80]}.")


def _is_fitted(model: Any) -> bool:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError):
        return False
    return True


def _encoder_kind() -> Kind:
    from skbce.encoder import PiecewiseLinearEncoder

    def are_edges(value: Any) -> bool:
        return _is_list_of(value, lambda edges: _is_array(edges, np.float64, 1) and _is_increasing(edges))

    required = {
        **_OF_X,
        "edges_": Check("a list of arrays of finite, increasing float64", are_edges),
        "center_": FLOATS,
        "scale_": Check("finite float64 >= 0", lambda v: FLOATS.holds(v) and ((v >= 0) & (v < np.inf)).all()),
        "has_missing_": BOOLS,
        "has_two_values_": BOOLS,
    }
    optional = {**_SOMETIMES_OF_X, "_sklearn_output_config": OUTPUT_CONFIG}
    return Kind(PiecewiseLinearEncoder, required, optional, _check_encoder)


def _check_encoder(encoder: dict[str, Any], parameters: dict[str, Any]) -> None:
    edges, center, scale = encoder["edges_"], encoder["center_"], encoder["scale_"]
    for name in ("edges_", "center_", "scale_", "has_missing_", "has_two_values_"):
        _demand(len(encoder[name]) == encoder["n_features_in_"], name, "n_features_in_")
    has_edges = np.array([len(of_column) > 0 for of_column in edges])
    _demand(all(len(of_column) != 1 for of_column in edges), "edges_", "bins between them")
    _demand((scale[has_edges] > 0).all() and np.isfinite(center[has_edges]).all(), "edges_", "center_", "scale_")
    _demand((has_edges | encoder["has_missing_"]).any(), "edges_", "has_missing_")


def _table_kind() -> Kind:
    from skbce.tabular import TableEncoder, _Levels

    required = {
        **_OF_X,
        "numeric_": COUNTS,
        "categorical_": COUNTS,
        "_levels": Check("a list of categories", lambda v: _is_list_of(v, lambda levels: type(levels) is _Levels)),
    }
    optional = {**_SOMETIMES_OF_X, "_target_labels": TEXTS, "_sklearn_output_config": OUTPUT_CONFIG}
    return Kind(TableEncoder, required, optional, _check_table)


def _check_table(table: dict[str, Any], parameters: dict[str, Any]) -> None:
    numeric, categorical, levels = table["numeric_"], table["categorical_"], table["_levels"]
    whole = sorted(numeric + categorical) == list(range(table["n_features_in_"]))
    _demand(whole, "numeric_", "categorical_", "n_features_in_")
    _demand(len(levels) == len(categorical), "categorical_", "_levels")
    n_targets = len(table.get("_target_labels", []))
    for of_column in levels:
        means = of_column.mean_target
        _demand(means is None or means.shape[1] == n_targets > 0, "_levels", "_target_labels")


def _levels_kind() -> Kind:
    from skbce.tabular import _Levels

    def are_numbered(value: Any) -> bool:
        keys = type(value) is dict and all(type(key) is str for key in value)
        return keys and all(map(_is_int, value.values())) and list(value.values()) == list(range(len(value)))

    required = {
        "number": Check("categories, numbered from 0", are_numbered),
        "has_missing": BOOL,
        "are_many": BOOL,
        "mean_target": _or_none(
            Check("a table of finite float64", lambda v: _is_array(v, np.float64, 2) and np.isfinite(v).all())
        ),
        "indicators": TEXTS,
        "pattern_of": Check("an array of row numbers", lambda v: _is_array(v, np.intp, 1)),
        "pattern": Check(
            "a table of numbers from 0 to 1", lambda v: _is_array(v, np.float64, 2) and ((v >= 0) & (v <= 1)).all()
        ),
    }
    return Kind(_Levels, required, agree=_check_levels)


def _check_levels(levels: dict[str, Any], parameters: dict[str, Any]) -> None:
    n = len(levels["number"]) + levels["has_missing"]
    pattern, pattern_of = levels["pattern"], levels["pattern_of"]
    _demand(len(pattern_of) == n + 1, "number", "pattern_of")
    _demand(((pattern_of >= 0) & (pattern_of < len(pattern))).all(), "pattern", "pattern_of")
    _demand(pattern.shape[1] == len(levels["indicators"]), "pattern", "indicators")
    means = levels["mean_target"]
    _demand(means is None or len(means) == n + 1, "number", "mean_target")


def _scaler_kind() -> Kind:
    from sklearn.preprocessing import StandardScaler

    def are_finite(value: Any) -> bool:
        floats = type(value) is np.ndarray and value.dtype in (np.float32, np.float64) and value.ndim == 1
        return floats and bool(np.isfinite(value).all())

    finite = _or_none(Check("an array of finite floats", are_finite))
    # Weights make floats of them.
    counts = Check(
        "a number >= 0, or an array of them",
        lambda v: RATE.holds(v) or (type(v) is np.ndarray and v.dtype.kind in "if" and v.ndim == 1 and (v >= 0).all()),
    )
    required = {**_OF_X, "mean_": finite, "scale_": finite, "var_": finite, "n_samples_seen_": counts}
    optional = {**_SOMETIMES_OF_X, "_sklearn_output_config": OUTPUT_CONFIG}
    return Kind(StandardScaler, required, optional, _check_scaler)


def _check_scaler(scaler: dict[str, Any], parameters: dict[str, Any]) -> None:
    for name in ("mean_", "scale_", "var_", "n_samples_seen_"):
        is_array = isinstance(scaler[name], np.ndarray)
        _demand(not is_array or len(scaler[name]) == scaler["n_features_in_"], name, "n_features_in_")
    _demand(not parameters["with_mean"] or scaler["mean_"] is not None, "with_mean", "mean_")
    _demand(not parameters["with_std"] or scaler["scale_"] is not None, "with_std", "scale_")
    _demand(scaler["scale_"] is None or (scaler["scale_"] > 0).all(), "with_std", "scale_")


def _pipeline_kind() -> Kind:
    from sklearn.pipeline import Pipeline

    return Kind(Pipeline, {}, check_parameters=_check_pipeline)


def _check_pipeline(parameters: dict[str, Any]) -> None:
    steps, known = parameters["steps"], tuple(kind.cls for kind in _kinds().values())
    for step in steps:
        if not (type(step) is tuple and len(step) == 2 and type(step[0]) is str):
            raise ValueError(f"steps must be pairs of a name and an estimator, got {str(step)[:80]}.")
        if not (step[1] in (None, "passthrough") or isinstance(step[1], known)):
            raise ValueError(f"the step {step[0]!r} is no estimator: {str(step[1])[:80]}.")
    names = [name for name, _ in steps]
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"steps must have names, each its own, got {names}.")
    if not all(hasattr(model, "transform") for _, model in steps[:-1] if model not in (None, "passthrough")):
        raise ValueError("all steps but the last must be transformers.")


@cache
def _kinds() -> dict[str, Kind]:
    """The classes that files hold, by their names; made late, for these classes import this package."""
    kinds = [
        _network_kind(), _ensemble_kind(), _encoder_kind(), _table_kind(), _levels_kind(), _scaler_kind(),
        _pipeline_kind(),
    ]  # fmt: skip
    return {kind.cls.__name__: kind for kind in kinds}
