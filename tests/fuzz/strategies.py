"""How cases are drawn: mostly ordinary, so that calls get far, with something odd here and there.

All draws are numbers below some n. Hypothesis makes them for `cases`, so that what fails is made smaller, and bytes can
steer it (Atheris); a random generator makes them for long runs, where Hypothesis would take longer than the cases do.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.cases import Case, Step, Table, Target, Weight

nan, inf = float("nan"), float("inf")

Below = Callable[[int], int]  # a number from 0 to n - 1


FORMS = [
    "array", "fortran", "reversed", "strided", "read-only", "broadcast", "memmap", "list", "frame", "csr", "csc",
    "csr array", "csr duplicates", "csr unsorted", "csr int64", "csr spare room", "csr zeros stored",
]  # fmt: skip
ODD_FORMS = [
    "unaligned", "byte-swapped", "masked", "matrix", "object", "object of lists", "strings", "numbers as strings",
    "coo",
    "bsr", "lil", "dok", "dia", "one dimension", "three dimensions", "scalar", "None", "text", "ragged",
    "frame of strings",
    "frame of categories", "frame with gaps", "frame of one name", "dict", "generator", "structured", "huge integers",
    "csr index too large", "csr index negative", "csr indptr decreases", "csr indptr past the end", "csr indptr from 1",
    "csr indptr short", "csr data short", "csr indices short", "csr indices of floats", "csr of objects",
    "csr indices in columns", "csc index too large", "csc index negative", "csc indptr decreases",
    "csc indptr past the end",
    "coo index too large", "coo index negative", "bsr index too large", "bsr indptr decreases", "lil index too large",
    "lil rows short", "lil data short", "dia offsets short",
]  # fmt: skip
DTYPES = ["float64", "float32", "float64", "float32", "int64", "int8", "uint8", "bool"]
ODD_DTYPES = ["float16", "longdouble", "complex128", "uint64", "datetime64[s]", "timedelta64[s]"]
VALUES = ["normal", "normal", "constant", "zeros", "two values"]
ODD_VALUES = [
    "huge", "largest", "beyond float32", "tiny", "subnormal", "mixed scales", "one NaN", "all NaN", "one infinity",
    "minus infinity", "one huge",
]  # fmt: skip
ROWS, ODD_ROWS = [20, 12, 33, 5], [0, 1, 2, 3, 130, 700]
COLUMNS, ODD_COLUMNS = [3, 2, 5, 1], [0, 17]
WIDE = 100_000
WIDE_FORMS = {"array", "fortran", "memmap", "csr", "csc", "byte-swapped", "csr index too large"}

LABELS = ["0 and 1", "strings", "bools", "-1 and 1", "indicator"]
ODD_LABELS = [
    "floats", "objects", "mixed objects", "three classes", "one class", "real numbers", "one NaN", "one infinity",
    "all NaN", "None among them", "bytes", "dates", "complex", "indicator of 2", "indicator of NaN",
    "indicator of reals",
    "huge integers", "lists", "empty strings",
]  # fmt: skip
TARGET_FORMS = ["array", "array", "list", "series", "read-only"]
ODD_TARGET_FORMS = [
    "column", "two columns", "three dimensions", "None", "scalar", "text", "csr", "csr index too large",
    "csr indptr decreases",
    "coo", "masked", "byte-swapped", "strided", "ragged", "dict",
]  # fmt: skip
WEIGHT_FORMS = ["None", "None", "array", "list", "float32", "integers"]
ODD_WEIGHT_FORMS = [
    "column", "scalar", "text", "strings", "object", "masked", "strided", "byte-swapped", "csr", "complex", "bool",
    "dict",
    "float16", "longdouble",
]  # fmt: skip
WEIGHT_VALUES = ["uniform", "ones", "one zero", "mostly zeros"]
ODD_WEIGHT_VALUES = [
    "negative", "all zero", "huge", "largest", "subnormal", "subnormal of float32", "one NaN", "all NaN",
    "one infinity",
    "mixed scales", "one row alone",
]  # fmt: skip
EXTRA = [1, -1, -5, 20]
CLASSES = ["None", "one", "three", "text", "NaN", "other labels", "empty", "ragged"]
OUTPUTS = [1, -1, 2**70, None, 0.5, True, "0", nan]

NONSENSE = [
    None, -1, 0, 1.5, -0.5, nan, inf, -inf, "", "nonsense", (), [], {}, b"x", True, 2**62, 10**30, 1e300, 5e-324, [nan],
    ["relu"], [-1], [None], {"a": 1}, "@object", "@array", "@empty array", 1j,
]  # fmt: skip

# Values that are not nonsense; those of NONSENSE that would train for years are left out by `parameters_of`.
PARAMETERS = {
    "classifier": {
        "hidden_layer_sizes": [(), (1,), (4,), (3, 2), 5, [2, 2, 2], (40, 300)],
        "activation": [
            "identity",
            "logistic",
            "tanh",
            "relu",
            "leaky_relu",
            "elu",
            "selu",
            "softplus",
            "gelu",
            "silu",
            "mish",
            ["relu"],
            ["tanh", "gelu"],
        ],
        "solver": ["adam", "sgd", "lbfgs", "lbfgs"],
        "alpha": [0, 1e-4, 1.0, 1e5, 1e300, 5e-324],
        "batch_size": [1, 2, 7, 1000, "auto"],
        "learning_rate": [
            "constant",
            "invscaling",
            "adaptive",
            "cosine",
            "one_cycle",
            "coslog4",
            "@half",
            "@zero",
            "@nan",
            "@negative",
            "@text",
        ],
        "learning_rate_init": [1e-3, 0.1, 10.0, 1e6, 1e300, 5e-324],
        "power_t": [0, 0.5, 300.0],
        "max_iter": [1, 2, 5],
        "shuffle": [True, False],
        "random_state": [0, 7, "@generator"],
        "tol": [0, 1e-4, 1e300],
        "warm_start": [True, False],
        "momentum": [0, 0.9, 1.0],
        "nesterovs_momentum": [True, False],
        "early_stopping": [True, False],
        "validation_fraction": [0, 0.1, 0.5, 0.99],
        "beta_1": [0, 0.9, 0.999999],
        "beta_2": [0, 0.999, 0.9999999999],
        "epsilon": [1e-8, 5e-324, 1e300],
        "n_iter_no_change": [1, 3, inf],
        "max_fun": [1, 20],
        "scoring": [None, "loss", "roc_auc", "neg_log_loss", "@scorer", "@scorer of NaN"],
        "class_weight": [
            "balanced",
            {0: 1, 1: 2},
            {0: 0.0},
            {1: -1},
            {0: nan},
            {5: 1},
            [{0: 1, 1: 3}] * 3,
            {0: 1e300, 1: 1e300},
        ],
        "weight_decay": [0, 0.1, 1e300],
        "max_grad_norm": [None, 1.0, 5e-324, 1e300],
        "label_smoothing": [0, 0.1, 0.999],
        "dropout": [0, 0.5, 0.999, [0.1, 0.2], [0.5]],
        "dtype": ["float32", "float64", None],
        "n_threads": [1, 2, 3, 64],
    },
    "encoder": {
        "n_bins": [1, 2, 16, 1000],
        "include_value": [True, False],
        "subsample": [1, 5, None],
        "random_state": [0, "@generator"],
        "n_threads": [1, 2, 64],
    },
    "ensemble": {
        "estimator": ["@member", "@member", "@member of sgd", "@member of lbfgs", "@unusable member"],
        "n_estimators": [2, 3],
        "encoders": [None, "@encoder", "@scaler", "@encoders"],
        "calibration": [None, "temperature"],
        "random_state": [0, "@generator"],
        "n_threads": [1, 2],
    },
    "table": {"max_categories": [2, 3, 32], "random_state": [0]},
    "tabular": {"estimator": ["@member"], "n_estimators": [2], "random_state": [0]},
}
ENDLESS = {"max_iter", "max_fun", "n_iter_no_change", "n_estimators", "max_time"}
METHODS = {
    "classifier": [
        "predict", "predict_proba", "predict_log_proba", "decision_function", "input_gradient", "score", "fit",
        "partial_fit",
        "fit with X_val", "pickle", "clone", "deep copy", "warm start",
    ],
    "encoder": ["transform", "fit_transform", "names", "pickle", "clone"],
    "ensemble": ["predict", "predict_proba", "predict_log_proba", "decision_function", "score", "pickle", "clone"],
    "table": ["transform", "fit_transform", "names", "pickle", "clone"],
    "tabular": ["predict", "predict_proba", "pickle"],
}  # fmt: skip
ATTRIBUTES = {
    "classifier": [
        "coefs_", "coefs_", "intercepts_", "classes_", "n_features_in_", "n_outputs_", "n_layers_", "t_", "loss_",
        "loss_curve_",
        "learning_rate_curve_", "best_loss_", "validation_scores_", "validation_loss_curve_", "best_validation_score_",
        "best_iteration_", "n_iter_", "out_activation_", "_moments", "_n_steps", "_learning_rate",
        "_learning_rate_from",
        "_multilabel", "_sparse_targets", "_no_improvement_count", "_scored_by", "feature_names_in_", "activation",
        "hidden_layer_sizes", "dtype", "solver",
    ],
    "encoder": ["edges_", "center_", "scale_", "has_missing_", "has_two_values_", "n_features_in_",
    "feature_names_in_"],
    "ensemble": ["estimators_", "encoders_", "_encoder_of", "temperature_", "classes_", "n_features_in_"],
    "table": ["numeric_", "categorical_", "_levels", "_target_labels", "n_features_in_"],
    "tabular": [],
}  # fmt: skip
ESTIMATORS = ("classifier",) * 14 + ("encoder",) * 4 + ("table",) * 2 + ("ensemble", "tabular")
TRAINING = {"fit", "partial_fit", "warm start", "fit with X_val", "score", "fit_transform"}
JUNK = [
    "delete", "None", "text", "minus one", "huge integer", "NaN", "infinity", "empty list", "empty array", "object",
    "zero", "a third", "dict", "shorter", "longer", "transposed", "as lists", "as float16", "as complex", "as objects",
    "as strings", "as integers", "of NaN", "one NaN", "of infinity", "not contiguous", "byte-swapped",
    "one more dimension",
    "read-only", "negated", "huge values", "reversed",
]  # fmt: skip


def mostly(below: Below, ordinary: list, odd: list, once_in: int = 5) -> Any:
    """One of `ordinary`; once in so many times one of `odd`."""
    options = odd if below(once_in) == once_in - 1 else ordinary
    return options[below(len(options))]


def table(below: Below, once_in: int = 5) -> Table:
    """An X."""
    columns, form = mostly(below, COLUMNS, ODD_COLUMNS, 2 * once_in), mostly(below, FORMS, ODD_FORMS, once_in)
    return Table(
        rows=mostly(below, ROWS, ODD_ROWS, once_in),
        # Where every column is an object of Python's, it takes seconds.
        columns=WIDE if below(500) == 499 and form in WIDE_FORMS else columns,
        form=form,
        dtype=mostly(below, DTYPES, ODD_DTYPES, 2 * once_in),
        values=mostly(below, VALUES, ODD_VALUES, once_in),
        seed=below(2**16),
    )


def table_like(below: Below, X: Table) -> Table:
    """One for later steps: mostly of as many columns as the first."""
    which = below(6)
    if which == 5:
        return table(below)
    if which == 4:
        return X
    other = table(below, once_in=12)
    return Table(other.rows, X.columns, other.form, X.dtype, other.values, other.seed)


def target(below: Below) -> Target:
    return Target(
        form=mostly(below, TARGET_FORMS, ODD_TARGET_FORMS, 25),
        labels=mostly(below, LABELS, ODD_LABELS, 25),
        extra=mostly(below, [0], EXTRA, 50),
    )


def weight(below: Below) -> Weight:
    return Weight(
        form=mostly(below, WEIGHT_FORMS, ODD_WEIGHT_FORMS, 15),
        values=mostly(below, WEIGHT_VALUES, ODD_WEIGHT_VALUES, 12),
        extra=mostly(below, [0], EXTRA, 50),
    )


@lru_cache
def values_of(estimator: str) -> tuple[list, list]:
    """(name, value) of each parameter: those that mean something, and nonsense that does not train for years."""
    good = [(name, value) for name, values in PARAMETERS[estimator].items() for value in values]
    bad = [
        (name, value)
        for name in PARAMETERS[estimator]
        for value in NONSENSE
        if not (name in ENDLESS and type(value) in (int, float) and value > 50)
    ]
    return good, bad


def step(below: Below, method: str, estimator: str, X: Table, y: Target) -> Step:
    """A step with what its method takes."""
    if method == "set_params":
        name, value = mostly(below, *values_of(estimator), once_in=3)
        return Step(method, name=name, value=value)
    if method in ("edit", "damage the pickle"):
        names = ATTRIBUTES[estimator]
        return Step(method, name=names[below(len(names))], value=JUNK[below(len(JUNK))])
    trains = method in TRAINING
    with_X_val = method == "fit with X_val"
    return Step(
        method,
        X=table_like(below, X),
        y=target(below) if trains and below(3) == 2 else y,
        weight=weight(below) if trains else Weight(),
        X_val=table_like(below, X) if with_X_val else None,
        weight_val=weight(below) if with_X_val else Weight(),
        classes=mostly(below, ["those of y"], CLASSES) if method == "partial_fit" else "those of y",
        value=mostly(below, [0], OUTPUTS, 3) if method == "input_gradient" else None,
    )


def case(below: Below, estimators: tuple[str, ...] = ESTIMATORS) -> Case:
    """A case: the first step trains, mostly on ordinary data."""
    estimator = estimators[below(len(estimators))]
    parameters = tuple(mostly(below, *values_of(estimator), once_in=40) for _ in range(below(6)))
    X, y = table(below, once_in=20), target(below)
    first = "partial_fit" if estimator == "classifier" and below(5) == 4 else "fit"
    later = METHODS[estimator] + (["set_params", "edit", "damage the pickle"] if ATTRIBUTES[estimator] else [])
    steps = [Step(first, X, y, weight(below))]
    for _ in range(1 + below(4)):
        steps.append(step(below, later[below(len(later))], estimator, X, y))
    return Case(estimator, parameters, tuple(steps))


@st.composite
def cases(draw, estimators: tuple[str, ...] = ESTIMATORS) -> Case:
    """`case`, drawn by Hypothesis."""
    return case(lambda n: draw(st.integers(0, n - 1)), estimators)
