"""Fitted models as ONNX graphs, for runtimes without Python. onnx and skl2onnx are imported where something is made."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skbce._parameters import known_activations
from skbce._version import __version__

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["ConvertsToOnnx", "register"]

# Of January 2022, as the operators here are older; runtimes read what is older than they are.
_OPSET = 17

# As in kernels/functions.pxd.
_LEAKY_SLOPE = 0.01
_SELU_SCALE = 1.0507009873554805
_SELU_SCALE_ALPHA = 1.7580993408473769


class ConvertsToOnnx:
    """Gives a classifier `to_onnx`."""

    def to_onnx(self) -> "ModelProto":
        """The fitted model as an ONNX model, with the inputs and outputs that skl2onnx gives classifiers.

        For a Pipeline use skl2onnx, after `skbce.onnx.register()`. Needs onnx: `pip install skbce[onnx]`.

        Returns
        -------
        model : onnx.ModelProto
            Of opset 17. Its input is "X" of shape (n_samples, n_features), in the model's precision; with encoders,
            float64. Its outputs are "label", of shape (n_samples,) or for a multilabel target (n_samples, n_outputs),
            which is string, or int64 for labels that are numbers or bools; and "probabilities", as `predict_proba`
            gives them, in the precision of the networks.

        Raises
        ------
        ValueError
            For labels beyond int64, or of several types; and for encoders other than PiecewiseLinearEncoder and
            StandardScaler.
        NotFittedError
            Before fit.
        ImportError
            Without onnx.

        Notes
        -----
        Runtimes have the error function in float32 alone, so a float64 model with gelu has it in float32 too.

        Examples
        --------
        >>> from skbce import BCEMLPClassifier
        >>> clf = BCEMLPClassifier((3,), solver="lbfgs", random_state=0).fit([[0.0], [1.0]], ["no", "yes"])
        >>> model = clf.to_onnx()
        >>> [output.name for output in model.graph.output]
        ['label', 'probabilities']
        """
        onnx = _onnx()
        check_is_fitted(self)
        x_dtype, dtype = _precisions(self)
        graph = _Graph(dtype)
        _classify(graph, self, "X", "label", "probabilities")
        helper = onnx.helper
        n_columns = len(self.classes_)
        label = _label_values(self.classes_)
        label_shape = [None, n_columns] if _is_multilabel(self) else [None]
        element = helper.np_dtype_to_tensor_dtype
        made = helper.make_graph(
            [helper.make_node(op, inputs, [output], **attributes) for op, inputs, output, attributes in graph.nodes],
            type(self).__name__,
            [helper.make_tensor_value_info("X", element(x_dtype), [None, self.n_features_in_])],
            [
                helper.make_tensor_value_info("label", element(label.dtype), label_shape),
                helper.make_tensor_value_info("probabilities", element(dtype), [None, n_columns]),
            ],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.constants.items()],
        )
        opset = helper.make_opsetid("", _OPSET)
        model = helper.make_model(
            made,
            opset_imports=[opset],
            ir_version=helper.find_min_ir_version_for([opset]),
            producer_name="skbce",
            producer_version=__version__,
        )
        onnx.checker.check_model(model)
        return model


def register() -> None:
    """Teach skl2onnx to convert BCEMLPClassifier, BCEMLPEnsembleClassifier and PiecewiseLinearEncoder.

    Call it once, before `skl2onnx.to_onnx` on a Pipeline with one of them. It is not done by importing skbce, which
    imports no optional package, nor when skl2onnx is imported, for which imports would have to be watched. The options
    "zipmap", "nocl" and "output_class_labels" are those of other classifiers.

    Raises
    ------
    ImportError
        Without skl2onnx.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import skbce.onnx
    >>> X, y = np.array([[0.0], [1.0], [2.0]], dtype=np.float32), [0, 1, 1]
    >>> model = make_pipeline(StandardScaler(), skbce.BCEMLPClassifier(solver="lbfgs", random_state=0)).fit(X, y)
    >>> skbce.onnx.register()
    >>> import skl2onnx
    >>> converted = skl2onnx.to_onnx(model, X, options={"zipmap": False})
    >>> [output.name for output in converted.graph.output]
    ['label', 'probabilities']
    """
    from skbce.classifier import BCEMLPClassifier
    from skbce.encoder import PiecewiseLinearEncoder
    from skbce.ensemble import BCEMLPEnsembleClassifier

    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            "Pipelines are converted by skl2onnx, which is not installed: python -m pip install 'skbce[onnx]'"
        ) from error
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
    for cls in (BCEMLPClassifier, BCEMLPEnsembleClassifier):
        update_registered_converter(
            cls, f"Skbce{cls.__name__}", _classifier_shapes, _convert_classifier, options=options
        )
    update_registered_converter(
        PiecewiseLinearEncoder, "SkbcePiecewiseLinearEncoder", _encoder_shapes, _convert_encoder
    )


class _Graph:
    """Nodes and constants of a graph in the making, each under a name of its own.

    Parameters
    ----------
    dtype : dtype
        That networks compute in.
    unique : callable(str) -> str, optional
        Names that are not taken yet.
    """

    def __init__(self, dtype: Any, unique: Callable[[str], str] | None = None):
        self.dtype = np.dtype(dtype)
        self.nodes: list[tuple[str, list[str], str, dict[str, Any]]] = []
        self.constants: dict[str, np.ndarray] = {}
        self._unique = unique or (lambda name: f"{name}_{len(self.nodes) + len(self.constants)}")

    def op(self, op: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """The name of what the operator gives."""
        output = output or self._unique(op.lower())
        self.nodes.append((op, list(inputs), output, attributes))
        return output

    def constant(self, value: Any, dtype: Any = None) -> str:
        name = self._unique("constant")
        self.constants[name] = np.asarray(value, dtype=dtype or self.dtype)
        return name

    def cast(self, x: str, dtype: Any, output: str | None = None) -> str:
        to = _onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", x, output=output, to=to)

    def columns(self, x: str, numbers: Any) -> str:
        return self.op("Gather", x, self.constant(numbers, np.int64), axis=1)


def _precisions(model: Any) -> tuple[np.dtype, np.dtype]:
    """Of X, and of the networks."""
    members = getattr(model, "estimators_", None)
    if members is None:
        return model.coefs_[0].dtype, model.coefs_[0].dtype
    dtype = np.result_type(*(member.coefs_[0] for member in members))
    return np.dtype(np.float64) if model.encoders_ else dtype, dtype


def _is_multilabel(model: Any) -> bool:
    return bool(getattr(model, "_multilabel", False))


def _label_values(classes: np.ndarray) -> np.ndarray:
    """Labels of the types that skl2onnx has: int64 for all numbers, which are whole, and texts."""
    if classes.dtype.kind in "biuf":
        with np.errstate(invalid="ignore"):  # beyond int64, which the comparison finds
            values = classes.astype(np.int64)
        if (values.astype(classes.dtype) == classes).all() and classes.tolist()[-1] < 2**63:
            return values
    elif all(isinstance(label, str) for label in classes):
        return classes.astype(object)
    raise ValueError(f"ONNX has labels that are integers of 64 bits or texts; these are {classes.tolist()}.")


def _classify(graph: _Graph, model: Any, x: str, label: str, probabilities: str, classes: Any = None) -> None:
    """Labels and probabilities of a classifier, into these names."""
    if hasattr(model, "estimators_"):
        P = _ensemble_probabilities(graph, model, x)
        first, second = (graph.columns(P, [k]) for k in (0, 1))
        is_second = graph.op("Greater", second, first)
    else:
        Z = _logits(graph, model, graph.cast(x, graph.dtype))
        P = _probabilities(graph, Z, _is_multilabel(model))
        is_second = graph.op("Greater", Z, graph.constant(0))
    P = _strictly_inside(graph, P)
    graph.op("Identity", P, output=probabilities)
    if _is_multilabel(model):
        graph.cast(is_second, np.int64, output=label)
        return
    values = _label_values(model.classes_ if classes is None else classes)
    number = graph.op("Reshape", graph.cast(is_second, np.int64), graph.constant([-1], np.int64))
    graph.op("Gather", graph.constant(values, values.dtype), number, output=label, axis=0)


def _logits(graph: _Graph, network: Any, A: str) -> str:
    """Z_L of one network."""
    activations = (
        *known_activations(vars(network).get("_activation", network.activation), len(network.coefs_) - 1),
        "identity",
    )
    for W, b, f in zip(network.coefs_, network.intercepts_, activations, strict=True):
        A = _ACTIVATED[f](graph, graph.op("Gemm", A, graph.constant(W), graph.constant(b)))
    return A


def _leaky_relu(graph: _Graph, Z: str) -> str:
    """A = max(Z, slope Z): LeakyRelu has its slope in float32."""
    return graph.op("Max", Z, graph.op("Mul", Z, graph.constant(_LEAKY_SLOPE)))


def _elu(graph: _Graph, Z: str, scale: float = 1, scale_alpha: float = 1) -> str:
    """A = scale relu(Z) + scale_alpha (exp(min(Z, 0)) - 1)."""
    op, number = graph.op, graph.constant
    below = op("Sub", op("Exp", op("Min", Z, number(0))), number(1))
    return op("Add", op("Mul", op("Relu", Z), number(scale)), op("Mul", below, number(scale_alpha)))


def _gelu(graph: _Graph, Z: str) -> str:
    """A = Z (1 + erf(Z / sqrt(2))) / 2: runtimes have Erf in float32 alone."""
    op, number = graph.op, graph.constant
    z = graph.cast(op("Mul", Z, number(0.5**0.5)), np.float32)
    return op("Mul", Z, op("Mul", op("Add", graph.cast(op("Erf", z), graph.dtype), number(1)), number(0.5)))


def _sigmoid(graph: _Graph, Z: str) -> str:
    """1 / (1 + exp(-Z)): runtimes' own Sigmoid may stop at 1e-8."""
    return graph.op("Reciprocal", graph.op("Add", graph.op("Exp", graph.op("Neg", Z)), graph.constant(1)))


