"""Runs a case, and says where it broke a promise.

Every call ends in a result that is right in itself, or in a ValueError or TypeError that names an argument, a parameter
or an attribute. No argument is changed, and BLAS has as many threads as before.
"""

import copy
import pickle
import re
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.metrics import get_scorer
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import ThreadpoolController

import skbce
from tests.fuzz import builders
from tests.fuzz.cases import Case, Step

ARGUMENTS = {"X", "y", "sample_weight", "classes", "X_val", "y_val", "sample_weight_val", "output", "input_features"}
# What messages call the whole of them.
COLLECTIVE = {
    "fitted attributes", "instance is not fitted", "attribute 'partial_fit'", "Column", "Columns", "column",
    "Pipeline is not fitted",  # scikit-learn 1.6 leaves out "instance"
}  # fmt: skip
BLAS = ThreadpoolController().select(user_api="blas").lib_controllers


class BrokenPromiseError(AssertionError):
    """What a case showed that must not be."""


@dataclass
class Report:
    """Calls of a case: (estimator.method, 'result' or 'refused') counted, and how each ended."""

    calls: Counter = field(default_factory=Counter)
    outcomes: list[str] = field(default_factory=list)


def run(case: Case) -> Report:
    """Run a case.

    Raises
    ------
    BrokenPromiseError
    """
    report = Report()
    threads = [library.num_threads for library in BLAS]
    model = new_estimator(case)
    for step in case.steps:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # NumPy's about numbers that overflow: something was computed that was not meant to be.
            warnings.filterwarnings("error", category=RuntimeWarning, module="skbce")
            model, outcome = run_step(case, model, step)
        report.calls[f"{case.estimator}.{step.method}", outcome] += 1
        report.outcomes.append(outcome)
        if [library.num_threads for library in BLAS] != threads:
            raise BrokenPromiseError(f"{step.method} left BLAS with other threads than {threads}")
    return report


def run_step(case: Case, model, step: Step):
    """The estimator after the step, and how it ended."""
    if step.method in ("edit", "set_params"):
        return edited(model, step)
    arguments = arguments_of(step)
    before = {name: contents(value) for name, value in arguments.items()}
    try:
        with np.errstate(over="warn", invalid="warn", divide="warn"):
            result = call(case, model, step, arguments)
    except (ValueError, TypeError, AttributeError, MemoryError) as error:
        check_error(case, model, step, error)
        result = error
    except Exception as error:
        raise BrokenPromiseError(f"{step.method} raised {type(error).__name__}: {error}") from error
    for name, value in arguments.items():
        if contents(value) != before[name]:
            raise BrokenPromiseError(f"{step.method} changed {name}")
    refused = isinstance(result, Exception)
    if not refused and step.method in ("pickle", "clone", "deep copy", "damage the pickle"):
        model = result
    elif not refused:
        try:
            check_result(case, model, step, arguments, result)
        except BrokenPromiseError:
            raise
        except Exception as error:
            raise BrokenPromiseError(f"{step.method} gave what raises {type(error).__name__}: {error}") from error
    check_parameters(case, model, step)
    return model, "refused" if refused else "result"


def new_estimator(case: Case):
    """The estimator with its parameters, few steps long."""
    values = {name: resolved(value) for name, value in case.parameters}
    if case.estimator == "classifier":
        return skbce.BCEMLPClassifier(**{"hidden_layer_sizes": (4,), "max_iter": 3, "max_time": 5.0, **values})
    if case.estimator == "encoder":
        return skbce.PiecewiseLinearEncoder(**values)
    if case.estimator == "ensemble":
        return skbce.BCEMLPEnsembleClassifier(**{"estimator": member(), "n_estimators": 2, **values})
    if case.estimator == "table":
        return skbce.TableEncoder(**values)
    return skbce.make_tabular_classifier(**{"estimator": member(), "n_estimators": 2, **values})


def member(**parameters) -> skbce.BCEMLPClassifier:
    return skbce.BCEMLPClassifier(**{"hidden_layer_sizes": (3,), "max_iter": 2, "scoring": "loss", **parameters})


def resolved(value):
    """A parameter's value: names that begin with @ stand for what has no repr."""
    if not (isinstance(value, str) and value.startswith("@")):
        return copy.deepcopy(value)
    return {
        "@half": lambda: half, "@zero": lambda: zero, "@nan": lambda: not_a_number, "@negative": lambda: negative,
        "@text": lambda: text, "@generator": lambda: np.random.RandomState(0), "@object": object,
        "@array": lambda: np.ones((2, 2)), "@empty array": lambda: np.empty(0),
        "@scorer": lambda: get_scorer("accuracy"), "@scorer of NaN": lambda: scorer_of_nan,
        "@member": member, "@member of sgd": lambda: member(solver="sgd"),
        "@member of lbfgs": lambda: member(solver="lbfgs"), "@unusable member": lambda: member(alpha=-1),
        "@encoder": lambda: skbce.PiecewiseLinearEncoder(4), "@scaler": StandardScaler,
        "@encoders": lambda: [skbce.PiecewiseLinearEncoder(4), StandardScaler()],
    }[value]()  # fmt: skip


