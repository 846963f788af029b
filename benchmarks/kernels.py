"""How far each kernel is from what memory and BLAS can do, in the shapes that the networks of fit.py give it.

Run by `pytest benchmarks/kernels.py`, which README.md beside this file explains. Everything is on one thread but
`test_run_steps`, and has the rows of one shard of a batch, as a thread has in training.
"""

import itertools
from functools import cache

import numpy as np
import pytest
from fit import NETWORKS
from peers import ALPHA, BETA_1, BETA_2, EPSILON, LEARNING_RATE, BareProducts, Network, make_problem

from skbce._parameters import ACTIVATIONS, Layout, Workspace, aligned_rows, aligned_zeros
from skbce._threads import working
from skbce._training import SOLVERS
from skbce.kernels import doors

pytest.importorskip("pytest_benchmark")

# Rounds are long beside what the clock resolves, some 20 ns, and 300 benchmarks short enough to be waited for.
pytestmark = pytest.mark.benchmark(min_time=1e-4, max_time=0.2)

DTYPES = ("float32", "float64")
DENSITY = 0.05  # of CSR, as in grid.py
N_BATCHES = 20  # of a call of run_steps: many enough that what a call costs is no part of a step

RULE = {"learning_rate": LEARNING_RATE, "alpha": ALPHA, "momentum": 0.9, "nesterov": True}
RULE |= {"beta1": BETA_1, "beta2": BETA_2, "eps": EPSILON, "weight_decay": 0.0, "max_grad_norm": np.inf}


