"""input_gradient against the equations, differences of decision_function and PyTorch's autograd."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

from skbce import BCEMLPClassifier, _prediction
from skbce._parameters import ACTIVATIONS, Layout, aligned_rows
from skbce.kernels import doors
from tests import numpy_twin as twin

DTYPES = (np.float32, np.float64)

# A few epochs show what these tests claim, and do not converge.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

NETWORKS = [
    ((), "relu"),
    *(((5,), f) for f in ACTIVATIONS),
    ((1,), "gelu"),
    ((5, 4), ("relu", "mish")),
    ((5, 4), ("silu", "tanh")),
    ((6, 5, 4), ("gelu", "selu", "logistic")),
    ((6, 5, 4, 3), ("elu", "softplus", "leaky_relu", "gelu")),
]


def fitted(hidden=(5,), activation="gelu", n_outputs=1, dtype=np.float64, n_features=4, rows=60, **parameters):
    """A model after a few epochs, and its table."""
    X, Y, _, _, _ = twin.example((n_features, n_outputs), rows, dtype=dtype)
    clf = BCEMLPClassifier(hidden, activation, max_iter=3, random_state=0, learning_rate_init=0.03, **parameters)
    return clf.fit(X, Y[:, 0] if n_outputs == 1 else Y), X


def twins(clf, X, f, output):
    """Column `output` of d Z_L / d X, by the equations."""
    W, f = clf.coefs_, twin.hidden(f, len(clf.coefs_) - 1)
    Z, _ = twin.forward(X, W, clf.intercepts_, f)
    dZ = np.zeros_like(Z[-1])
    dZ[:, output] = 1
    for l in range(len(W) - 1, 0, -1):
        dZ = (dZ @ W[l].T.astype(float)) * twin.derivative(f[l - 1], Z[l - 1])
    return dZ @ W[0].T.astype(float)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize(("hidden", "f"), NETWORKS)
def test_input_gradient_is_the_twins_for_any_network_and_output(hidden, f, n_outputs, dtype):
    clf, X = fitted(hidden, f, n_outputs, dtype)
    for output in range(n_outputs):
        dX = clf.input_gradient(X, output)
        assert dX.shape == X.shape
        assert dX.dtype == dtype
        expected = twins(clf, X, f, output)
        # Five layers of sums of up to 6 products.
        assert np.abs(dX - expected).max() <= 64 * np.finfo(dtype).eps * np.abs(expected).max()


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize(("hidden", "f"), NETWORKS)
def test_input_gradient_is_the_difference_of_decision_function(hidden, f, n_outputs):
    clf, X = fitted(hidden, f, n_outputs)
    h, output = 1e-6, n_outputs - 1
    dX = clf.input_gradient(X, output)
    for j in range(X.shape[1]):
        step = h * np.eye(X.shape[1])[j]
        higher, lower = (clf.decision_function(X + s).reshape(len(X), -1)[:, output] for s in (step, -step))
        # The logits' rounding, 1e-15, over h, and their third derivatives times h^2. No unit of these lies within h of
        # relu's kink.
        np.testing.assert_allclose(dX[:, j], (higher - lower) / (2 * h), rtol=0, atol=2e-8)


@pytest.mark.parametrize("f", ["relu", "gelu", "mish", "selu", ("silu", "elu")])
def test_input_gradient_is_that_of_torch(f):
    torch = pytest.importorskip("torch")
    clf, X = fitted((6, 5), f, n_outputs=2)
    at = torch.tensor(X, requires_grad=True)
    A = at
    for l, f_l in enumerate(twin.hidden(f, 2)):
        A = getattr(torch.nn.functional, f_l)(A @ torch.tensor(clf.coefs_[l]) + torch.tensor(clf.intercepts_[l]))
    Z = A @ torch.tensor(clf.coefs_[2]) + torch.tensor(clf.intercepts_[2])
    Z[:, 1].sum().backward()
    np.testing.assert_allclose(clf.input_gradient(X, 1), at.grad.numpy(), rtol=0, atol=1e-13)  # sums of terms of size 1


TABLES = {
    "Fortran": np.asfortranarray,
    "every second row": lambda X: np.repeat(X, 2, axis=0)[::2],
    "backwards": lambda X: np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
    "list": lambda X: X.tolist(),
    "read-only": lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),
}


@pytest.mark.parametrize("kind", TABLES)
def test_input_gradient_does_not_depend_on_how_the_table_lies(kind):
    clf, X = fitted()
    np.testing.assert_allclose(clf.input_gradient(TABLES[kind](X)), clf.input_gradient(X), rtol=1e-14)  # BLAS's order


def test_input_gradient_takes_a_data_frame_and_checks_its_names():
    X = fitted()[1]
    frame = pd.DataFrame(X, columns=list("abcd"))
    named = BCEMLPClassifier((5,), "gelu", max_iter=3, random_state=0).fit(frame, X[:, 0] > 0)
    np.testing.assert_array_equal(named.input_gradient(frame), twin_like(named, X))
    with pytest.raises(ValueError, match="feature names"):
        named.input_gradient(frame.rename(columns={"a": "z"}))


def twin_like(clf, X):
    """The same without names."""
    other = BCEMLPClassifier((5,), "gelu", max_iter=3, random_state=0).fit(X, X[:, 0] > 0)
    np.testing.assert_array_equal(other.coefs_[0], clf.coefs_[0])
    return other.input_gradient(X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("other", DTYPES)
def test_input_gradient_has_the_models_precision_whatever_that_of_the_table(other, dtype):
    clf, X = fitted(dtype=dtype)
    dX = clf.input_gradient(X.astype(np.float32).astype(other))
    assert dX.dtype == dtype
    np.testing.assert_array_equal(dX, clf.input_gradient(X.astype(np.float32).astype(dtype)))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_number_of_threads_gives_the_same_bits(dtype, n_threads):
    clf, _ = fitted((32, 16), ("gelu", "relu"), dtype=dtype, n_features=20)
    X = np.random.default_rng(1).standard_normal((20000, 20)).astype(dtype)
    layout = clf._layout()
    assert 2 * len(X) * layout.n_parameters // _prediction._THREAD_WORK > 3  # there is work for them
    np.testing.assert_array_equal(
        clf.set_params(n_threads=n_threads).input_gradient(X), clf.set_params(n_threads=1).input_gradient(X)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("f", [("gelu", "relu", "mish"), ("tanh", "silu", "relu"), ("relu", "relu", "relu")])
def test_blocks_give_the_whole_and_touch_nothing_around(f, dtype):
    units = (4, 7, 5, 3, 2)
    X, _, _, W, b = twin.example(units, 23, dtype=dtype)
    layout, theta = Layout(units, f), twin.flat(W, b)
    results = []
    for size in (1, 6, 23, 40):
        for n_threads in (1, 2):
            blocks = aligned_rows(n_threads, layout.network.workspace_size(size), dtype)
            blocks[...] = np.nan
            around = np.full((25, 4), 7, dtype)
            doors.input_gradients(layout.network, theta, doors.Table(X), 1, size, blocks, around[1:-1], n_threads)
            assert (around[[0, -1]] == 7).all()
            results.append(around[1:-1])
    scale = np.abs(results[0]).max()
    for dX in results:
        assert np.abs(dX - results[0]).max() <= 16 * np.finfo(dtype).eps * scale  # BLAS adds by the number of rows


@pytest.mark.parametrize(
    "make", [sp.csr_matrix, sp.csc_array, lambda X: pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(X))]
)
def test_sparse_table_raises_an_error_that_says_so(make):
    clf, X = fitted()
    with pytest.raises(ValueError, match="input_gradient needs a dense X"):
        clf.input_gradient(make(X))


@pytest.mark.parametrize("output", [-1, 2, 1.0, None, "0", True])
def test_output_that_is_no_column_raises_an_error_that_names_it(output):
    clf, X = fitted(n_outputs=2)
    with pytest.raises(ValueError, match="output must be an integer from 0 to 1, got"):
        clf.input_gradient(X, output)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X: X[:, 1:], "X has 3 features"),
        (lambda X: X[0], "Expected 2D array"),
        (lambda X: X * np.nan, "contains NaN"),
        (lambda X: X[:0], "Found array with 0 sample"),
    ],
)
def test_input_gradient_rejects_what_predict_rejects(spoil, message):
    clf, X = fitted()
    for method in (clf.predict, clf.input_gradient):
        with pytest.raises(ValueError, match=message):
            method(spoil(X))
    with pytest.raises(NotFittedError):
        BCEMLPClassifier().input_gradient(X)


def test_input_gradient_uses_all_units_of_a_model_with_dropout_and_edited_parameters():
    clf, X = fitted((6, 5), "relu", dropout=0.5)
    clf.coefs_[0] = clf.coefs_[0] * 2
    np.testing.assert_allclose(clf.input_gradient(X), twins(clf, X, "relu", 0), rtol=0, atol=1e-13)  # sums as above
