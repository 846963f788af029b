"""What fuzzing found, and what hands memory of a wrong size to the kernels; the harness itself is in tests/fuzz."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp

from skbce import BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder, check_gradients
from skbce._parameters import Layout, Workspace
from skbce.kernels import doors

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4))
Y = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)


def classifier(**parameters):
    return BCEMLPClassifier((3,), **{"max_iter": 3, "random_state": 0, **parameters})


# Input


BROKEN_SPARSE = {
    "coo, row too large": lambda S: edited(sp.coo_matrix(S), "row", 0, 10**7),
    "coo, column negative": lambda S: edited(sp.coo_matrix(S), "col", 0, -(10**7)),
    "bsr, index too large": lambda S: edited(sp.bsr_matrix(S), "indices", 0, 10**6),
    "bsr, indptr past the end": lambda S: edited(sp.bsr_matrix(S), "indptr", -1, 10**6),
    "csr, indices of floats": lambda S: replaced(sp.csr_matrix(S), "indices", lambda i: i.astype(float)),
    "csr, indptr short": lambda S: replaced(sp.csr_matrix(S), "indptr", lambda i: i[:-1]),
    "csr, data short": lambda S: replaced(sp.csr_matrix(S), "data", lambda i: i[:-1]),
    "lil, rows short": lambda S: replaced(sp.lil_matrix(S), "rows", lambda i: i[:-1]),
    "dia, offsets short": lambda S: replaced(sp.dia_matrix(S), "offsets", lambda i: i[:-1]),
}


def edited(S, name, at, value):
    getattr(S, name)[at] = value
    return S


def replaced(S, name, change):
    setattr(S, name, change(getattr(S, name)))
    return S


@pytest.mark.parametrize("make", BROKEN_SPARSE.values(), ids=BROKEN_SPARSE)
def test_broken_sparse_table_of_any_format_is_refused_before_scipy_converts_it(make):
    clf = classifier().fit(X, Y)
    for call in (lambda S: clf.predict(S), lambda S: clf.fit(S, Y)):
        with pytest.raises(ValueError, match="X is a broken sparse matrix"):
            call(make(np.where(X > 0, X, 0)))


@pytest.mark.parametrize("make", BROKEN_SPARSE.values(), ids=BROKEN_SPARSE)
def test_broken_sparse_target_is_refused_by_score_too(make):
    indicator = np.column_stack((Y, 1 - Y, np.ones_like(Y)))
    clf = classifier().fit(X, indicator)
    with pytest.raises(ValueError, match="y is a broken sparse matrix"):
        clf.score(X, make(indicator))


def test_edited_loss_curve_is_refused_where_a_schedule_counts_its_epochs():
    clf = classifier(learning_rate="cosine").partial_fit(X, Y, classes=[0, 1])
    clf.loss_curve_ = np.array(np.inf)
    with pytest.raises(ValueError, match="loss_curve_ is no list"):
        clf.partial_fit(X, Y)


def test_sparse_values_that_lie_apart_in_memory_are_read_as_they_are():
    clf, S = classifier().fit(X, Y), sp.csr_matrix(X)
    expected = clf.decision_function(S)
    apart = sp.csr_matrix(X)
    apart.data, apart.indices = np.repeat(S.data, 2)[::2], np.repeat(S.indices, 2)[::2]
    np.testing.assert_array_equal(clf.decision_function(apart), expected)


@pytest.mark.parametrize("name", ["X", "y", "sample_weight"])
def test_masked_entries_are_refused_and_not_read(name):
    arguments = {"X": X, "y": Y, "sample_weight": np.ones(60)}
    mask = np.zeros(arguments[name].shape, bool)
    mask.flat[5] = True
    with pytest.raises(ValueError, match=f"^{name} is a masked array with masked entries"):
        classifier().fit(**arguments | {name: np.ma.masked_array(arguments[name], mask)})
    classifier().fit(**arguments | {name: np.ma.masked_array(arguments[name])})


NAMELESS = {
    "rows missing": ({"X": X[:0]}, "X: Found array with 0 sample"),
    "complex": ({"X": X + 1j}, "X: Complex data not supported"),
    "texts": ({"X": np.full(X.shape, "a")}, "X: could not convert string to float"),
    "integers beyond float64": ({"X": [[10**400] * 4] * 60}, "X: int too large to convert to float"),
    "the word of scikit-learn's": ({"X": "no_validation"}, "on X"),
    "labels of several types": ({"y": np.array(["a", 1] * 30, object)}, "y: "),
    "three classes": ({"y": np.arange(60) % 3}, "y: Only binary classification"),
    "weight of two dimensions": ({"sample_weight": np.ones((60, 1))}, "sample_weight: Sample weights must be 1D"),
    "lengths": ({"y": Y[:-1]}, "X and y: .*inconsistent numbers of samples"),
}


@pytest.mark.parametrize(("wrong", "message"), NAMELESS.values(), ids=NAMELESS)
@pytest.mark.parametrize(
    "make", [classifier, lambda: BCEMLPEnsembleClassifier(classifier(), 2)], ids=["one", "ensemble"]
)
def test_message_names_the_argument(make, wrong, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make().fit(**{"X": X, "y": Y} | wrong)


def test_weights_whose_sum_overflows_are_refused_by_name():
    with pytest.raises(ValueError, match="sample_weight is too large"):
        classifier().fit(X, Y, np.full(60, 1e308))
    with pytest.raises(ValueError, match="sample_weight is too large"):
        classifier(class_weight={0: 1e300, 1: 1e300}).fit(X, Y, np.full(60, 1e300))
    with pytest.raises(ValueError, match="sample_weight is too large"):
        classifier().fit(X, Y).score(X, Y, np.full(60, 1e308))


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_rows_at_which_the_network_overflows_are_refused(activation):
    clf = classifier(activation=activation).fit(X, Y)
    clf.coefs_[0] *= 1e10
    for method in (clf.predict, clf.predict_proba, clf.predict_log_proba, clf.decision_function):
        with pytest.raises(ValueError, match="X holds numbers so large that the network's sums overflow float64"):
            method(np.full((2, 4), 1e305) * [1, -1, 1, -1])


# Parameters


@pytest.mark.parametrize(("name", "value"), [("max_iter", {}), ("alpha", -1), ("momentum", np.nan), ("n_threads", 0)])
def test_nonsense_set_after_the_first_partial_fit_is_refused(name, value):
    clf = classifier().partial_fit(X, Y, classes=[0, 1]).set_params(**{name: value})
    with pytest.raises(ValueError, match=f"The '{name}' parameter"):
        clf.partial_fit(X, Y)


@pytest.mark.parametrize("n_threads", [0, -3, "two", 1.5])
def test_nonsense_for_threads_is_refused_in_prediction(n_threads):
    many = np.tile(X, (2000, 1))
    clf = BCEMLPClassifier((60,), max_iter=1).fit(X, Y).set_params(n_threads=n_threads)
    with pytest.raises(ValueError, match="n_threads must be a positive integer or None"):
        clf.predict(many)


def test_a_bool_is_no_number_of_units_and_a_subsample_of_1():
    with pytest.raises(ValueError, match="hidden_layer_sizes must be > 0, got"):
        BCEMLPClassifier(True).fit(X, Y)
    with pytest.raises(ValueError, match="hidden_layer_sizes must be at most 2147483647"):
        BCEMLPClassifier((3, 10**30)).fit(X, Y)
    assert PiecewiseLinearEncoder(subsample=True, random_state=0).fit(X).n_bins_.min() > 0


def test_nonsense_set_after_fit_is_refused_by_the_encoder():
    encoder = PiecewiseLinearEncoder().fit(X).set_params(include_value="")
    for call in (encoder.get_feature_names_out, lambda: encoder.transform(X)):
        with pytest.raises(ValueError, match="include_value is no bool"):
            call()


def test_check_gradients_weighs_classes_as_fit_does():
    weights = {0: 1.0, 1: 7.0}
    by_class = check_gradients(classifier(class_weight=weights), X, Y)
    by_row = check_gradients(classifier(), X, Y, np.where(Y == 1, 7.0, 1.0))
    assert by_class.cost == by_row.cost
    assert by_class.cost != check_gradients(classifier(), X, Y).cost


# Going on in another precision


def test_moments_too_large_for_float32_start_anew_with_a_warning():
    clf = classifier().partial_fit(X * 1e25, Y, classes=[0, 1])
    assert clf._moments[1].max() > 1e39
    clf.set_params(dtype="float32")
    with pytest.warns(UserWarning, match="moments of adam to go on with are too large for float32; they start anew"):
        clf.partial_fit(X, Y)
    assert all(np.isfinite(array).all() for array in [*clf.coefs_, *clf.intercepts_, *clf._moments])
    assert clf._n_steps == 1
    fresh = copy.deepcopy(clf)
    clf.partial_fit(X, Y)
    assert fresh._n_steps == 1
    assert clf._n_steps == 2


# Attributes edited by hand, and damaged files

JUNK = {
    "None": None, "a text": "junk", "an object": object(), "NaN": np.nan, "-1": -1, "a huge integer": 10**30,
    "an empty list": [], "an empty array": np.empty(0), "a dict": {}, "a list of None": [None, None], "1/3": 1 / 3,
    "an array of objects": np.array([{}, None], object), "NaNs": [np.full((4, 3), np.nan), np.full((3, 1), np.nan)],
    "texts": [np.full((4, 3), "1.5x"), np.full((3, 1), "a")], "complex": [np.ones((4, 3)) + 1j, np.ones((3, 1)) + 1j],
    "three dimensions": [np.ones((1, 4, 3)), np.ones((1, 3, 1))], "transposed": [np.ones((3, 4)), np.ones((1, 3))],
    "one missing": [np.ones((4, 3))],
}  # fmt: skip


def damaged(model, name, value):
    """The model from a pickle in which a field is another."""
    state = model.__getstate__() | {name: value}
    restored = type(model).__new__(type(model))
    restored.__setstate__(state)
    return restored


def by_hand(model, name, value):
    model = copy.deepcopy(model)
    setattr(model, name, value)
    return model


@pytest.mark.parametrize("change", [damaged, by_hand])
@pytest.mark.parametrize("value", JUNK.values(), ids=JUNK)
@pytest.mark.parametrize("name", ["coefs_", "intercepts_", "classes_"])
def test_junk_in_the_attributes_of_prediction_is_refused(change, name, value):
    if name == "classes_" and isinstance(value, np.ndarray):
        value = list(value)  # two labels they would be, in an array
    clf = classifier().fit(X, Y)
    with pytest.raises(ValueError, match="BCEMLPClassifier were edited, or its file is damaged"):
        change(clf, name, value).predict_proba(X)


@pytest.mark.filterwarnings("ignore:Got `batch_size`")
@pytest.mark.parametrize("change", [damaged, by_hand])
@pytest.mark.parametrize("value", JUNK.values(), ids=JUNK)
def test_junk_in_any_attribute_gives_a_finite_model_or_an_error(change, value):
    clf, refusals = classifier().partial_fit(X, Y, classes=[0, 1]), set()
    for name in set(clf.__getstate__()) - {"_skbce_version"}:
        try:
            model = change(clf, name, value)
            P = model.predict_proba(X)
            model.partial_fit(X, Y)
            model.set_params(warm_start=True).fit(X, Y)
        except (ValueError, TypeError) as error:
            refusals.add(str(error))
        except AttributeError as error:
            assert name == "solver" and "partial_fit" in str(error)  # noqa: PT017, PT018  (scikit-learn's way to say so)
        else:
            assert np.isfinite(P).all()
            assert all(np.isfinite(array).all() for array in [*model.coefs_, *model.intercepts_])
    assert len(refusals) > 5


MODELS = {
    "encoder": lambda: PiecewiseLinearEncoder(4).fit(X),
    "ensemble": lambda: BCEMLPEnsembleClassifier(classifier(), 2, encoders=PiecewiseLinearEncoder(4)).fit(X, Y),
    "table": lambda: TableEncoder(3).fit([["a", 1.0], ["b", 2.0], ["c", None], ["d", 4.0]] * 5, [0, 1] * 10),
}


@pytest.mark.parametrize("change", [damaged, by_hand])
@pytest.mark.parametrize("value", JUNK.values(), ids=JUNK)
@pytest.mark.parametrize("kind", MODELS)
def test_junk_in_any_attribute_of_the_others_gives_finite_numbers_or_an_error(kind, change, value):
    model = MODELS[kind]()
    table = [["a", 1.0], ["e", 2.0]] if kind == "table" else X
    method = "predict_proba" if kind == "ensemble" else "transform"
    refusals = set()
    for name in set(vars(model)) - set(model.get_params(deep=False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about names of features
            try:
                result = getattr(change(model, name, value), method)(table)
            except (ValueError, TypeError) as error:
                refusals.add(str(error))
            else:
                assert not np.isinf(result).any()
                assert kind == "table" or not np.isnan(result).any()
    assert len(refusals) > 1


def test_ensemble_with_members_alone_is_refused_by_predict_too():
    clf = BCEMLPEnsembleClassifier(classifier(), 2)
    clf.estimators_ = [classifier().fit(X, Y)]  # and no other fitted attribute
    with pytest.raises(ValueError, match="were edited, or its file is damaged"):
        clf.predict(X)


@pytest.mark.parametrize("place", [np.nan, np.inf, -np.inf])
def test_a_single_parameter_that_is_not_finite_is_refused(place):
    clf = classifier(activation="tanh").fit(X, Y)
    clf.intercepts_[0][1] = place  # tanh would make a number of it
    with pytest.raises(ValueError, match="coefs_ or intercepts_ contain NaN or infinity"):
        clf.predict_proba(X)
    with pytest.raises(ValueError, match="coefs_ or intercepts_ contain NaN or infinity"):
        clf.input_gradient(X)
    with pytest.raises(ValueError, match="coefs_ or intercepts_ contain NaN or infinity"):
        clf.partial_fit(X, Y)


EQUIVALENT = {
    "lists": lambda W: W.tolist(), "Fortran order": np.asfortranarray, "byte-swapped": lambda W: W.astype(">f8"),
    "not contiguous": lambda W: np.repeat(W, 2, axis=-1)[..., ::2], "long doubles": lambda W: W.astype(np.longdouble),
}  # fmt: skip


@pytest.mark.parametrize("form", EQUIVALENT.values(), ids=EQUIVALENT)
def test_parameters_in_another_form_give_the_same_predictions(form):
    clf = classifier().fit(X, Y)
    expected = clf.predict_proba(X)
    clf.coefs_ = [form(W) for W in clf.coefs_]
    np.testing.assert_array_equal(clf.predict_proba(X), expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(clf)).predict_proba(X), expected)


def test_parameter_that_is_missing_in_a_pickle_is_refused_unless_another_version_wrote_it():
    clf = classifier(activation="tanh").fit(X, Y)
    state = clf.__getstate__()
    del state["dropout"]
    restored = BCEMLPClassifier.__new__(BCEMLPClassifier)
    with pytest.raises(ValueError, match=r"the parameters .'dropout'. are missing"):
        restored.__setstate__(state)
    with pytest.warns(UserWarning, match=r"pickled by skbce 0\.0\.1"):
        restored.__setstate__(state | {"_skbce_version": "0.0.1"})
    assert restored.dropout == 0
    np.testing.assert_array_equal(restored.predict_proba(X), clf.predict_proba(X))


# The doors


class Memory:
    """What run_steps and cost_and_gradient take for a network of 4-3-1 and 60 rows."""

    def __init__(self):
        self.layout = Layout((4, 3, 1), "tanh")
        self.work = Workspace(self.layout, 60, np.float64, 1)
        self.rule = {
            "solver": 1, "learning_rate": 0.01, "alpha": 0.0, "weight_decay": 0.0, "max_grad_norm": np.inf,
            "momentum": 0.0, "nesterov": False, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8,
        }  # fmt: skip
        n = self.layout.n_parameters
        self.arguments = {
            "network": self.layout.network, "rule": self.rule, "t": 0, "theta": np.zeros(n), "moment1": np.zeros(n),
            "moment2": np.zeros(n), "X": doors.Table(X), "Y": Y.astype(np.uint8)[:, None], "weight": np.ones(60),
            "row_ids": np.arange(60), "smoothing": 0.0, "rates": None, "start": 0, "stop": 60, "batch_size": 20,
            "seconds": 1.0, "cost_sum": 0.0, "block_rows": self.work.block_rows, "blocks": self.work.blocks,
            "gradients": self.work.gradients, "partials": self.work.partials, "n_threads": 1,
        }  # fmt: skip


WRONG = {
    "theta short": {"theta": np.zeros(15)}, "moment1 short": {"moment1": np.zeros(15)},
    "moment2 short": {"moment2": np.zeros(15)}, "no moment2": {"moment2": None},
    "columns of X": {"X": doors.Table(X[:, :3].copy())}, "rows of Y": {"Y": np.zeros((59, 1), np.uint8)},
    "columns of Y": {"Y": np.zeros((60, 2), np.uint8)}, "weight short": {"weight": np.ones(59)},
    "a row too large": {"row_ids": np.full(60, 60)}, "a row negative": {"row_ids": np.full(60, -1)},
    "row_ids short": {"row_ids": np.arange(59)}, "stop too large": {"row_ids": None, "stop": 61},
    "start": {"start": -1},
    "no batch": {"batch_size": 0},
    "blocks narrow": {"blocks": np.zeros((1, 8))},
    "no blocks": {"blocks": np.zeros((0, 9999))},
    "block_rows": {"block_rows": 10**6},
    "no rows in a block": {"block_rows": 0}, "no threads": {"n_threads": 0},
    "gradients narrow": {"gradients": np.zeros((1, 8))}, "no gradients": {"gradients": np.zeros((0, 99))},
    "partials short": {"partials": np.zeros(3)}, "rates short": {"rates": np.zeros(2)},
    "dropout long": {"dropout": np.zeros(2)}, "theta of None": {"theta": None}, "no table": {"X": None},
    "no network": {"network": None}, "a sparse layout": {"network": Layout((4, 3, 1), "tanh", sparse=True).network},
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_run_steps_refuses_memory_that_does_not_fit(wrong):
    arguments = Memory().arguments
    doors.run_steps(*arguments.values())
    dropout = {"dropout": wrong["dropout"]} if "dropout" in wrong else {}
    with pytest.raises((ValueError, TypeError)):
        doors.run_steps(*(arguments | {k: v for k, v in wrong.items() if k != "dropout"}).values(), **dropout)


def test_run_steps_refuses_a_solver_that_is_unknown():
    memory = Memory()
    with pytest.raises(ValueError, match="the solver is sgd or adam"):
        doors.run_steps(*(memory.arguments | {"rule": memory.rule | {"solver": 2}}).values())


def for_epochs(arguments):
    """What run_epochs takes for two epochs of the rows that run_steps has one of."""
    only_of_steps = {"rates", "start", "stop", "cost_sum"}
    row_ids = arguments["row_ids"]
    orders = None if row_ids is None else np.stack([row_ids, row_ids[::-1]])
    arguments = {
        {"row_ids": "orders"}.get(k, k): orders if k == "row_ids" else v
        for k, v in arguments.items()
        if k not in only_of_steps
    }
    return arguments | {"bound": 1e9, "kept": np.zeros(19), "costs": np.zeros(2), "done": np.zeros(3, np.int64)}


# An epoch may have fewer rows than X.
OF_STEPS_ALONE = {"rates short", "start", "stop too large", "row_ids short"}
WRONG_FOR_EPOCHS = {name: wrong for name, wrong in WRONG.items() if name not in OF_STEPS_ALONE} | {
    "an order missing": {"orders": np.arange(60)[None]},
    "no rows": {"orders": np.zeros((2, 0), np.int64)}, "kept short": {"kept": np.zeros(18)},
    "kept of None": {"kept": None}, "costs of None": {"costs": None}, "done short": {"done": np.zeros(2, np.int64)},
    "done of None": {"done": None},
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_FOR_EPOCHS.values(), ids=WRONG_FOR_EPOCHS)
def test_run_epochs_refuses_memory_that_does_not_fit(wrong):
    arguments = Memory().arguments
    right = for_epochs(arguments)
    doors.run_epochs(**right)
    assert right["done"].tolist() == [2, 6, 2]
    changed = arguments | {k: v for k, v in wrong.items() if k in arguments}
    changed = for_epochs(changed) | {k: v for k, v in wrong.items() if k not in arguments}
    with pytest.raises((ValueError, TypeError)):
        doors.run_epochs(**changed)


def test_shuffle_refuses_orders_of_another_length():
    generator = np.random.RandomState(0)._bit_generator
    with pytest.raises(ValueError, match="orders has order's rows as columns"):
        doors.shuffle(generator, np.arange(5), np.zeros((2, 4), np.int64))


def test_no_argument_of_a_door_may_be_none_but_those_that_are_optional():
    A, W, b = np.ones((5, 4)), np.ones((4, 3)), np.ones(3)
    Z = np.ones((5, 3))
    calls = {
        doors.layer_forward: (A, W, b, False, Z), doors.layer_gradient: (A, Z, W),
        doors.output_loss: (Z, Z, None, Z.copy()),
        doors.output_backward: (Z, Z, None, Z.copy(), b), doors.layer_backward: (0, A, Z, W, A.copy(), np.ones(4)),
        doors.unit_layer_backward: (0, np.ones(5), np.ones(4), A.copy(), np.ones(4), np.ones(4)),
        doors.store_derivative: (8, Z, Z.copy()), doors.apply_dropout: (0.5, 1, 1, 1, 0, A, A.copy()),
        doors.class_probabilities: (Z, np.ones((5, 2))),
        doors.gather: (doors.Table(X), np.arange(5), np.ones((5, 4))),
    }  # fmt: skip
    for door, arguments in calls.items():
        door(*arguments)
        for k, argument in enumerate(arguments):
            if isinstance(argument, np.ndarray | doors.Table):
                with pytest.raises(TypeError):
                    door(*arguments[:k], None, *arguments[k + 1 :])
            if isinstance(argument, np.ndarray) and not (door is doors.class_probabilities and k == 0):
                longer = np.ones(tuple(n + 3 for n in argument.shape), argument.dtype)
                shorter = np.ones(tuple(n - 1 for n in argument.shape), argument.dtype)
                for other in (longer, shorter):
                    if door is doors.gather and k == 1 and other is longer:
                        continue  # more ids than rows of the output are not read
                    with pytest.raises(ValueError, match="memory that does not fit"):
                        door(*arguments[:k], other, *arguments[k + 1 :])


class Encoded:
    """What a look-up takes for two networks of 7-3-1 over an encoding of three columns, one of them twice."""

    def __init__(self, dtype=np.float64, n_threads=2):
        layouts = [Layout((7, 3, 1), f, sparse=True) for f in ("tanh", "gelu")]
        self.plan = {
            "table": doors.Table(X), "places": self.places(), "robust": np.array([[0.0, 0, 0], [1, 1, 1]]),
            "edges": np.array([-1.0, 0, 1, 2]), "width": 7,
        }  # fmt: skip
        self.arguments = {
            "networks": tuple(layout.network for layout in layouts),
            "thetas": tuple(np.ones(layout.n_parameters, dtype) for layout in layouts), **self.plan, "block_rows": 20,
        }  # fmt: skip
        self.n_threads = n_threads

    def look_up(self, memory=None, n_threads=None, others=(), **wrong):
        """The logits, and whether all is finite, with arguments in place of those that fit."""
        lookup = doors.Lookup(*(self.arguments | wrong).values())
        if memory is None:
            memory = np.zeros((self.n_threads, self.doubles(lookup)))
        lookup.logits[...] = np.nan
        n_threads = self.n_threads if n_threads is None else n_threads
        try:
            return lookup.logits, doors.looked_up_logits((lookup, *others), memory, n_threads)
        except (ValueError, TypeError):
            assert np.isnan(lookup.logits).all()
            raise

    @staticmethod
    def doubles(lookup):
        """How many hold what a thread needs."""
        return -(-lookup.n_elements * lookup.logits.itemsize // 8)

    @staticmethod
    def places(row=0, k=0, value=None):
        """Three bins over all edges behind the value, an indicator alone, two bins: 1 + 3, 1, 2; one of them edited."""
        places = np.array([[0, 3, 3], [3, 0, 2], [0, 0, 1], [0, -1, -1], [1, 4, 5], [-1, 4, -1]])
        places[row, k] = places[row, k] if value is None else value
        return places


WRONG_PLANS = {
    "no table": ({"table": None}, "table|X"), "CSR": ({"table": doors.Table(sp.csr_matrix(X))}, "X is dense"),
    "places of floats": ({"places": Encoded.places().astype(float)}, "int64_t"),
    "places of 32 bits": ({"places": Encoded.places().astype(np.int32)}, "int64_t"),
    "places transposed": ({"places": Encoded.places().T.copy().T}, "contiguous"),
    "five places": ({"places": Encoded.places()[:5].copy()}, "6 rows"),
    "places of fewer columns": ({"places": Encoded.places()[:, :2].copy()}, "an entry a column"),
    "no places": ({"places": None}, "places"),
    "one row of robust": ({"robust": np.ones((1, 3))}, "6 rows and 2"),
    "robust of fewer columns": ({"robust": np.ones((2, 2))}, "an entry a column"),
    "robust with gaps": ({"robust": np.ones((2, 6))[:, ::2]}, "contiguous"),
    "robust of float32": ({"robust": np.ones((2, 3), "f4")}, "double"), "no robust": ({"robust": None}, "robust"),
    "edges short": ({"edges": np.zeros(3)}, "within X, the edges"), "no edge": ({"edges": np.zeros(0)}, "the edges"),
    "edges with gaps": ({"edges": np.zeros(8)[::2]}, "contiguous"),
    "edges of rows": ({"edges": np.zeros((4, 1))}, "dim"),
    "edges of float32": ({"edges": np.zeros(4, "f4")}, "double"), "edges of None": ({"edges": None}, "edges"),
    "a column too large": ({"places": Encoded.places(0, 1, 4)}, "within X"),
    "a column negative": ({"places": Encoded.places(0, 1, -1)}, "within X"),
    "a column of 2^62": ({"places": Encoded.places(0, 2, 2**62)}, "within X"),
    "a bin more": ({"places": Encoded.places(1, 0, 4)}, "the edges"),
    "bins negative": ({"places": Encoded.places(1, 0, -1)}, "the edges"),
    "bins of 2^63 - 1": ({"places": Encoded.places(1, 0, 2**63 - 1)}, "the edges"),
    "edges from too far": ({"places": Encoded.places(2, 2, 2)}, "the edges"),
    "edges from before": ({"places": Encoded.places(2, 0, -1)}, "the edges"),
    "a value outside": ({"places": Encoded.places(3, 0, 7)}, "the output"),
    "bins outside": ({"places": Encoded.places(4, 2, 6)}, "the output"),
    "bins before": ({"places": Encoded.places(4, 0, -1)}, "the output"),
    "an indicator outside": ({"places": Encoded.places(5, 1, 7)}, "the output"),
}  # fmt: skip

SHORT, WIDE = Layout((6, 3, 1), "tanh", sparse=True), Layout((7, 3, 2), "tanh", sparse=True)
NETWORKS = Encoded().arguments["networks"]
THETAS = Encoded().arguments["thetas"]
WRONG_LOOK_UPS = {
    # Each within the encoding's row, but not where its column's turn is.
    "a value out of order": ({"places": Encoded.places(3, 0, 1)}, "in order"),
    "bins out of order": ({"places": Encoded.places(4, 2, 4)}, "in order"),
    "no bins, out of order": ({"places": Encoded.places(4, 1, 2**40)}, "in order"),
    "an indicator out of order": ({"places": Encoded.places(5, 1, 3)}, "in order"),
    "an indicator too many": ({"places": Encoded.places(5, 0, 4)}, "in order"),
    "width too large": ({"width": 8}, "in order"), "width too small": ({"width": 6}, "the output"),
    "width negative": ({"width": -1}, "the output"),
    "no networks": ({"networks": None}, "networks"), "networks as a list": ({"networks": list(NETWORKS)}, "networks"),
    "no network": ({"networks": (), "thetas": ()}, "a few networks"),
    "five networks": ({"networks": NETWORKS[:1] * 5, "thetas": THETAS[:1] * 5}, "a few networks"),
    "a network of None": ({"networks": (NETWORKS[0], None)}, "Network"),
    "a network that is none": ({"networks": (NETWORKS[0], "gelu")}, "Network"),
    "a network of fewer columns": (
        {"networks": (NETWORKS[0], SHORT.network), "thetas": (THETAS[0], np.ones(SHORT.n_parameters))}, "the encoding"
    ),
    "a network of two outputs": (
        {"networks": (NETWORKS[0], WIDE.network), "thetas": (THETAS[0], np.ones(WIDE.n_parameters))}, "one output"
    ),
    "no thetas": ({"thetas": None}, "thetas"), "one theta": ({"thetas": THETAS[:1]}, "a theta for each"),
    "theta of None": ({"thetas": (THETAS[0], None)}, "theta has"),
    "theta short": ({"thetas": (THETAS[0], THETAS[1][:-1])}, "theta has"),
    "theta long": ({"thetas": (np.ones(29), THETAS[1])}, "theta has"),
    "theta with gaps": ({"thetas": (np.ones(56)[::2], THETAS[1])}, "contiguous"),
    "theta of rows": ({"thetas": (THETAS[0][:, None], THETAS[1])}, "dim"),
    "theta of float32": ({"thetas": (THETAS[0], THETAS[1].astype("f4"))}, "double"),
    "thetas of float16": ({"thetas": tuple(theta.astype("f2") for theta in THETAS)}, "format"),
    "no rows in a block": ({"block_rows": 0}, "block_rows"), "block_rows negative": ({"block_rows": -1}, "block_rows"),
    "block_rows of 2^31": ({"block_rows": 2**31}, "block_rows"),
    "more rows than blocks have": ({"block_rows": 2**20 + 1}, "block_rows"),
    "no rows": ({"table": doors.Table(X[:0])}, "X has rows"),
}  # fmt: skip
FITTING = Encoded()
LOOKUP = doors.Lookup(*FITTING.arguments.values())
DOUBLES = FITTING.doubles(LOOKUP)
WRONG_WORK = {
    "memory narrow": ({"memory": np.zeros((2, DOUBLES - 1))}, "memory holds"),
    "memory with gaps": ({"memory": np.zeros((2, 2 * DOUBLES))[:, ::2]}, "contiguous"),
    "no memory": ({"memory": np.zeros((0, 9999))}, "memory"),
    "memory of float32": ({"memory": np.zeros((2, 9999), "f4")}, "double"),
    "no threads": ({"n_threads": 0}, "a thread"), "a lookup of None": ({"others": (None,)}, "Lookup"),
    "a lookup of another table": ({"others": (LOOKUP,)}, "have a table"),
    "a row more in its blocks": ({"block_rows": 21, "memory": np.zeros((2, DOUBLES))}, "memory holds"),
    "blocks of other rows": (
        {"others": (doors.Lookup(*(FITTING.arguments | {"block_rows": 19}).values()),), "table": FITTING.plan["table"]},
        "have a table",
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_look_up_and_encoding_with_arguments_that_fit_agree(dtype, n_threads):
    encoded = Encoded(dtype, n_threads)
    A = np.empty((60, 7), np.float32)
    doors.encode_columns(*list(encoded.plan.values())[:-1], A, n_threads)
    Z, are_finite = encoded.look_up()
    assert are_finite == [[True, True]]
    # All W are 1, and all b.
    Z_1 = 1 + A.sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(Z[0], 1 + 3 * np.tanh(Z_1), rtol=1e-5)  # float32


@pytest.mark.parametrize(("wrong", "says"), WRONG_PLANS.values(), ids=WRONG_PLANS)
def test_encode_columns_refuses_a_plan_that_does_not_fit(wrong, says):
    plan = list((Encoded().plan | wrong).values())[:-1]
    with pytest.raises((ValueError, TypeError), match=says):
        doors.encode_columns(*plan, np.empty((60, 7), np.float32), 1)


@pytest.mark.parametrize(("out", "says"), [((59, 7), "X's rows"), ((61, 7), "X's rows"), ((60, 6), "the output")])
def test_encode_columns_refuses_an_output_that_does_not_fit(out, says):
    with pytest.raises(ValueError, match=says):
        doors.encode_columns(*list(Encoded().plan.values())[:-1], np.empty(out, np.float32), 1)


@pytest.mark.parametrize(
    ("wrong", "says"), (WRONG_PLANS | WRONG_LOOK_UPS).values(), ids=[*WRONG_PLANS, *WRONG_LOOK_UPS]
)
def test_look_up_refuses_memory_that_does_not_fit(wrong, says):
    with pytest.raises((ValueError, TypeError), match=says):
        Encoded().look_up(**wrong)


@pytest.mark.parametrize(("wrong", "says"), WRONG_WORK.values(), ids=WRONG_WORK)
def test_look_ups_refuse_memory_that_does_not_fit(wrong, says):
    with pytest.raises((ValueError, TypeError), match=says):
        Encoded().look_up(**wrong)


@pytest.mark.parametrize("lookups", [(), None, [LOOKUP]], ids=["none", "None", "a list"])
def test_look_ups_refuse_what_are_none(lookups):
    with pytest.raises((ValueError, TypeError), match="lookups"):
        doors.looked_up_logits(lookups, np.zeros((1, DOUBLES)), 1)


def test_layout_whose_parts_overlap_is_refused():
    layout = Layout((4, 3, 1), "gelu")
    rows = np.zeros((6, 4), np.int64)
    rows[0, :3] = 4, 3, 1
    rows[1, 1:3] = 12, 15
    rows[2, :3] = 15, 18, 19
    rows[3, 1:] = 4, 7, 8
    rows[4, 1] = 8
    rows[5, 1:] = 8, 0, 11
    doors.Network(rows)
    assert doors.Network(rows).workspace_size(1) == layout.network.workspace_size(1)
    for at, value in {
        (0, 0): 5,
        (0, 1): 0,
        (1, 1): 11,
        (2, 0): 14,
        (3, 1): 3,
        (4, 1): 99,
        (5, 1): 7,
        (5, 3): 10,
    }.items():
        broken = rows.copy()
        broken[at] = value
        with pytest.raises(ValueError, match="one behind the other"):
            doors.Network(broken)


@pytest.mark.parametrize(
    "broken",
    [
        X.astype(">f8"),
        X.astype(int),
        np.zeros((3, 5), np.uint8)[:, 1:].view("f4"),
        np.lib.stride_tricks.as_strided(X, X.shape, (X.strides[0], 12)),
        X[0],
    ],
    ids=["byte-swapped", "integers", "not aligned", "broken steps", "one dimension"],
)
def test_table_refuses_arrays_that_kernels_cannot_read(broken):
    with pytest.raises(ValueError, match="memory that does not fit"):
        doors.Table(broken)


def test_doors_objects_are_not_made_without_their_arrays():
    with pytest.raises(TypeError):
        doors.Table.__new__(doors.Table)
    with pytest.raises(TypeError):
        doors.Network.__new__(doors.Network)
