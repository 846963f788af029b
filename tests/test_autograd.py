"""The kernels' gradient and steps against two independent automatic differentiations, JAX's and PyTorch's."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from skbce._parameters import ACTIVATIONS, Layout, Workspace
from skbce._training import CostFunction, Sample, schedules
from skbce.kernels import doors
from tests import numpy_twin as twin

NETWORKS = [
    ((3, 1), "identity"),  # without hidden layers there is only one
    *(((4, 5, 1), f) for f in ACTIVATIONS[:4]),
    *(((4, 5, 3, 2), f) for f in ACTIVATIONS),
    *(((3, 4, 4, 3, 3, 1), f) for f in ACTIVATIONS[:4]),
    ((4, 5, 1), "gelu"),
    ((4, 5, 3, 2), ("relu", "mish")),
    ((3, 4, 4, 3, 3, 1), ("gelu", "tanh", "silu", "selu")),
]

# Both sides sum at most 17 terms in a layer, each right to 1e-16; nothing else tells them apart.
TOLERANCE = 1e-12


@pytest.fixture(scope="module")
def jax():
    """JAX in float64 while this module runs: without it, arrays are float32."""
    module = pytest.importorskip("jax")
    # Each function is compiled to be called a few times: what optimising it takes is not made up for.
    options = {"jax_enable_x64": True, "jax_disable_most_optimizations": True}
    before = {name: module.config.read(name) for name in options}
    for name, value in options.items():
        module.config.update(name, value)
    yield module
    for name, value in before.items():
        module.config.update(name, value)


@pytest.fixture(scope="module")
def value_and_grad(jax):
    """Cost and gradient of activations, by JAX; compiled once for each shape."""
    return {f: jax.jit(jax.value_and_grad(partial(jax_cost, jax, f))) for _, f in NETWORKS}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def jax_cost(jax, f, parameters, alpha, X, Y, weight):
    """The cost from the equations, for jax.grad."""
    np_, W, b = jax.numpy, *parameters
    functions = {
        "identity": lambda Z: Z,
        "logistic": lambda Z: 1 / (1 + np_.exp(-Z)),
        "tanh": np_.tanh,
        "relu": lambda Z: np_.where(Z > 0, Z, 0),
        "gelu": partial(jax.nn.gelu, approximate=False),
    }
    A = X
    for l, f_l in enumerate(twin.hidden(f, len(W) - 1)):
        A = (functions.get(f_l) or getattr(jax.nn, f_l))(A @ W[l] + b[l])
    Z = A @ W[-1] + b[-1]
    losses = Y * np_.logaddexp(0, -Z) + (1 - Y) * np_.logaddexp(0, Z)  # -log sigmoid(z) and -log(1 - sigmoid(z))
    penalty = alpha / 2 * sum((w**2).sum() for w in W)
    return ((weight[:, None] * losses).sum() + penalty) / weight.sum()


def torch_cost(torch, f, parameters, alpha, X, Y, weight):
    """The cost with PyTorch's own loss, as a tensor."""
    W, b = parameters
    functions = {
        "identity": lambda Z: Z,
        "logistic": torch.sigmoid,
        "softplus": partial(torch.nn.functional.softplus, threshold=40),  # beyond 20, PyTorch's is Z itself by default
    }
    A = X
    for l, f_l in enumerate(twin.hidden(f, len(W) - 1)):
        A = (functions.get(f_l) or getattr(torch.nn.functional, f_l))(A @ W[l] + b[l])
    Z = A @ W[-1] + b[-1]
    losses = torch.nn.functional.binary_cross_entropy_with_logits(Z, Y, reduction="none")
    penalty = alpha / 2 * sum((w**2).sum() for w in W)
    return ((weight[:, None] * losses).sum() + penalty) / weight.sum()


def problem(units, weighted, rows=17):
    """An example of the twin; `counted` is what each row counts, 1 where it has no weight."""
    X, Y, weight, W, b = twin.example(units, rows)
    counted = weight if weighted else np.ones(rows)
    weight = weight if weighted else None
    return SimpleNamespace(X=X, Y=Y, weight=weight, counted=counted, W=W, b=b, theta=twin.flat(W, b))


def assert_close(units, actual, expected):
    """Each W and each b, relative to its largest entry."""
    for part, part_twin in zip(twin.unflat(actual, units), twin.unflat(expected, units), strict=True):
        for array, other in zip(part, part_twin, strict=True):
            assert np.abs(array - other).max() <= TOLERANCE * np.abs(other).max()