def _softplus(graph: _Graph, Z: str) -> str:
    """log(1 + exp(Z)), as max(Z, 0) + log(1 + exp(-|Z|))."""
    decay = graph.op("Exp", graph.op("Neg", graph.op("Abs", Z)))
    return graph.op("Add", graph.op("Relu", Z), graph.op("Log", graph.op("Add", decay, graph.constant(1))))


# f(Z) for each of `ACTIVATIONS`, of operators that runtimes have in float32 and float64.
_ACTIVATED: dict[str, Callable[[_Graph, str], str]] = {
    "identity": lambda graph, Z: Z,
    "logistic": _sigmoid,
    "tanh": lambda graph, Z: graph.op("Tanh", Z),
    "relu": lambda graph, Z: graph.op("Relu", Z),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": lambda graph, Z: _elu(graph, Z, _SELU_SCALE, _SELU_SCALE_ALPHA),
    "softplus": _softplus,
    "gelu": _gelu,
    "silu": lambda graph, Z: graph.op("Mul", Z, _sigmoid(graph, Z)),
    "mish": lambda graph, Z: graph.op("Mul", Z, graph.op("Tanh", _softplus(graph, Z))),
}


def _probabilities(graph: _Graph, Z: str, multilabel: bool) -> str:
    """Of 1 in each column, or of both classes."""
    return _sigmoid(graph, Z if multilabel else graph.op("Concat", graph.op("Neg", Z), Z, axis=1))


