"""Model files: the same model after loading, and for a file that is not whole a clear error."""

import copy
import io
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

import skbce
from skbce import (
    BCEMLPClassifier,
    BCEMLPEnsembleClassifier,
    PiecewiseLinearEncoder,
    TableEncoder,
    make_tabular_classifier,
)
from skbce import _files as files
from skbce._files import container

pytest.importorskip("safetensors")

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

DATA = Path(__file__).parent / "data"

rng = np.random.default_rng(0)
X = rng.standard_normal((80, 5))
POSITIVE = X[:, 0] - X[:, 1] > 0.1
LABELS = {
    "str": np.array(["no", "yes"]),
    "wide str": np.array(["no", "yes"], dtype="<U30"),
    "str objects": np.array(["nö", "yes \N{SNOWMAN} \ud800"], dtype=object),
    "bool": np.array([False, True]),
    "int": np.array([-3, 7]),
    "int8": np.array([0, 1], dtype=np.int8),
    "uint64": np.array([1, 2**63 + 1], dtype=np.uint64),
    "float": np.array([-3.0, 2.0**40]),
    "float32": np.array([0, 1], dtype=np.float32),
}


def network(**parameters):
    return BCEMLPClassifier(
        **{"hidden_layer_sizes": (4, 3), "max_iter": 3, "batch_size": 16, "random_state": 0, **parameters}
    )


def table():
    return pd.DataFrame(
        {
            "age": [23.5, 35, None, 51] * 20,
            "town": ["Bonn", "Ulm", "Ulm", None] * 20,
            "many": [f"street {k % 40}" for k in range(80)],
            "house": pd.Series([1, 2, 2, 30] * 20, dtype=object).where(lambda v: v != 30, "7a"),
            "paid": [True, False, True, False] * 20,
        }
    )


def tabular(**parameters):
    parameters = {"n_estimators": 2, "random_state": 0, "estimator": network(scoring="loss"), **parameters}
    return make_tabular_classifier(**parameters).fit(table(), np.where(POSITIVE, "yes", "no"))


def through_file(model, folder):
    path = folder / "model.safetensors"
    skbce.save(model, path)
    return skbce.load(path)


def assert_same(value, expected, where=""):
    """The same to the last bit: type, values, and the attributes of what has some."""
    assert type(value) is type(expected), where
    if isinstance(expected, np.ndarray):
        assert value.dtype == expected.dtype, where
        assert value.shape == expected.shape, where
        assert value.tolist() == expected.tolist() or value.tobytes() == expected.tobytes(), where
    elif isinstance(expected, np.random.RandomState):
        assert_same(copy.deepcopy(value).random_sample(3), copy.deepcopy(expected).random_sample(3), where)
    elif isinstance(expected, dict):
        assert list(value) == list(expected), where
        for name in expected:
            assert_same(value[name], expected[name], f"{where}.{name}")
    elif isinstance(expected, list | tuple):
        assert len(value) == len(expected), where
        for k, (item, reference) in enumerate(zip(value, expected)):
            assert_same(item, reference, f"{where}.{k}")
    elif hasattr(expected, "__dict__"):
        assert vars(value).keys() == vars(expected).keys(), where
        for name in vars(expected):
            assert_same(vars(value)[name], vars(expected)[name], f"{where}.{name}")
    else:
        assert value == expected or (value != value and expected != expected), where


def content_of(model):
    data = files._packed(model)
    return container.unpacked(io.BytesIO(data), len(data))


def loaded_from(content, tensors, folder):
    """What load makes of a file with this content and the checksum of it."""
    path = folder / "made.safetensors"
    path.write_bytes(container.packed(content, tensors))
    return skbce.load(path)


# The same model.


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_of_any_kind_come_back(tmp_path, labels, dtype):
    clf = network().fit(X.astype(dtype), labels[POSITIVE.astype(int)])
    loaded = through_file(clf, tmp_path)
    assert_same(loaded, clf)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert_same(getattr(loaded, method)(X.astype(dtype)), getattr(clf, method)(X.astype(dtype)))


@pytest.mark.parametrize("is_sparse", [False, True])
def test_multilabel_models_come_back(tmp_path, is_sparse):
    Y = (X[:, :3] > 0).astype(int)
    clf = network().fit(X, sp.csr_matrix(Y) if is_sparse else Y)
    loaded = through_file(clf, tmp_path)
    assert_same(loaded, clf)
    assert sp.issparse(loaded.predict(X)) == is_sparse


@pytest.mark.parametrize("n_threads", [1, 2])
def test_models_of_one_layer_and_of_sparse_tables_come_back(tmp_path, n_threads):
    table = sp.random(80, 5, density=0.3, random_state=0, format="csr")
    clf = network(hidden_layer_sizes=(), n_threads=n_threads).fit(table, POSITIVE)
    loaded = through_file(clf, tmp_path)
    assert_same(loaded, clf)
    assert_same(loaded.predict_proba(table), clf.predict_proba(table))