def kernels_cost_and_gradient(p, units, f, alpha):
    return CostFunction(Layout(units, f), Sample(doors.Table(p.X), p.Y, p.weight), alpha, np.float64, 1)(p.theta)


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_cost_and_gradient_are_those_of_jax(alpha, weighted, units, f, value_and_grad):
    p = problem(units, weighted)
    cost_jax, gradient_jax = value_and_grad[f]((p.W, p.b), alpha, p.X, p.Y, p.counted)
    cost, gradient = kernels_cost_and_gradient(p, units, f, alpha)
    assert cost == pytest.approx(float(cost_jax), rel=TOLERANCE, abs=0)
    assert_close(units, gradient, twin.flat(*gradient_jax))


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_cost_and_gradient_are_those_of_torch(alpha, weighted, units, f, torch):
    p = problem(units, weighted)
    parameters = [[torch.tensor(array, requires_grad=True) for array in arrays] for arrays in (p.W, p.b)]
    data = (torch.tensor(p.X), torch.tensor(p.Y, dtype=torch.float64), torch.tensor(p.counted))
    cost_torch = torch_cost(torch, f, parameters, alpha, *data)
    cost_torch.backward()
    cost, gradient = kernels_cost_and_gradient(p, units, f, alpha)
    assert cost == pytest.approx(cost_torch.item(), rel=TOLERANCE, abs=0)
    assert_close(units, gradient, twin.flat(*([array.grad.numpy() for array in arrays] for arrays in parameters)))


def kernels_steps(p, units, f, batch_size, epochs, smoothing=0.0, rates=None, **changes):
    """Parameters after the kernels' steps, one for each batch of rows in their order; `rates` has one for each."""
    rule = {"solver": 0, "learning_rate": 0.05, "alpha": 0.3, "momentum": 0.0, "nesterov": False}
    rule |= {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "max_grad_norm": np.inf} | changes
    layout, theta = Layout(units, f), p.theta.copy()
    moments, n_steps = [np.zeros_like(theta) for _ in range(2)], 0
    work = Workspace(layout, batch_size, theta.dtype, 1)
    for epoch in range(epochs):
        n_steps += doors.run_steps(
            layout.network, rule, n_steps, theta, *moments, doors.Table(p.X), p.Y, p.weight, None, smoothing,
            None if rates is None else np.split(rates, epochs)[epoch], 0, len(p.X), batch_size, 60.0, 0.0,
            work.block_rows, work.blocks, work.gradients, work.partials, 1,
        )[3]  # fmt: skip
    assert n_steps == epochs * -(-len(p.X) // batch_size)
    return theta


def batches(p, batch_size):
    """X, Y and the weights of each batch, for two epochs."""
    for _ in range(2):
        for at in range(0, len(p.X), batch_size):
            rows = slice(at, at + batch_size)
            yield p.X[rows], p.Y[rows].astype(float), p.counted[rows]


# After 10 steps. Adam divides by the gradient's size, and so passes on the gradient's relative error, 1e-12 as above.
STEPS_TOLERANCE = 1e-11


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_adam_steps_are_kingmas_and_bas_on_jaxs_gradient(weighted, units, f, jax, value_and_grad):
    p = problem(units, weighted)
    theta = jax.numpy.asarray(p.theta)
    m, v = jax.numpy.zeros_like(theta), jax.numpy.zeros_like(theta)
    for t in range(1, 11):
        parameters = twin.unflat(np.asarray(theta), units)
        W, b = value_and_grad[f](parameters, 0.3, p.X, p.Y, p.counted)[1]
        g = jax.numpy.asarray(twin.flat(W, b))
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        # The paper adds eps to the root of v_hat; its shorter form, which is the kernels', adds it to the root of v.
        theta = theta - 0.05 * m_hat / (jax.numpy.sqrt(v_hat) + 1e-8 / np.sqrt(1 - 0.999**t))
    actual = kernels_steps(p, units, f, len(p.X), 10, solver=1)
    assert np.abs(actual - theta).max() <= STEPS_TOLERANCE * np.abs(theta).max()
    assert np.abs(actual - p.theta).max() > 0.01  # they have moved


def torch_steps(torch, p, f, batch_size, make_optimizer):
    """Parameters after two epochs of steps of one of PyTorch's optimisers."""
    parameters = [[torch.tensor(array, requires_grad=True) for array in arrays] for arrays in (p.W, p.b)]
    optimizer = make_optimizer([*parameters[0], *parameters[1]])
    for batch in batches(p, batch_size):
        optimizer.zero_grad()
        torch_cost(torch, f, parameters, 0.3, *map(torch.tensor, batch)).backward()
        optimizer.step()
    return twin.flat(*([array.detach().numpy() for array in arrays] for arrays in parameters))


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_adam_steps_are_those_of_torch(weighted, units, f, torch):
    p = problem(units, weighted)
    # PyTorch adds eps to the root of the corrected second moment, scikit-learn and the kernels to the root itself.
    # 1e-30 is nothing beside either, and still keeps 0 / 0 from a unit that relu has cut off.
    expected = torch_steps(torch, p, f, 4, lambda parameters: torch.optim.Adam(parameters, lr=0.05, eps=1e-30))
    actual = kernels_steps(p, units, f, 4, 2, solver=1, eps=1e-30)
    assert np.abs(actual - expected).max() <= STEPS_TOLERANCE * np.abs(expected).max()
    assert np.abs(actual - p.theta).max() > 0.01  # they have moved


@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_steps_are_those_of_torch(momentum, nesterov, weighted, f, torch):
    units = (4, 5, 3, 2)
    p = problem(units, weighted)
    # PyTorch's velocity leaves out the learning rate, which is the same while the rate is constant.
    expected = torch_steps(
        torch, p, f, 4, lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=momentum, nesterov=nesterov)
    )
    actual = kernels_steps(p, units, f, 4, 2, momentum=momentum, nesterov=nesterov)
    assert np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert np.abs(actual - p.theta).max() > 0.01  # they have moved