def _strictly_inside(graph: _Graph, P: str) -> str:
    """Where P is 0 or 1, the neighbour, as predict_proba has it."""
    ends = (np.nextafter(graph.dtype.type(end), graph.dtype.type(1 - end)) for end in (0, 1))
    return graph.op("Clip", P, *map(graph.constant, ends))


def _ensemble_probabilities(graph: _Graph, ensemble: Any, x: str) -> str:
    """The members' mean, with the linear model's share, and sigmoid(logit / temperature) of it."""
    tables = [_encoded(graph, encoder, x) for encoder in ensemble.encoders_] or [graph.cast(x, graph.dtype)]
    weights, of_models = [], []
    for k, models in ensemble._members_by_encoder().items():
        for model, weight in models.items():
            weights.append(weight)
            Y_hat = _probabilities(graph, _logits(graph, model, tables[k]), False)
            of_models.append(Y_hat if weight == 1 else graph.op("Mul", Y_hat, graph.constant(weight)))
    P = graph.op("Div", graph.op("Sum", *of_models), graph.constant(sum(weights)))
    if ensemble.temperature_ == 1:
        return P
    first, second = (graph.op("Log", graph.columns(_strictly_inside(graph, P), [k])) for k in (0, 1))
    Z = graph.op("Div", graph.op("Sub", second, first), graph.constant(ensemble.temperature_))
    return _probabilities(graph, Z, False)


def _encoded(graph: _Graph, encoder: Any, x: str) -> str:
    """What an encoder shows the networks, computed in float64."""
    from skbce.encoder import PiecewiseLinearEncoder

    x = graph.cast(x, np.float64)
    if isinstance(encoder, PiecewiseLinearEncoder):
        encoded = _piecewise_linear(graph, encoder, x)
    elif type(encoder) is StandardScaler:
        if encoder.with_mean:
            x = graph.op("Sub", x, graph.constant(encoder.mean_, np.float64))
        encoded = graph.op("Div", x, graph.constant(encoder.scale_, np.float64)) if encoder.with_std else x
    else:
        raise ValueError(
            f"{type(encoder).__name__} among the encoders is not converted: PiecewiseLinearEncoder and StandardScaler "
            "are. Put it before the ensemble in a Pipeline, for skl2onnx."
        )
    return graph.cast(encoded, graph.dtype)