# Functions of the module, so that models with them can be pickled.
def half(t):
    return 0.5


def zero(t):
    return 0


def not_a_number(t):
    return float("nan")


def negative(t):
    return -1


def text(t):
    return "1"


def scorer_of_nan(estimator, X, y):
    return float("nan")


def arguments_of(step: Step) -> dict[str, Any]:
    """What the step's method is called with; y and weights have a row for each row of X."""
    X = builders.make_table(step.X)
    arguments = {"X": X}
    if step.method in ("fit", "partial_fit", "warm start", "fit with X_val", "score", "fit_transform"):
        arguments["y"] = builders.make_target(step.y, step.X.rows)
        arguments["sample_weight"] = builders.make_weight(step.weight, step.X.rows)
    if step.method == "fit with X_val":
        arguments["X_val"] = builders.make_table(step.X_val)
        arguments["y_val"] = builders.make_target(step.y, step.X_val.rows)
        arguments["sample_weight_val"] = builders.make_weight(step.weight_val, step.X_val.rows)
    return arguments


def call(case: Case, model, step: Step, arguments: dict[str, Any]):
    """What the step's method returns."""
    method = step.method
    if method == "pickle":
        return pickle.loads(pickle.dumps(model))
    if method == "deep copy":
        return copy.deepcopy(model)
    if method == "clone":
        return clone(model)
    if method == "damage the pickle":
        return with_damaged_pickle(model, step)
    if method == "warm start":
        return model.set_params(warm_start=True).fit(**arguments)
    if method == "names":
        return model.get_feature_names_out()
    if method == "partial_fit":
        return model.partial_fit(**arguments, classes=classes_of(step))
    if method == "input_gradient":
        return model.input_gradient(arguments["X"], step.value)
    if case.estimator in ("encoder", "table", "tabular") or method == "fit with X_val":
        arguments = {name: value for name, value in arguments.items() if name != "sample_weight"}
    return getattr(model, method.split()[0])(**arguments)


def classes_of(step: Step):
    if step.classes == "those of y":
        if step.y.labels.startswith("indicator"):
            return [0, 1, 2]
        found = np.ravel(builders.labels(step.y.labels, 12)).tolist()
        return [label for k, label in enumerate(found) if label not in found[:k]]
    return {
        "None": None, "one": [1], "three": [0, 1, 2], "text": "classes", "NaN": [0, np.nan], "other labels": ["a", "b"],
        "empty": [], "ragged": [[0], [1, 2]],
    }[step.classes]  # fmt: skip


def with_damaged_pickle(model, step: Step):
    """The model from a pickle whose field is another."""
    twin = copy.copy(model)
    if not hasattr(twin, step.name) and step.value != "delete":
        return pickle.loads(pickle.dumps(model))
    edit(twin, step)
    kind, arguments, state = twin.__reduce_ex__(4)[:3]
    state = pickle.loads(pickle.dumps(state)) if step.value != "object" else state
    damaged = kind(*arguments)
    damaged.__setstate__(state)
    return damaged


def edit(model, step: Step) -> None:
    if step.value == "delete":
        vars(model).pop(step.name, None)
    else:
        setattr(model, step.name, builders.junk(step.value, getattr(model, step.name, None)))


def edited(model, step: Step):
    """The model after a parameter or attribute was set by hand; nothing is said of that itself."""
    if step.method == "set_params":
        setattr(model, step.name, resolved(step.value))
        return model, "result"
    try:
        edit(model, step)
    except AttributeError:  # a property
        return model, "refused"
    return model, "result"


def contents(value) -> Any:
    """What a call must not change."""
    if isinstance(value, np.ma.MaskedArray):
        return contents(value.data), contents(np.asarray(value.mask))
    if isinstance(value, np.ndarray):
        base = value
        while isinstance(base.base, np.ndarray):
            base = base.base
        stored = base if base.dtype == object else base.tobytes()
        of_array = value.shape, value.strides, value.dtype, value.flags.writeable
        return (*of_array, repr(stored) if base.dtype == object else stored)
    if sp.issparse(value):
        names = ("data", "indices", "indptr", "row", "col", "offsets", "rows")
        found = [(name, getattr(value, name)) for name in names if hasattr(value, name)]
        return value.format, value.shape, [(name, contents(np.asarray(array))) for name, array in found]
    if hasattr(value, "iloc"):
        return value.shape, str(value.dtypes), pickle.dumps(value.to_numpy())
    if isinstance(value, dict):
        return {name: contents(entry) for name, entry in value.items()}
    return repr(value) if isinstance(value, list) else None