def torch_steps_with_options(
    torch, p, f, make_optimizer, decay=0.0, longest=np.inf, smoothing=0.0, make_scheduler=None, alpha=0.3
):
    """As `torch_steps` with batches of 4; also how many of the gradients were longer than `longest`.

    `decay` is taken off W before each step, for the optimisers of PyTorch that do not do so themselves.
    """
    W, b = parameters = [[torch.tensor(array, requires_grad=True) for array in arrays] for arrays in (p.W, p.b)]
    optimizer = make_optimizer(W, b)
    scheduler = make_scheduler(optimizer) if make_scheduler else None
    n_longer = 0
    for X, Y, weight in batches(p, 4):
        optimizer.zero_grad()
        Y = Y * (1 - smoothing) + smoothing / 2
        torch_cost(torch, f, parameters, alpha, *map(torch.tensor, (X, Y, weight))).backward()
        # clip_grad_norm_ adds 1e-6 to the norm before it divides.
        norm = torch.linalg.vector_norm(torch.cat([array.grad.flatten() for array in (*W, *b)]))
        with torch.no_grad():
            for array in (*W, *b):
                array.grad *= min(1.0, longest / norm.item())
            for w in W:
                w *= 1 - optimizer.param_groups[0]["lr"] * decay
        n_longer += int(norm > longest)
        optimizer.step()
        if scheduler:
            scheduler.step()
    return twin.flat(*([array.detach().numpy() for array in arrays] for arrays in parameters)), n_longer


def assert_steps_close(actual, expected, p):
    # After 10 steps they were seen to differ by 1e-15 of the largest.
    assert np.abs(actual - expected).max() <= TOLERANCE * np.abs(expected).max()
    assert np.abs(actual - p.theta).max() > 0.01  # they have moved


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_adam_steps_with_weight_decay_are_those_of_torchs_adamw(weighted, units, f, torch):
    p = problem(units, weighted)
    expected, _ = torch_steps_with_options(
        torch, p, f, alpha=0.0,
        make_optimizer=lambda W, b: torch.optim.AdamW(
            [{"params": W, "weight_decay": 0.7}, {"params": b, "weight_decay": 0.0}], lr=0.05, eps=1e-30
        ),
    )  # fmt: skip
    actual = kernels_steps(p, units, f, 4, 2, solver=1, eps=1e-30, alpha=0.0, weight_decay=0.7)
    assert_steps_close(actual, expected, p)