def _piecewise_linear(graph: _Graph, encoder: Any, x: str) -> str:
    """The columns of PiecewiseLinearEncoder, in float64: values, components and indicators, then put in their order."""

    def number(value: Any) -> str:
        return graph.constant(value, np.float64)

    op = graph.op
    n_bins, has_value = encoder.n_bins_, encoder._has_value()
    is_missing = op("IsNaN", x)
    x = op("Where", is_missing, number(encoder.center_), x)
    parts, order = [], []
    if has_value.any():
        of = np.flatnonzero(has_value)
        z = op("Div", op("Sub", graph.columns(x, of), number(encoder.center_[of])), number(encoder.scale_[of]))
        # From 1e9 on it is 3 to the last digit, and its square stays finite.
        z = op("Clip", z, number(-1e9), number(1e9))
        third = op("Div", z, number(3))
        parts.append(op("Div", z, op("Sqrt", op("Add", number(1), op("Mul", third, third)))))
        order += [(j, 0) for j in of]
    if n_bins.any():
        of = np.repeat(np.arange(len(n_bins)), n_bins)
        # Halves: the ends of a bin can be further apart than the largest number.
        left, right = (
            0.5 * np.concatenate([edges[side] for edges in encoder.edges_]) for side in (slice(-1), slice(1, None))
        )
        below = op("Sub", op("Mul", graph.columns(x, of), number(0.5)), number(left))
        parts.append(op("Clip", op("Div", below, number(right - left)), number(0), number(1)))
        order += [(j, 1) for j in of]
    if encoder.has_missing_.any():
        of = np.flatnonzero(encoder.has_missing_)
        parts.append(graph.columns(graph.cast(is_missing, np.float64), of))
        order += [(j, 2) for j in of]
    joined = op("Concat", *parts, axis=1)
    return graph.columns(joined, sorted(range(len(order)), key=order.__getitem__))


def _classifier_shapes(operator: Any) -> None:
    """What skl2onnx asks first: types and shapes of the outputs."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
    from skl2onnx.common.utils_classifier import get_label_classes

    model = operator.raw_operator
    n_rows, n_columns = operator.inputs[0].get_first_dimension(), len(model.classes_)
    values = _label_values(get_label_classes(operator.scope_inst, model))
    label_type = StringTensorType if values.dtype == object else Int64TensorType
    operator.outputs[0].set_type(label_type([n_rows, n_columns] if _is_multilabel(model) else [n_rows]))
    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    operator.outputs[1].set_type((DoubleTensorType if is_double else FloatTensorType)([n_rows, n_columns]))


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    """Add a classifier to skl2onnx's graph, in float64 where its input is, else in float32."""
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.common.utils_classifier import get_label_classes

    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    graph = _Graph(np.float64 if is_double else np.float32, scope.get_unique_variable_name)
    classes = _label_values(get_label_classes(scope, operator.raw_operator))
    x, (label, probabilities) = operator.inputs[0].full_name, [output.full_name for output in operator.outputs]
    _classify(graph, operator.raw_operator, x, label, probabilities, classes)
    _add(graph, container, scope)


def _encoder_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import FloatTensorType

    width = operator.raw_operator._plan().width
    operator.outputs[0].set_type(FloatTensorType([operator.inputs[0].get_first_dimension(), width]))


def _convert_encoder(scope: Any, operator: Any, container: Any) -> None:
    graph = _Graph(np.float32, scope.get_unique_variable_name)
    encoded = _encoded(graph, operator.raw_operator, operator.inputs[0].full_name)
    graph.op("Identity", encoded, output=operator.outputs[0].full_name)
    _add(graph, container, scope)


def _add(graph: _Graph, container: Any, scope: Any) -> None:
    """Put the nodes and constants into skl2onnx's container."""
    helper = _onnx().helper
    for name, array in graph.constants.items():
        element = helper.np_dtype_to_tensor_dtype(array.dtype)
        container.add_initializer(name, element, list(array.shape), array.ravel().tolist())
    for op, inputs, output, attributes in graph.nodes:
        container.add_node(op, inputs, [output], name=scope.get_unique_operator_name(op), **attributes)


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(
            "ONNX models need onnx, which is not installed: python -m pip install 'skbce[onnx]'"
        ) from error
    return onnx