PARAMETERS = {
    "tuples and lists": {"hidden_layer_sizes": [4, 3], "activation": ("relu", "mish"), "dropout": [0.1, 0.0]},
    "arrays": {
        "hidden_layer_sizes": np.array([4, 3]),
        "activation": np.array(["relu", "mish"]),
        "dropout": np.array([0.1, 0.0]),
    },
    "an integer of layers": {"hidden_layer_sizes": 3},
    "infinite patience": {"n_iter_no_change": np.inf, "max_time": 1e6},
    "a scorer by name": {"scoring": "roc_auc", "early_stopping": True, "validation_fraction": 0.3},
    "class weights": {"class_weight": {False: 1, True: 2.5}},
    "a generator": {"random_state": np.random.RandomState(5), "warm_start": True},
    "a schedule": {"learning_rate": "one_cycle", "weight_decay": 0.01, "max_grad_norm": 1.0, "label_smoothing": 0.1},
    "small numbers": {"alpha": 5e-324, "epsilon": 1e-300, "tol": 0.1 + 0.2},
}


@pytest.mark.parametrize("parameters", PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_of_any_kind_come_back(tmp_path, parameters):
    clf = network(**parameters).fit(X, POSITIVE)
    loaded = through_file(clf, tmp_path)
    assert_same(loaded, clf)
    assert_same(clone(loaded), clone(clf))


def test_numbers_of_numpy_come_back_as_python_has_them(tmp_path):
    weights = dict(zip(np.array([0, 1]), np.array([1.0, 2.0], dtype=np.float32)))
    clf = network(
        alpha=np.float64(0.1), max_iter=np.int64(3), warm_start=np.bool_(False), solver=np.str_("sgd"),
        class_weight=weights, hidden_layer_sizes=(np.int32(4),),
    ).fit(X, POSITIVE.astype(int))  # fmt: skip
    found = through_file(clf, tmp_path).get_params()
    expected = {"alpha": 0.1, "max_iter": 3, "warm_start": False, "solver": "sgd", "class_weight": {0: 1.0, 1: 2.0}}
    for name, value in {**expected, "hidden_layer_sizes": (4,)}.items():
        assert_same(found[name], value)


def test_feature_names_come_back(tmp_path):
    frame = pd.DataFrame(X, columns=list("abcde"))
    clf = network().fit(frame, POSITIVE)
    loaded = through_file(clf, tmp_path)
    assert_same(loaded.feature_names_in_, clf.feature_names_in_)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(frame[list("edcba")])


def test_generator_that_steps_share_is_one_after_loading(tmp_path):
    model = make_tabular_classifier(random_state=np.random.RandomState(3), estimator=network(), n_estimators=2)
    loaded = through_file(model, tmp_path)
    assert loaded["table"].random_state is loaded["ensemble"].random_state
    assert_same(loaded.fit(table(), POSITIVE), model.fit(table(), POSITIVE))


def test_generator_with_a_normal_number_in_store_comes_back(tmp_path):
    generator = np.random.RandomState(1)
    generator.standard_normal()
    loaded = through_file(network(random_state=generator), tmp_path)
    assert loaded.random_state.standard_normal() == generator.standard_normal()


def test_model_goes_on_with_lbfgs_after_adam(tmp_path):
    clf = network(warm_start=True).fit(X, POSITIVE).set_params(solver="lbfgs").fit(X, POSITIVE)
    loaded = through_file(clf, tmp_path)
    assert_same(loaded, clf)
    assert_same(loaded.fit(X, POSITIVE), clf.fit(X, POSITIVE))


OTHER_MODELS = {
    "ensemble": lambda: BCEMLPEnsembleClassifier(network(), 3, random_state=0).fit(X, POSITIVE),
    "ensemble with encoders": lambda: BCEMLPEnsembleClassifier(
        network(), 3, encoders=[PiecewiseLinearEncoder(4), StandardScaler()], calibration="temperature", random_state=0
    ).fit(X, POSITIVE),
    "encoder": lambda: PiecewiseLinearEncoder(4).fit(np.c_[X, np.ones(80), np.where(POSITIVE, np.nan, 2.0)]),
    "encoder of frames": lambda: PiecewiseLinearEncoder(4).set_output(transform="pandas").fit(
        pd.DataFrame(X, columns=list("abcde"))
    ),
    "table": lambda: TableEncoder(8, random_state=1).fit(table(), POSITIVE),
    "table without y": lambda: TableEncoder(8).fit(table()),
    "tabular classifier": tabular,
    "pipeline": lambda: make_pipeline(StandardScaler(), network()).fit(X, POSITIVE),
    "pipeline of passing steps": lambda: Pipeline(
        [("one", "passthrough"), ("two", None), ("three", StandardScaler(with_mean=False)), ("four", network())]
    ).fit(X, POSITIVE),
    "scaler of no scale": lambda: make_pipeline(StandardScaler(with_std=False), network()).fit(X, POSITIVE),
}  # fmt: skip


def outputs(model):
    """What the model makes of tables like its own."""
    last = model[-1] if isinstance(model, Pipeline) else model
    given = {"table": table(), "numbers": X, "frame": pd.DataFrame(X, columns=list("abcde"))}
    given["seven"] = np.c_[X, X[:, :2]]
    n, names = last.n_features_in_, hasattr(model, "feature_names_in_")
    this = given["seven"] if n == 7 else given["numbers"] if not names else None
    if this is None:
        this = given["table"] if "town" in model.feature_names_in_ else given["frame"]
    methods = ("predict", "predict_proba") if hasattr(last, "predict") else ("transform",)
    return [np.asarray(getattr(model, method)(this)) for method in methods]


@pytest.mark.parametrize("make", OTHER_MODELS.values(), ids=OTHER_MODELS)
def test_other_models_come_back(tmp_path, make):
    model = make()
    if hasattr(model, "save"):
        model.save(tmp_path / "model")
    else:
        skbce.save(model, tmp_path / "model")
    loaded = skbce.load(tmp_path / "model")
    # StandardScaler counts in NumPy's numbers, which come back as Python's.
    for step in model.named_steps.values() if isinstance(model, Pipeline) else getattr(model, "encoders_", []):
        if isinstance(step, StandardScaler):
            step.n_samples_seen_ = step.n_samples_seen_.item()
    assert_same(loaded, model)
    for value, expected in zip(outputs(loaded), outputs(model), strict=True):
        assert_same(value, expected)
    assert repr(clone(loaded)) == repr(clone(model))


@pytest.mark.parametrize(
    "model",
    [
        network(),
        BCEMLPEnsembleClassifier(),
        PiecewiseLinearEncoder(),
        TableEncoder(),
        make_tabular_classifier(),
        make_pipeline(StandardScaler(), BCEMLPClassifier()),
    ],
    ids=lambda model: type(model).__name__,
)
def test_unfitted_models_come_back(tmp_path, model):
    assert_same(through_file(model, tmp_path), model)


def test_scores_of_a_function_are_not_taken_for_those_of_another_scorer(tmp_path):
    scorer = make_scorer(roc_auc_score)
    parameters = {"early_stopping": True, "validation_fraction": 0.3, "warm_start": True}
    clf = network(scoring=scorer, **parameters).fit(X, POSITIVE).set_params(scoring=None)
    loaded = through_file(clf, tmp_path)
    expected, found = clf.fit(X, POSITIVE), loaded.fit(X, POSITIVE)
    assert_same(found, expected)


# What a file does not hold.


class Own(BCEMLPClassifier):
    pass


NOT_HELD = {
    "a callable scorer": (network(scoring=make_scorer(roc_auc_score)), r"scoring=make_scorer.*no code.*set_params\(sc"),
    "a callable rate": (network(learning_rate=abs), r"learning_rate=<built-in function abs> is a function"),
    "another generator": (network(random_state=np.random.RandomState(np.random.PCG64(0))), "random_state.*PCG64"),
    "a range": (network(hidden_layer_sizes=range(1, 3)), "hidden_layer_sizes is of type range"),
    "an inner function": (
        BCEMLPEnsembleClassifier(network(learning_rate=abs)), r"estimator\.learning_rate=.*function"
    ),
    "another transformer": (
        BCEMLPEnsembleClassifier(encoders=[MinMaxScaler()]), r"encoders\.0 is of type MinMaxScaler.*TableEncoder"
    ),
    "another step": (make_pipeline(MinMaxScaler(), network()), r"steps\.0\.1 is of type MinMaxScaler"),
    "another model": (LogisticRegression(), "got LogisticRegression"),
    "a subclass": (Own(), "got Own"),
    "nothing": (None, "got NoneType"),
    "no model": ("clf", "got str"),
    "parameters that nothing takes": (network(alpha=-1.0), "alpha"),
    "weights that nothing takes": (network(class_weight={0: np.inf}), "class_weight"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "message"), NOT_HELD.values(), ids=NOT_HELD)
def test_what_a_file_does_not_hold_is_named(tmp_path, model, message):
    with pytest.raises(ValueError, match=rf"cannot be saved: (?s:.*){message}"):
        skbce.save(model, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_attributes_that_others_gave_are_named(tmp_path):
    clf = network().fit(X, POSITIVE)
    clf.note = "mine"
    with pytest.raises(ValueError, match="BCEMLPClassifier has note"):
        clf.save(tmp_path / "model")


@pytest.mark.parametrize("edit", ["coefs_", "intercepts_"])
def test_models_that_could_not_be_loaded_are_not_written(tmp_path, edit):
    clf = network().fit(X, POSITIVE)
    getattr(clf, edit)[0][...] = np.nan
    with pytest.raises(ValueError, match=f"cannot be saved: BCEMLPClassifier: {edit}"):
        clf.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("activation", ["tanh", ["relu"]])
def test_file_holds_the_activation_fitted_with_and_the_one_for_the_next_fit(tmp_path, activation):
    clf = network().fit(X, POSITIVE)
    before = clf.predict_proba(X)
    clf.set_params(activation=activation).save(tmp_path / "model")
    loaded = skbce.load(tmp_path / "model")
    assert loaded.activation == activation
    np.testing.assert_array_equal(loaded.predict_proba(X), before)


@pytest.mark.parametrize("action", ["save", "load"])
def test_missing_package_is_named_with_the_command(tmp_path, monkeypatch, action):
    clf = network().fit(X, POSITIVE)
    clf.save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ImportError, match=r"safetensors, which is not installed: .*skbce\[io\]"):
        clf.save(tmp_path / "model") if action == "save" else skbce.load(tmp_path / "model")


def test_importing_skbce_imports_no_optional_package():
    names = {"safetensors", "onnx", "skl2onnx", "skops", "matplotlib"}
    code = f"import sys, skbce; print({names} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# Writing.


def test_saved_file_has_the_permissions_of_a_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        network().save(tmp_path / "model")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640


def test_file_that_is_replaced_keeps_its_permissions_and_its_link(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    network(alpha=0.5).save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert skbce.load(target).alpha == 0.5


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_failure_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, name):
    path = tmp_path / "model"
    network(alpha=0.5).save(path)

    def fails(*args):
        raise OSError("No space left on device")

    if name == "write":

        class Full(io.FileIO):
            write = fails

        monkeypatch.setattr(container, "open", lambda path, mode: Full(path, mode), raising=False)
    else:
        monkeypatch.setattr(container.os, name, fails)
    with pytest.raises(OSError, match="No space left"):
        network(alpha=0.7).save(path)
    monkeypatch.undo()
    assert skbce.load(path).alpha == 0.5
    assert list(tmp_path.iterdir()) == [path]


def test_process_killed_while_it_writes_leaves_the_old_file(tmp_path):
    path = tmp_path / "model"
    network(alpha=0.5).save(path)
    code = f"""
import os, skbce
from skbce._files import container
container.os.fsync = lambda handle: os._exit(9)
skbce.BCEMLPClassifier(alpha=0.7).save({os.fspath(path)!r})
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert skbce.load(path).alpha == 0.5
    half = [one for one in tmp_path.iterdir() if one != path]
    assert [one.suffix for one in half] == [".tmp"]


def test_place_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        network().save(tmp_path / "nowhere" / "model")
    with pytest.raises(IsADirectoryError):
        network().save(tmp_path)
    with pytest.raises(FileNotFoundError):
        skbce.load(tmp_path / "nothing")


def test_saving_twice_gives_the_same_bytes(tmp_path):
    clf = network().fit(X, POSITIVE)
    clf.save(tmp_path / "one")
    skbce.load(tmp_path / "one").save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_other_readers_of_safetensors_see_the_parameters(tmp_path):
    from safetensors import safe_open

    clf = network().fit(X, POSITIVE)
    clf.save(tmp_path / "model")
    with safe_open(tmp_path / "model", framework="numpy") as file:
        assert_same(file.get_tensor("coefs_.0"), clf.coefs_[0])
        assert json.loads(file.metadata()["skbce"])["model"]["parameters"]["alpha"] == clf.alpha


# Damage.


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small model's file: its path, its bytes, and what the model says."""
    path = tmp_path_factory.mktemp("saved") / "model.safetensors"
    clf = network(early_stopping=True, validation_fraction=0.3, class_weight={"yes": 2.0})
    clf.fit(X, np.where(POSITIVE, "yes", "no")).save(path)
    return path, path.read_bytes(), clf


def test_file_cut_anywhere_is_an_error_that_names_it(tmp_path, saved):
    _, data, _ = saved
    path = tmp_path / "cut.safetensors"
    for length in (*range(50), *range(50, len(data), 11), len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"cut\.safetensors' cannot be loaded: .*(ends within|a part is missing)"):
            skbce.load(path)


@pytest.mark.parametrize("added", [b"\0", b"\0" * 4096, b"x"])
def test_file_that_goes_on_is_an_error(tmp_path, saved, added):
    path = tmp_path / "long.safetensors"
    path.write_bytes(saved[1] + added)
    with pytest.raises(ValueError, match="added"):
        skbce.load(path)


@pytest.mark.parametrize("seed", range(4))
def test_changed_bytes_are_an_error_or_change_nothing(tmp_path, saved, seed):
    """Blanks between the header and the tensors may change to other blanks: that is the same file."""
    _, data, clf = saved
    chance = random.Random(seed)
    path = tmp_path / "changed.safetensors"
    for _ in range(500):
        changed = bytearray(data)
        for _ in range(chance.choice([1, 1, 2, 8])):
            changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        try:
            loaded = skbce.load(path)
        except ValueError as error:
            loaded, message = clf, str(error)
        else:
            message = f"{os.fspath(path)!r} cannot be loaded: "
        assert message.startswith(f"{os.fspath(path)!r} cannot be loaded: ")
        assert_same(loaded, clf)


def test_a_bit_of_a_tensor_counts_wherever_it_is(tmp_path, saved):
    _, data, _ = saved
    path = tmp_path / "changed.safetensors"
    start = 8 + int.from_bytes(data[:8], "little")
    for at in range(start, len(data), 3):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="damaged or was edited"):
            skbce.load(path)