def check_error(case: Case, model, step: Step, error: Exception) -> None:
    """Whether an error may be, and names what is wrong."""
    message = str(error)
    if isinstance(error, MemoryError):
        if dict(case.parameters).get("hidden_layer_sizes") in (2**62, 10**30):
            return
        raise BrokenPromiseError(f"{step.method} ran out of memory: {error}") from error
    if isinstance(error, AttributeError) and not isinstance(error, ValueError) and "partial_fit" not in message:
        deleted = {one.name for one in case.steps if one.method == "edit" and one.value == "delete"}
        if any(f"has no attribute {name!r}" in message for name in deleted):
            return  # Python's own words are as clear
        raise BrokenPromiseError(f"{step.method} raised AttributeError: {error}") from error
    names = (
        ARGUMENTS | set(type(model)().get_params(deep=False) if case.estimator != "tabular" else ()) | set(vars(model))
    )
    words = set(re.findall(r"\w+", message))
    of_attributes = any(word.endswith("_") or word.startswith("_") for word in words)
    of_parameters = re.search(r"The '\w+' parameter of", message)
    if not (words & names or of_attributes or of_parameters or any(phrase in message for phrase in COLLECTIVE)):
        raise BrokenPromiseError(
            f"{step.method} raised {type(error).__name__} that names no argument: {message}"
        ) from error


def is_fitted(model) -> bool:
    try:
        check_is_fitted(model)
    except Exception:
        return False
    return True


def check_parameters(case: Case, model, step: Step) -> None:
    """Parameters are finite, but where they were edited by hand."""
    if any(one.method in ("edit", "damage the pickle") for one in case.steps) or not is_fitted(model):
        return
    models = {"classifier": [model], "ensemble": getattr(model, "estimators_", [])}.get(case.estimator, [])
    for one in models:
        for array in [*one.coefs_, *one.intercepts_]:
            promise(bool(np.isfinite(array).all()), step, "left parameters that are not finite")
        promise(np.isfinite(one.loss_) or (one.loss_ == np.inf and one.n_iter_ == 0), step, f"left loss_={one.loss_}")


def promise(kept: bool, step: Step, what: str) -> None:
    if not kept:
        raise BrokenPromiseError(f"{step.method} {what}")


def check_result(case: Case, model, step: Step, arguments: dict[str, Any], result) -> None:
    """Whether a result is right in itself."""
    method, X = step.method, arguments["X"]
    if method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        check_predictions(case, model, step, X)
    elif method == "input_gradient":
        promise(result.shape == (step.X.rows, step.X.columns), step, f"gave the shape {result.shape}")
        promise(bool(np.isfinite(result).all()), step, "gave derivatives that are not finite")
    elif method == "score":
        promise(0 <= result <= 1, step, f"gave {result}")
    elif method in ("transform", "fit_transform"):
        finite = np.isfinite(result) if case.estimator == "encoder" else ~np.isinf(result)
        promise(bool(finite.all()), step, "gave numbers that are not finite")
        promise(len(result) == step.X.rows, step, f"gave {len(result)} rows")
        promise(result.shape[1] == len(model.get_feature_names_out()), step, f"gave the shape {result.shape}")


def check_predictions(case: Case, model, step: Step, X) -> None:
    """All predictions of the rows, and that they agree."""
    P, log_P, y = model.predict_proba(X), model.predict_log_proba(X), model.predict(X)
    promise(bool(np.isfinite(P).all() and (P > 0).all() and (P < 1).all()), step, "gave probabilities outside (0, 1)")
    promise(bool(np.isfinite(log_P).all() and (log_P <= 0).all()), step, "gave log probabilities that are not")
    # A probability is kept from 0 and 1, and its logarithm is not; float32 rounds it by 6e-8.
    promise(bool(np.allclose(np.exp(log_P), P, atol=1e-6)), step, "gave other log probabilities than probabilities")
    promise(len(P) == step.X.rows, step, f"gave {len(P)} rows")
    multilabel = getattr(model, "_multilabel", False)
    if not multilabel:
        promise(bool(np.allclose(P.sum(axis=1), 1, atol=1e-6)), step, "gave rows that do not sum to 1")
    doubtful = np.abs(P - 0.5) < 1e-6
    if multilabel:
        right = (np.asarray(y.todense() if sp.issparse(y) else y) == (P > 0.5)) | doubtful
    else:
        right = (np.asarray(y) == np.asarray(model.classes_)[P.argmax(axis=1)]) | doubtful.any(axis=1)
    promise(bool(np.all(right)), step, "predicted another class than the probable one")
    if case.estimator != "tabular":
        Z = model.decision_function(X).reshape(len(P), -1)
        promise(bool(np.isfinite(Z).all()), step, "gave logits that are not finite")
        promise(
            bool(((Z > 0) == (P[:, -Z.shape[1] :] > 0.5))[~doubtful[:, -Z.shape[1] :]].all()), step, "gave other logits"
        )