def less_than_the_first_norm(p, units, f):
    """A little less than the first batch's gradient is long: it is clipped, and so are some of the later ones."""
    X, Y, weight = next(batches(p, 4))
    return 0.8 * np.linalg.norm(twin.gradient_at(p.theta, units, f, X, Y, weight, 0.3))


def torch_sgd(torch, momentum=0.0, nesterov=False):
    return lambda W, b: torch.optim.SGD([*W, *b], lr=0.05, momentum=momentum, nesterov=nesterov)


@pytest.mark.parametrize("f", ACTIVATIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgd_steps_with_weight_decay_are_torchs_from_shrunk_parameters(momentum, nesterov, weighted, f, torch):
    units = (4, 5, 3, 2)
    p = problem(units, weighted)
    expected, _ = torch_steps_with_options(torch, p, f, torch_sgd(torch, momentum, nesterov), decay=0.7)
    actual = kernels_steps(p, units, f, 4, 2, momentum=momentum, nesterov=nesterov, weight_decay=0.7)
    assert_steps_close(actual, expected, p)


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("weighted", [False, True])
def test_clipped_steps_are_those_of_torch_with_l2_term_and_biases_in_the_norm(weighted, solver, units, f, torch):
    p = problem(units, weighted)
    optimizers = {
        "sgd": torch_sgd(torch, 0.9),
        "adam": lambda W, b: torch.optim.Adam([*W, *b], lr=0.05, eps=1e-30),
    }
    longest = less_than_the_first_norm(p, units, f)
    expected, n_longer = torch_steps_with_options(torch, p, f, optimizers[solver], longest=longest)
    assert n_longer > 0
    actual = kernels_steps(
        p, units, f, 4, 2, solver=("sgd", "adam").index(solver), momentum=0.9, eps=1e-30, max_grad_norm=longest
    )
    assert_steps_close(actual, expected, p)


@pytest.mark.parametrize(("units", "f"), NETWORKS)
@pytest.mark.parametrize("smoothing", [0.2, 0.999])
def test_steps_on_smoothed_labels_are_those_of_torch_on_soft_targets(smoothing, units, f, torch):
    p = problem(units, True)
    expected, _ = torch_steps_with_options(torch, p, f, torch_sgd(torch, 0.9, True), smoothing=smoothing)
    actual = kernels_steps(p, units, f, 4, 2, momentum=0.9, nesterov=True, smoothing=smoothing)
    assert_steps_close(actual, expected, p)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("f", ACTIVATIONS)
def test_steps_of_a_cosine_schedule_are_those_of_torch(f, solver, torch):
    # Without momentum: PyTorch's velocity leaves out the learning rate, and so a rate that changes rescales it.
    units = (4, 5, 3, 2)
    p = problem(units, True)
    optimizers = {"sgd": torch_sgd(torch), "adam": lambda W, b: torch.optim.Adam([*W, *b], lr=0.05, eps=1e-30)}
    expected, _ = torch_steps_with_options(
        torch, p, f, optimizers[solver],
        make_scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10),
    )  # fmt: skip
    rates = 0.05 * np.concatenate([schedules.factors("cosine", epoch, 5, 2) for epoch in range(2)])
    actual = kernels_steps(p, units, f, 4, 2, solver=("sgd", "adam").index(solver), eps=1e-30, rates=rates)
    assert_steps_close(actual, expected, p)


@pytest.mark.parametrize("f", ACTIVATIONS)
def test_adam_steps_with_all_options_at_once_are_those_of_torch(f, torch):
    units = (4, 5, 3, 2)
    p = problem(units, True)
    longest = less_than_the_first_norm(p, units, f)
    expected, n_longer = torch_steps_with_options(
        torch, p, f, longest=longest, smoothing=0.2,
        make_optimizer=lambda W, b: torch.optim.AdamW(
            [{"params": W, "weight_decay": 0.7}, {"params": b, "weight_decay": 0.0}], lr=0.05, eps=1e-30
        ),
        make_scheduler=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10),
    )  # fmt: skip
    assert n_longer > 0
    rates = 0.05 * np.concatenate([schedules.factors("cosine", epoch, 5, 2) for epoch in range(2)])
    actual = kernels_steps(
        p, units, f, 4, 2, 0.2, rates, solver=1, eps=1e-30, weight_decay=0.7, max_grad_norm=longest
    )  # fmt: skip
    assert_steps_close(actual, expected, p)