def file_of(header, body=b"", length=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


FOREIGN = {
    "nothing": b"",
    "a text": b"This is no model, and longer than a header's length.",
    "a header of 2^63 bytes": file_of({}, length=2**63),
    "a header of 2^64 - 1 bytes": file_of({}, length=2**64 - 1),
    "a header that is no object": file_of([1]),
    "a header that is no text": file_of(b"\xff\xfe\xfd\xfc"),
    "a header in a header": file_of(b"[" * 100_000),
    "a name twice": file_of(b'{"__metadata__": {}, "__metadata__": {}}'),
    "no metadata": file_of({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
    "metadata of another": file_of({"__metadata__": {"format": "pt"}}),
    "metadata that are numbers": file_of({"__metadata__": {"skbce": 1}}),
    "no JSON in it": file_of({"__metadata__": {"skbce": "{"}}),
    "deep JSON in it": file_of({"__metadata__": {"skbce": "[" * 100_000}}),
    "NaN in it": file_of({"__metadata__": {"skbce": "NaN"}}),
    "no format": file_of({"__metadata__": {"skbce": "{}"}}),
    "a format that is a bool": file_of({"__metadata__": {"skbce": '{"format": true}'}}),
    "no checksum": file_of({"__metadata__": {"skbce": '{"format": 1}'}}),
    "a tensor of 2^60 numbers": file_of(
        {
            "__metadata__": {"skbce": '{"format": 1}'},
            "a": {"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 2**62]},
        },
        b"\0" * 4,
    ),
    "a tensor that says less than it is": file_of(
        {
            "__metadata__": {"skbce": '{"format": 1}'},
            "a": {"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 4]},
        },
        b"\0" * 4,
    ),
    "an unknown dtype": file_of(
        {"__metadata__": {"skbce": '{"format": 1}'}, "a": {"dtype": "F8", "shape": [4], "data_offsets": [0, 4]}},
        b"\0" * 4,
    ),
    "a dtype without NumPy's": file_of(
        {"__metadata__": {"skbce": '{"format": 1}'}, "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}},
        b"\0" * 4,
    ),
    "bools that are none": file_of(
        {"__metadata__": {"skbce": '{"format": 1}'}, "a": {"dtype": "BOOL", "shape": [4], "data_offsets": [0, 4]}},
        b"\2" * 4,
    ),
    "offsets that are none": file_of({"__metadata__": {"skbce": '{"format": 1}'}, "a": {"data_offsets": "ab"}}),
}  # fmt: skip


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
def test_file_that_is_no_model_is_an_error_that_names_it(tmp_path, data):
    path = tmp_path / "foreign.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"foreign\.bin' cannot be loaded: the file"):
        skbce.load(path)


def test_large_file_that_is_no_model_is_not_read(tmp_path):
    path = tmp_path / "large.bin"
    with open(path, "wb") as file:
        file.write(file_of({"__metadata__": {"format": "pt"}}))
        file.truncate(2**40)  # of holes: it would not fit into memory
    with pytest.raises(ValueError, match="no model of skbce"):
        skbce.load(path)


def test_newer_format_is_refused_with_the_version_that_wrote_it(tmp_path):
    content, tensors = content_of(network())
    content |= {"format": container.FORMAT + 1, "versions": {"skbce": "9.1"}, "news": 1}
    with pytest.raises(ValueError, match=r"format 2, written by skbce 9\.1.*formats up to 1\. Update skbce"):
        loaded_from(content, tensors, tmp_path)


def test_another_version_in_the_same_format_is_read_without_a_warning(tmp_path):
    clf = network().fit(X, POSITIVE)
    content, tensors = content_of(clf)
    content["versions"] = {"skbce": "0.0.1"}
    assert_same(loaded_from(content, tensors, tmp_path), clf)


def test_parameters_younger_than_the_file_have_their_defaults(tmp_path):
    clf = network().fit(X, POSITIVE)
    content, tensors = content_of(clf)
    del content["model"]["parameters"]["label_smoothing"]
    assert_same(loaded_from(content, tensors, tmp_path), clf)


# Edited on purpose, with a checksum that fits: each field is looked at.


def edited(model, edit):
    content, tensors = content_of(model)
    edit(content["model"]["attributes"], content["model"]["parameters"], tensors)
    return content, tensors


def attribute(name, value):
    return lambda attributes, parameters, tensors: attributes.__setitem__(name, value)


def parameter(name, value):
    return lambda attributes, parameters, tensors: parameters.__setitem__(name, value)


def without(name):
    return lambda attributes, parameters, tensors: attributes.pop(name)


def tensor(name, change):
    return lambda attributes, parameters, tensors: tensors.__setitem__(name, change(tensors[name]))


def with_value(at, value):
    def change(array):
        array = array.copy()
        array.reshape(-1)[at] = value
        return array

    return change


NETWORK_EDITS = {
    "n_features_in_ as text": (attribute("n_features_in_", "5"), "n_features_in_ must be an integer > 0, got 5"),
    "n_features_in_ as a bool": (attribute("n_features_in_", True), "n_features_in_ must be an integer"),
    "n_features_in_ too large": (attribute("n_features_in_", 2**62), "n_features_in_ and the shapes of coefs_"),
    "n_layers_": (attribute("n_layers_", 5), "coefs_ and n_layers_"),
    "n_outputs_": (attribute("n_outputs_", 2), "coefs_ and n_outputs_"),
    "n_iter_": (attribute("n_iter_", -1), "n_iter_ must be an integer >= 0"),
    "t_": (attribute("t_", 1.5), "t_ must be"),
    "loss_": (attribute("loss_", {"float": "nan"}), "loss_ must be a number, not NaN"),
    "loss_curve_": (attribute("loss_curve_", [1.0, "a"]), "loss_curve_ must be a list of numbers"),
    "out_activation_": (attribute("out_activation_", "relu"), "out_activation_ must be 'logistic'"),
    "coefs_ that are none": (attribute("coefs_", []), "coefs_|belong to nothing"),
    "coefs_ that are the same": (attribute("coefs_", [{"array": "coefs_.0"}] * 2), "no tensor of the name 'coefs_.0'"),
    "coefs_ transposed": (tensor("coefs_.0", lambda W: W.T.copy()), "shapes of coefs_"),
    "coefs_ of fewer rows": (tensor("coefs_.0", lambda W: W[:-1].copy()), "shapes of coefs_"),
    "coefs_ of no rows": (tensor("coefs_.0", lambda W: W[:0].copy()), "coefs_ must be"),
    "coefs_ in float32": (tensor("coefs_.0", lambda W: W.astype(np.float32)), "dtypes of coefs_"),
    "coefs_ in int64": (tensor("coefs_.0", lambda W: W.astype(np.int64)), "coefs_ must be a list of arrays of finite"),
    "NaN in coefs_": (tensor("coefs_.1", with_value(0, np.nan)), "coefs_ must be"),
    "infinity in intercepts_": (tensor("intercepts_.1", with_value(0, np.inf)), "intercepts_ must be"),
    "intercepts_ of fewer": (tensor("intercepts_.0", lambda b: b[1:].copy()), "coefs_ and intercepts_"),
    "intercepts_ that are missing": (without("intercepts_"), "there is no intercepts_"),
    "a moment of fewer": (tensor("_moments.0", lambda m: m[1:].copy()), "coefs_ and _moments"),
    "a moment with NaN": (tensor("_moments.1", with_value(0, np.nan)), "_moments must be"),
    "a learning rate below 0": (attribute("_learning_rate", -1.0), "_learning_rate must be"),
    "labels that are one": (attribute("classes_", {"texts": ["a"], "width": 1}), "classes_ and n_outputs_"),
    "labels that are equal": (attribute("classes_", {"texts": ["a", "a"], "width": 1}), "classes_ must be"),
    "labels in another order": (attribute("classes_", {"texts": ["b", "a"], "width": 1}), "classes_ must be"),
    "labels of two types": (attribute("classes_", {"objects": ["b", 1]}), "classes_ must be"),
    "labels that are lists": (attribute("classes_", {"objects": [["b"], ["c"]]}), "classes_ has"),
    "labels of 2^40 characters": (attribute("classes_", {"texts": ["a", "b"], "width": 2**40}), "characters"),
    "labels in a list": (attribute("classes_", ["a", "b"]), "classes_ must be"),
    "feature names of fewer": (attribute("feature_names_in_", {"objects": ["a"]}), "feature_names_in_ and n_features"),
    "feature names that are numbers": (attribute("feature_names_in_", {"objects": [1] * 5}), "feature_names_in_ must"),
    "an unknown attribute": (attribute("predict", 1), r"\['predict'\], which is not known"),
    "a missing curve": (without("loss_curve_"), "there is no loss_curve_"),
    "an unknown parameter": (parameter("scale", 1), r"parameters that are not known: \['scale'\]"),
    "alpha below 0": (parameter("alpha", -1.0), "'alpha' parameter"),
    "a parameter that is a model": (
        parameter("alpha", {"class": "TableEncoder", "parameters": {}, "attributes": {}}),
        "'alpha' parameter",
    ),
    "layers that are texts": (parameter("hidden_layer_sizes", ["a"]), "hidden_layer_sizes must be"),
    "an unknown activation": (parameter("activation", ["relu", "exp"]), "activation must be"),
    "activations of fewer": (attribute("_activation", {"tuple": ["relu"]}), "activation as a sequence"),
    "a dropout of 1": (parameter("dropout", [0.5, 1]), "dropout must"),
    "weights below 0": (parameter("class_weight", {"dict": [["yes", -1]]}), "class_weight must"),
    "a key twice": (parameter("class_weight", {"dict": [["yes", 1], ["yes", 2]]}), "class_weight has a key twice"),
    "a key that is a list": (parameter("class_weight", {"dict": [[["yes"], 1]]}), "class_weight has"),
    "an unknown value": (parameter("alpha", {"import": "os"}), "alpha is nothing that a model file holds"),
    "a generator that is none": (
        parameter("random_state", {"generator": "coefs_.0", "position": 1, "normal": None}),
        "random_state has a generator's state of float64",
    ),
}


@pytest.mark.parametrize(("edit", "message"), NETWORK_EDITS.values(), ids=NETWORK_EDITS)
def test_edited_field_of_a_network_is_named(tmp_path, edit, message):
    content, tensors = edited(network().fit(X, np.where(POSITIVE, "yes", "no")), edit)
    with pytest.raises(ValueError, match=rf"made\.safetensors' cannot be loaded: (?s:.*)({message})"):
        loaded_from(content, tensors, tmp_path)


@pytest.mark.parametrize("position", [-1, 625, 2**40, 1.0, True, "1"])
def test_generator_at_a_place_that_it_does_not_have_is_an_error(tmp_path, position):
    content, tensors = content_of(network(random_state=np.random.RandomState(0)))
    content["model"]["parameters"]["random_state"]["position"] = position
    with pytest.raises(ValueError, match="random_state has a generator at the position"):
        loaded_from(content, tensors, tmp_path)


def test_unfitted_model_with_an_attribute_is_an_error(tmp_path):
    content, tensors = edited(network(), attribute("loss_curve_", [1.0]))
    with pytest.raises(ValueError, match="cannot be loaded"):
        loaded_from(content, tensors, tmp_path)


ENCODER_EDITS = {
    "edges that fall": (tensor("edges_.0", lambda edges: edges[::-1].copy()), "edges_ must be"),
    "an edge that is NaN": (tensor("edges_.1", with_value(1, np.nan)), "edges_ must be"),
    "one edge": (tensor("edges_.0", lambda edges: edges[:1].copy()), "edges_ and bins"),
    "medians of fewer": (tensor("center_", lambda c: c[1:].copy()), "center_ and n_features_in_"),
    "a median that is NaN": (tensor("center_", with_value(0, np.nan)), "edges_, center_ and scale_"),
    "a scale of 0": (tensor("scale_", with_value(0, 0.0)), "edges_, center_ and scale_"),
    "a scale below 0": (tensor("scale_", with_value(0, -1.0)), "scale_ must be"),
    "indicators that are numbers": (tensor("has_missing_", lambda m: m.astype(np.int8)), "has_missing_ must be"),
    "columns of more": (attribute("n_features_in_", 2**31), "edges_ and n_features_in_"),
    "no edges": (without("edges_"), "there is no edges_"),
    "another output": (attribute("_sklearn_output_config", {"dict": [["transform", "os"]]}), "_sklearn_output_config"),
}


@pytest.mark.parametrize(("edit", "message"), ENCODER_EDITS.values(), ids=ENCODER_EDITS)
def test_edited_field_of_an_encoder_is_named(tmp_path, edit, message):
    content, tensors = edited(PiecewiseLinearEncoder(4).fit(X), edit)
    with pytest.raises(ValueError, match=rf"cannot be loaded: (?s:.*)({message})"):
        loaded_from(content, tensors, tmp_path)


def levels(name, value):
    return lambda attributes, parameters, tensors: attributes["_levels"][0]["attributes"].__setitem__(name, value)


TABLE_EDITS = {
    "a column twice": (attribute("numeric_", [0, 0, 4]), "numeric_, categorical_ and n_features_in_"),
    "a column that is not there": (attribute("numeric_", [0, 9]), "numeric_, categorical_ and n_features_in_"),
    "categories of fewer columns": (
        lambda attributes, parameters, tensors: attributes["_levels"].pop(), "categorical_ and _levels|belong to"
    ),
    "columns of texts that are networks": (
        attribute("_levels", [{"class": "BCEMLPClassifier", "parameters": {}, "attributes": {}}]), "_levels must be"
    ),
    "a category of a number of its own": (levels("number", {"dict": [["a", 7]]}), "number must be"),
    "categories of fewer": (levels("number", {"dict": [["a", 0]]}), "number and pattern_of"),
    "a row that is not there": (tensor("_levels.0.pattern_of", with_value(0, 99)), "pattern and pattern_of"),
    "a row below 0": (tensor("_levels.0.pattern_of", with_value(0, -1)), "pattern and pattern_of"),
    "a pattern of fewer columns": (tensor("_levels.1.pattern", lambda p: p[:, 1:].copy()), "pattern and indicators"),
    "a mean that is NaN": (tensor("_levels.1.mean_target", with_value(0, np.nan)), "mean_target must be"),
    "means of fewer": (tensor("_levels.1.mean_target", lambda m: m[1:].copy()), "number and mean_target"),
    "names of other targets": (attribute("_target_labels", ["a", "b"]), "_levels and _target_labels"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), TABLE_EDITS.values(), ids=TABLE_EDITS)
def test_edited_field_of_a_table_encoder_is_named(tmp_path, edit, message):
    content, tensors = edited(TableEncoder(8, random_state=1).fit(table(), POSITIVE), edit)
    with pytest.raises(ValueError, match=rf"cannot be loaded: (?s:.*)({message})"):
        loaded_from(content, tensors, tmp_path)


ENSEMBLE_EDITS = {
    "a member that is not fitted": (
        lambda attributes, parameters, tensors: attributes["estimators_"][0].__setitem__("attributes", {}),
        "estimators_ must be",
    ),
    "no members": (attribute("estimators_", []), "estimators_ must be"),
    "members of other labels": (tensor("classes_", lambda c: np.array([3, 5])), "estimators_ and classes_"),
    "rows that are not there": (tensor("held_out_.0", with_value(0, 80)), "held_out_ and oof_proba_"),
    "rows below 0": (tensor("held_out_.0", with_value(0, -1)), "held_out_ and oof_proba_"),
    "probabilities above 1": (tensor("oof_proba_", with_value(0, 1.5)), "oof_proba_ must be"),
    "an encoder that is not there": (attribute("_encoder_of", [0, 0, 2]), "encoders_ and _encoder_of"),
    "encoders of fewer members": (attribute("_encoder_of", [0, 0]), "estimators_ and _encoder_of"),
    "a temperature of 0": (attribute("temperature_", 0.0), "temperature_ must be"),
    "a score of another name": (attribute("oof_score_", {"dict": [["os", 1.0]]}), "oof_score_ must be"),
    "an encoder that is a network": (attribute("encoders_", [1]), "encoders_ must be"),
    "columns of more": (attribute("n_features_in_", 7), "encoders_ and n_features_in_"),
    "encoders that are numbers": (parameter("encoders", [1]), "encoders must be transformers"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), ENSEMBLE_EDITS.values(), ids=ENSEMBLE_EDITS)
def test_edited_field_of_an_ensemble_is_named(tmp_path, edit, message):
    encoders = [StandardScaler(), PiecewiseLinearEncoder(3)]
    model = BCEMLPEnsembleClassifier(network(), 3, encoders=encoders, random_state=0).fit(X, POSITIVE.astype(int))
    content, tensors = edited(model, edit)
    with pytest.raises(ValueError, match=rf"cannot be loaded: (?s:.*)({message})"):
        loaded_from(content, tensors, tmp_path)


PIPELINE_EDITS = {
    "steps that are lists": (parameter("steps", [["a", None]]), "steps must be pairs|belong to nothing"),
    "steps of one name": (
        parameter("steps", [{"tuple": ["a", None]}, {"tuple": ["a", None]}]), "steps must have names"
    ),
    "no steps": (parameter("steps", []), "steps must have names"),
    "a step that is a number": (parameter("steps", [{"tuple": ["a", 1]}]), "step 'a' is no estimator"),
    "a scale of 0": (tensor("steps.0.1.scale_", with_value(0, 0.0)), "with_std and scale_"),
    "a mean that is NaN": (tensor("steps.0.1.mean_", with_value(0, np.nan)), "mean_ must be"),
    "means of fewer": (tensor("steps.0.1.mean_", lambda m: m[1:].copy()), "mean_ and n_features_in_"),
}  # fmt: skip


@pytest.mark.parametrize(("edit", "message"), PIPELINE_EDITS.values(), ids=PIPELINE_EDITS)
def test_edited_field_of_a_pipeline_is_named(tmp_path, edit, message):
    content, tensors = edited(make_pipeline(StandardScaler(), network()).fit(X, POSITIVE), edit)
    with pytest.raises(ValueError, match=rf"cannot be loaded: (?s:.*)({message})"):
        loaded_from(content, tensors, tmp_path)


@pytest.mark.parametrize("name", ["os.system", "Pipeline", "LogisticRegression", "_Levels", "builtins.eval", 7, None])
def test_class_of_another_name_is_neither_imported_nor_made(tmp_path, name):
    content, tensors = content_of(network())
    content["model"]["class"] = name
    with pytest.raises(ValueError, match="cannot be loaded"):
        loaded_from(content, tensors, tmp_path)


def test_tensors_that_belong_to_nothing_are_an_error(tmp_path):
    content, tensors = content_of(network())
    with pytest.raises(ValueError, match=r"belong to nothing: \['more'\]"):
        loaded_from(content, {**tensors, "more": np.zeros(3)}, tmp_path)


JUNK = [
    None, True, 0, -1, 2, 10**30, 0.5, -0.5, 1e308, "", "relu", [], [[]], [1, 2], {}, {"float": "nan"},
    {"float": "inf"}, {"tuple": []}, {"tuple": [1, 2]}, {"dict": []}, {"dict": [["x", 1]]}, {"array": "coefs_.0"},
    {"objects": ["a", "b"]}, {"texts": ["a", "b"], "width": 1}, {"texts": ["a", "b"], "width": 2**40},
    *({"class": name, "parameters": {}, "attributes": {}} for name in ("BCEMLPClassifier", "Pipeline", "_Levels")),
    {"generator": "coefs_.0", "position": 3, "normal": None}, {"same_generator": "random_state"},
]  # fmt: skip


def places(value):
    """Every place in JSON: what holds it, and where."""
    found = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += [(value, key), *places(item)]
    return found


def edit_at_random(content, tensors, chance):
    holder, key = chance.choice(places(content["model"]))
    other, other_key = chance.choice(places(content["model"]))
    name = chance.choice(sorted(tensors))
    changes = {
        "junk": lambda: holder.__setitem__(key, copy.deepcopy(chance.choice(JUNK))),
        "gone": lambda: holder.__delitem__(key),
        "moved": lambda: holder.__setitem__(key, copy.deepcopy(other[other_key])),
        "added": lambda: isinstance(holder, dict) and holder.__setitem__("more_", chance.choice(JUNK)),
        "cast": lambda: tensors.__setitem__(name, tensors[name].astype(chance.choice("?bBhiqfd"))),
        "flat": lambda: tensors.__setitem__(name, tensors[name].reshape(-1)),
        "cut": lambda: tensors.__setitem__(name, tensors[name][:-1].copy()),
        "turned": lambda: tensors.__setitem__(name, tensors[name].T.copy()),
        "number": lambda: tensors.__setitem__(name, with_value(0, chance.choice([0, 1, 100]))(tensors[name])),
    }
    changes[chance.choice([*changes, "junk", "junk"])]()


@pytest.mark.parametrize("make", [OTHER_MODELS["pipeline"], OTHER_MODELS["ensemble with encoders"], tabular])
def test_file_edited_at_random_is_an_error_or_a_model_that_predicts(make):
    model = make()
    rows = table() if "table" in getattr(model, "named_steps", {}) else X
    original = content_of(model)
    chance = random.Random(0)
    for _ in range(100):
        content, tensors = copy.deepcopy(original)
        edit_at_random(content, tensors, chance)
        data = container.packed(content, tensors)
        try:
            loaded = files._unpacked(io.BytesIO(data), len(data))
            P = loaded.predict_proba(rows)
        except ValueError:
            continue
        assert ((P >= 0) & (P <= 1)).all()


# Old files.


OLD_FILES = sorted(DATA.glob("*.safetensors"))


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: path.stem)
def test_file_of_an_older_version_gives_the_model_of_then(path):
    """tests/data/make.py writes them; a file is never written again, as it stands for those that users have."""
    model = skbce.load(path)
    expected = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    rows = pd.DataFrame(expected["X"]) if isinstance(expected["X"], dict) else np.array(expected["X"])
    if hasattr(model, "predict"):
        assert np.asarray(model.predict(rows)).tolist() == expected["predict"]
        # Of float32: kernels for other instruction sets round otherwise.
        np.testing.assert_allclose(model.predict_proba(rows), expected["predict_proba"], rtol=0, atol=1e-6)
    else:
        np.testing.assert_allclose(model.transform(rows), expected["transform"], rtol=0, atol=1e-6)


def test_there_are_files_of_each_format():
    formats = set()
    for path in OLD_FILES:
        with open(path, "rb") as file:
            formats.add(container.unpacked(file, path.stat().st_size)[0]["format"])
        assert path.stat().st_size < 20_000
    assert formats == set(range(1, container.FORMAT + 1))