class Case:
    """A network in one precision, and arrays as its training has them."""

    def __init__(self, network: Network, dtype: str):
        self.name, self.network, self.dtype = f"{network.name}-{dtype}", network, np.dtype(dtype)
        self.problem = make_problem(network, dtype, threads=1)
        self.layout = Layout(network.units, network.activation)
        self.rows = -(-network.batch // self.layout.network.shards(network.batch))
        self.rng = np.random.default_rng(0)
        self.order = self.rng.permutation(len(self.problem.y))

    def zeros(self, *shape: int) -> np.ndarray:
        """As training's own arrays, on a cache line."""
        return aligned_zeros(int(np.prod(shape)), self.dtype).reshape(shape)

    def normal(self, *shape: int) -> np.ndarray:
        array = self.zeros(*shape)
        array[...] = self.rng.standard_normal(shape)
        return array

    def A(self, l: int) -> np.ndarray:  # noqa: N802
        """Of a shard; as large as no activation leaves it, for no pass takes another time for other numbers."""
        return self.normal(self.rows, self.network.units[l])

    def sparse(self) -> "Case":
        """The same network with X in CSR."""
        case = Case(Network(self.network.units, self.network.batch, N_BATCHES, 1), self.dtype.name)
        case.problem = make_problem(case.network, self.dtype.name, threads=1, density=DENSITY)
        case.layout = Layout(self.network.units, self.network.activation, sparse=True)
        return case

    def bytes(self, n_arrays: int, array: np.ndarray) -> int:
        """What a pass moves that reads or writes so many arrays like this one."""
        return n_arrays * array.size * self.dtype.itemsize


@pytest.fixture(autouse=True)
def blas_on_one_thread():
    with working():
        yield


cached_case = cache(Case)


@pytest.fixture
def case(request) -> Case:
    return cached_case(*request.param)


@pytest.fixture
def rated(benchmark, request, case):
    """`rated(function, *arguments, flops=..)`, or `bytes=..`, times the call and says what it did a second."""

    def run(function, *arguments, flops=None, bytes=None, steps=1):
        benchmark(function, *arguments)
        if benchmark.stats is None:  # --benchmark-disable
            return
        seconds = benchmark.stats.stats.median
        amount, unit = (bytes, "GB/s") if flops is None else (flops, "GFLOP/s")
        benchmark.extra_info[unit] = 1e-9 * amount / seconds
        if steps > 1:
            benchmark.extra_info["us_per_step"] = 1e6 * seconds / steps
        row = (case.name, 1e6 * seconds / steps, f"{1e-9 * amount / seconds:.2f} {unit}")
        request.node.user_properties.append(("rate", row))

    return run


def cases(layers=None):
    """Parametrise with all networks and precisions, and where asked for with the layers of each."""
    params = []
    for network, dtype in itertools.product(NETWORKS, DTYPES):
        name = f"{network.name}-{dtype}"
        if layers is None:
            params.append(pytest.param((network, dtype), id=name))
        else:
            params += [pytest.param((network, dtype), l, id=f"{name}-layer {l}") for l in layers(network.units)]
    names = ["case"] if layers is None else ["case", "l"]
    return pytest.mark.parametrize(names, params, indirect=["case"])


every_activation = pytest.mark.parametrize("f", range(len(ACTIVATIONS)), ids=ACTIVATIONS)
# kernels/activations.pxd: has_own_backward; the other backward passes multiply by a stored derivative.
every_derivative = pytest.mark.parametrize("f", range(4), ids=ACTIVATIONS[:4])


# What the machine can do: memory that is read and written by numpy, and a step's products by numpy's BLAS.


@cases()
def test_numpy_copy(rated, case):
    A, out = case.A(1), case.A(1)
    rated(np.copyto, out, A, bytes=case.bytes(2, A))


@cases()
def test_bare_products(rated, case):
    rated(BareProducts(case.problem).step, case.problem.X[: case.network.batch], flops=step_flops(case))


def step_flops(case: Case) -> int:
    """Of the products of a step: each layer's Z and dW, and dA but for the input."""
    sizes = [n_in * n_out for n_in, n_out in case.layout.shapes]
    return 2 * case.network.batch * (3 * sum(sizes) - sizes[0])


# A step's passes, in the order of the step.


@cases()
def test_gather(rated, case):
    out = case.A(0)
    table = doors.Table(case.problem.X)
    # The whole table in turn, so that rows come from where they would in an epoch.
    parts = itertools.cycle(case.order[: len(case.order) // case.rows * case.rows].reshape(-1, case.rows))
    rated(lambda: doors.gather(table, next(parts), out), bytes=case.bytes(2, out))


@cases()
def test_csr_product(rated, case):
    case = case.sparse()
    layout = Layout(case.network.units[:2], "identity", sparse=True)
    X, theta, Z = case.problem.X, case.normal(layout.n_parameters), case.A(1)
    blocks = aligned_rows(1, layout.network.workspace_size(case.rows), case.dtype)
    # The bias and a copy of Z are in it: the door gives logits.
    rated(
        doors.logits, layout.network, theta, doors.Table(X), None, case.rows, blocks, Z, 1,
        flops=2 * int(X.indptr[case.rows]) * Z.shape[1],
    )  # fmt: skip


@cases(layers=lambda units: range(len(units) - 1))
def test_layer_forward(rated, case, l):
    n_in, n_out = case.layout.shapes[l]
    A, Z = case.A(l), case.A(l + 1)
    W, b = case.normal(n_in, n_out), case.normal(n_out)
    rated(doors.layer_forward, A, W, b, False, Z, **product_work(case, A, n_out))


@cases(layers=lambda units: range(len(units) - 2))
def test_blas_forward(rated, case, l):
    A, Z = case.A(l), case.A(l + 1)
    rated(np.dot, A, case.normal(A.shape[1], Z.shape[1]), Z, **product_work(case, A, Z.shape[1]))


@cases(layers=lambda units: range(len(units) - 2))
def test_blas_gradient(rated, case, l):
    A, dZ = case.A(l), case.A(l + 1)
    rated(np.dot, A.T, dZ, case.zeros(A.shape[1], dZ.shape[1]), **product_work(case, A, dZ.shape[1]))


def product_work(case: Case, A: np.ndarray, n_out: int) -> dict[str, int]:
    """Of a product of A with n_out columns; one with a single column waits for A."""
    return {"flops": 2 * A.size * n_out} if n_out > 1 else {"bytes": case.bytes(1, A)}


@cases()
@every_activation
def test_activation(rated, case, f):
    A = case.A(1)
    rated(doors.apply_activation, f, A, bytes=case.bytes(2, A))


@cases()
def test_loss(rated, case):
    Z = case.A(-1)
    Y, losses = (Z > 0).astype(case.dtype), case.zeros(*Z.shape)
    rated(doors.output_loss, Z, Y, None, losses, bytes=case.bytes(3, Z))


@cases()
def test_loss_backward(rated, case):
    Z = case.A(-1)
    Y, dZ, db = (Z > 0).astype(case.dtype), case.zeros(*Z.shape), case.zeros(Z.shape[1])
    rated(doors.output_backward, Z, Y, None, dZ, db, bytes=case.bytes(3, Z))


@cases()
@every_derivative
def test_backward_below_one_unit(rated, case, f):
    A = case.A(-2)
    n = A.shape[1]
    dz, w, dw, db = case.normal(case.rows), case.normal(n), case.zeros(n), case.zeros(n)
    rated(doors.unit_layer_backward, f, dz, w, A, dw, db, bytes=case.bytes(2, A))


@cases()
@every_derivative
def test_activation_backward(rated, case, f):
    # dA from one column, so that no product hides the pass: dA is written, then A and dA are read, and dZ is written.
    A, dZ_before = case.A(1), case.A(1)
    dZ, W, db_before = case.normal(case.rows, 1), case.normal(A.shape[1], 1), case.zeros(A.shape[1])
    rated(doors.layer_backward, f, A, dZ, W, dZ_before, db_before, bytes=case.bytes(4, A))


@cases(layers=lambda units: range(1, len(units) - 2))
def test_layer_backward(rated, case, l):
    n_in, n_out = case.layout.shapes[l]
    A, dZ_before, db_before = case.A(l), case.A(l), case.zeros(n_in)
    f = ACTIVATIONS.index(case.network.activation)
    rated(
        doors.layer_backward, f, A, case.A(l + 1), case.normal(n_in, n_out), dZ_before, db_before,
        flops=2 * A.size * n_out,
    )  # fmt: skip


@cases(layers=lambda units: range(len(units) - 1))
def test_layer_gradient(rated, case, l):
    A, n_out = case.A(l), case.layout.units[l + 1]
    rated(doors.layer_gradient, A, case.A(l + 1), case.zeros(A.shape[1], n_out), **product_work(case, A, n_out))


# Arrays that a step of each solver reads and writes: gradient, theta and moments, and again what changes.
@cases()
@pytest.mark.parametrize(("solver", "n_arrays"), [("sgd", 5), ("adam", 7)], ids=["sgd", "adam"])
def test_update(rated, case, solver, n_arrays):
    gradient, theta = (case.normal(case.layout.n_parameters) for _ in range(2))
    moment1, moment2 = case.zeros(theta.size), case.zeros(theta.size) if solver == "adam" else None
    rule = RULE | {"solver": SOLVERS.index(solver)}
    rated(doors.descend, rule, 1000, gradient, theta, moment1, moment2, bytes=case.bytes(n_arrays, theta))


# Whole steps. Their rate counts the products alone, so that it compares with that of `test_bare_products`.


@cases()
@pytest.mark.parametrize("n_threads", range(1, min(2, doors.thread_limit()) + 1))
def test_run_steps(rated, case, n_threads):
    rated(steps(case, n_threads), flops=N_BATCHES * step_flops(case), steps=N_BATCHES)


@cases()
def test_run_steps_on_csr(rated, case):
    case = case.sparse()
    (first, *others), batch, X = case.layout.shapes, case.network.batch, case.problem.X
    flops = 2 * (2 * X.nnz * first[1] + 3 * N_BATCHES * batch * sum(n_in * n_out for n_in, n_out in others))
    rated(steps(case, 1), flops=flops, steps=N_BATCHES)


def steps(case: Case, n_threads: int):
    """A function that makes N_BATCHES steps of Adam on the next rows of the order."""
    layout, batch = case.layout, case.network.batch
    work = Workspace(layout, batch, case.dtype, n_threads)
    theta = layout.initial(np.random.RandomState(0), case.dtype)
    moments = case.zeros(layout.n_parameters), case.zeros(layout.n_parameters)
    Y, rule = case.problem.y.astype(np.uint8)[:, np.newaxis], RULE | {"solver": SOLVERS.index("adam")}
    table, stride = doors.Table(case.problem.X), N_BATCHES * batch
    starts = itertools.cycle(range(0, len(Y) - stride + 1, stride))
    t = itertools.count(0, N_BATCHES)

    def run():
        start = next(starts)
        doors.run_steps(
            layout.network, rule, next(t), theta, *moments, table, Y, None, case.order, 0.0, None, start,
            start + stride, batch, np.inf, 0.0, work.block_rows, work.blocks, work.gradients, work.partials, n_threads,
        )  # fmt: skip

    return run
