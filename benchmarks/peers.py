"""The sides of a comparison, all doing the same work, and how one is timed against the others."""

import itertools
import math
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.utils import shuffle
from threadpoolctl import threadpool_limits

from skbce import BCEMLPClassifier

# Of MLPClassifier's hidden layers, and further ones of skbce, PyTorch and JAX.
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
MORE_ACTIVATIONS = ("leaky_relu", "elu", "selu", "softplus", "gelu", "silu", "mish")
# MLPClassifier's defaults, for those that do not know them.
ALPHA, LEARNING_RATE, BETA_1, BETA_2, EPSILON = 1e-4, 1e-3, 0.9, 0.999, 1e-8

# OpenBLAS's threads look for work for 2^28 cycles, on a core each, before they sleep: 130 ms at 2 GHz.
UNTIL_THREADS_SLEEP = 0.3  # seconds


@dataclass(frozen=True)
class Network:
    """A network, its batch, and the work of one measurement: batches an epoch, and timed epochs."""

    units: tuple[int, ...]
    batch: int
    n_batches: int
    n_epochs: int
    activation: str = "relu"

    @property
    def name(self) -> str:
        return "-".join(map(str, self.units))

    @property
    def n_steps(self) -> int:
        return self.n_batches * self.n_epochs

    def shortened(self) -> "Network":
        """About a twentieth of the work."""
        n_batches, n_epochs = max(2, self.n_batches // 8), max(1, self.n_epochs * 2 // 5)
        return Network(self.units, self.batch, n_batches, n_epochs, self.activation)


@dataclass(frozen=True)
class Problem:
    """A network and the rows to train it on."""

    network: Network
    X: np.ndarray | sp.csr_array
    y: np.ndarray
    threads: int


def make_problem(network: Network, dtype: str, threads: int, density: float = 1.0) -> Problem:
    """Normal features, and labels drawn with the probabilities of a random network of one tanh layer.

    Below a density of 1, so many of the features are not 0, in CSR.
    """
    rng = np.random.default_rng(0)
    n_features = network.units[0]
    X = rng.standard_normal((network.batch * network.n_batches, n_features))
    if density < 1:
        X *= rng.random(X.shape) < density
    hidden = np.tanh(X @ rng.standard_normal((n_features, 16)) / np.sqrt(n_features * density))
    logits = 2.0 * hidden @ rng.standard_normal(16)
    y = rng.random(len(X)) < 1 / (1 + np.exp(-logits))
    X = X.astype(dtype)
    return Problem(network, sp.csr_array(X) if density < 1 else X, y.astype(np.int64), threads)


class Peer(Protocol):
    """One side of the comparison: the constructor prepares, whatever that costs, and `run` is timed."""

    name: str
    library: str  # whose version matters, as it is installed
    takes_csr: bool
    activations: tuple[str, ...]

    def __init__(self, problem: Problem): ...

    def run(self, n_epochs: int) -> float:
        """Train from new parameters for so many epochs; the last one's mean loss, nats a row, or nan for none."""


class ScikitLearn:
    name = "scikit-learn"
    library = "scikit-learn"
    takes_csr = True
    activations = ACTIVATIONS
    estimator: type = MLPClassifier

    def __init__(self, problem: Problem):
        self.problem = problem

    def parameters(self) -> dict:
        """Beyond what both have."""
        return {}

    def run(self, n_epochs: int) -> float:
        network = self.problem.network
        model = self.estimator(
            **self.parameters(),
            hidden_layer_sizes=network.units[1:-1],
            activation=network.activation,
            batch_size=network.batch,
            max_iter=n_epochs,
            # Nobody stops early.
            tol=0,
            n_iter_no_change=np.inf,
            random_state=0,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations", ConvergenceWarning)
            model.fit(self.problem.X, self.problem.y)
        if model.n_iter_ != n_epochs:
            raise RuntimeError(f"{self.name} ran {model.n_iter_} epochs of {n_epochs}: the work is not equal.")
        return model.loss_


class Skbce(ScikitLearn):
    name = "skbce"
    activations = ACTIVATIONS + MORE_ACTIVATIONS
    estimator = BCEMLPClassifier

    def parameters(self) -> dict:
        return {"n_threads": self.problem.threads}


class Start:
    """The initial parameters and the order of the rows that MLPClassifier draws from `random_state=0`.

    With an activation that it does not have, skbce starts from other bounds, and so the losses differ.
    """

    def __init__(self, problem: Problem):
        network = problem.network
        self.n_rows, self.n_batches = len(problem.y), network.n_batches
        self.rng = np.random.RandomState(0)
        self.weights, self.biases = [], []
        for fan_in, fan_out in itertools.pairwise(network.units):
            bound = math.sqrt((2 if network.activation == "logistic" else 6) / (fan_in + fan_out))
            self.weights.append(self.rng.uniform(-bound, bound, (fan_in, fan_out)).astype(problem.X.dtype))
            self.biases.append(self.rng.uniform(-bound, bound, fan_out).astype(problem.X.dtype))

    def epochs(self, n_epochs: int) -> Iterator[np.ndarray]:
        """Each epoch's rows, a line a batch."""
        rows = np.arange(self.n_rows)
        for _ in range(n_epochs):
            rows = shuffle(rows, random_state=self.rng)
            yield rows.reshape(self.n_batches, -1)


class JaxEpoch:
    """A whole epoch is one compiled call, which gathers its batches and updates the parameters in place."""

    name = "JAX"
    library = "jax"
    takes_csr = False
    activations = ACTIVATIONS + MORE_ACTIVATIONS

    def __init__(self, problem: Problem):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        activate = {
            "identity": lambda Z: Z,
            "logistic": jax.nn.sigmoid,
            "gelu": partial(jax.nn.gelu, approximate=False),
        }
        name = problem.network.activation
        hidden = activate.get(name) or getattr(jax.nn, name)
        self.jax, self.problem = jax, problem
        self.X, self.y = jnp.asarray(problem.X), jnp.asarray(problem.y, problem.X.dtype)

        def loss(parameters, X, y):
            weights, biases = parameters
            A = X
            for W, b in zip(weights[:-1], biases[:-1], strict=True):
                A = hidden(A @ W + b)
            logits = (A @ weights[-1] + biases[-1])[:, 0]
            penalty = 0.5 * ALPHA / len(y) * sum(jnp.vdot(W, W) for W in weights)
            return jnp.mean(jnp.logaddexp(0.0, logits) - y * logits) + penalty

        def update(p, m, v, g, step_size):
            m = BETA_1 * m + (1 - BETA_1) * g
            v = BETA_2 * v + (1 - BETA_2) * g * g
            return p - step_size * m / (jnp.sqrt(v) + EPSILON), m, v

        def step(state, rows, X, y):
            parameters, first, second, t = state
            value, gradient = jax.value_and_grad(loss)(parameters, X[rows], y[rows])
            t = t + 1
            step_size = LEARNING_RATE * jnp.sqrt(1 - BETA_2**t) / (1 - BETA_1**t)
            updated = jax.tree.map(lambda *leaves: update(*leaves, step_size), parameters, first, second, gradient)
            return (*jax.tree.transpose(jax.tree.structure(parameters), None, updated), t), value

        def epoch(state, order, X, y):
            state, values = jax.lax.scan(lambda state, rows: step(state, rows, X, y), state, order)
            return state, values.mean()

        self.epoch = jax.jit(epoch, donate_argnums=0)

    def run(self, n_epochs: int) -> float:
        jax, start = self.jax, Start(self.problem)
        # Copies: what is donated must not be numpy's memory, nor shared.
        parameters = jax.tree.map(lambda p: jax.numpy.array(p), (start.weights, start.biases))
        first, second = (jax.tree.map(jax.numpy.zeros_like, parameters) for _ in range(2))
        state = (parameters, first, second, jax.numpy.zeros((), self.X.dtype))
        for order in start.epochs(n_epochs):
            state, value = self.epoch(state, order, self.X, self.y)
        jax.block_until_ready(state)
        return float(value)


class TorchEager:
    """`nn.Sequential` and fused Adam; batches are rows of a tensor, without a DataLoader."""

    name = "PyTorch"
    library = "torch"
    takes_csr = False
    activations = ACTIVATIONS + MORE_ACTIVATIONS

    def __init__(self, problem: Problem):
        import torch
        from torch import nn

        torch.set_num_threads(problem.threads)
        modules = (
            nn.Identity, nn.Sigmoid, nn.Tanh, nn.ReLU,
            nn.LeakyReLU, nn.ELU, nn.SELU, nn.Softplus, nn.GELU, nn.SiLU, nn.Mish,
        )  # fmt: skip
        hidden = dict(zip(ACTIVATIONS + MORE_ACTIVATIONS, modules, strict=True))
        units, X = problem.network.units, torch.from_numpy(problem.X)
        self.torch, self.problem = torch, problem
        self.X, self.y = X, torch.from_numpy(problem.y).to(X.dtype)
        self.linear = [nn.Linear(*shape, dtype=X.dtype) for shape in itertools.pairwise(units)]
        layers = [module for linear in self.linear for module in (linear, hidden[problem.network.activation]())]
        self.model = nn.Sequential(*layers[:-1])
        self.criterion = nn.BCEWithLogitsLoss()
        groups = [
            {"params": [linear.weight for linear in self.linear], "weight_decay": ALPHA / problem.network.batch},
            {"params": [linear.bias for linear in self.linear]},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=LEARNING_RATE, betas=(BETA_1, BETA_2), eps=EPSILON, fused=True)
        self.forward = self.batch_loss

    def batch_loss(self, rows):
        return self.criterion(self.model(self.X[rows])[:, 0], self.y[rows])

    def step(self, rows):
        self.optimizer.zero_grad()
        loss = self.forward(rows)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def reset(self, start: Start) -> None:
        """In place, since what is compiled knows its tensors."""
        with self.torch.no_grad():
            for linear, W, b in zip(self.linear, start.weights, start.biases, strict=True):
                linear.weight.copy_(self.torch.from_numpy(W.T))
                linear.bias.copy_(self.torch.from_numpy(b))
        for state in self.optimizer.state.values():
            for tensor in state.values():
                tensor.zero_()

    def run(self, n_epochs: int) -> float:
        start = Start(self.problem)
        self.reset(start)
        for order in start.epochs(n_epochs):
            total = self.torch.zeros((), dtype=self.X.dtype)
            for rows in self.torch.from_numpy(order):
                total += self.step(rows)
        squares = sum(float(linear.weight.detach().square().sum()) for linear in self.linear)
        return float(total) / len(order) + 0.5 * ALPHA * squares / self.problem.network.batch


class TorchCompiled(TorchEager):
    """The same, the loss and its gradient compiled."""

    name = "PyTorch, compiled"

    def __init__(self, problem: Problem):
        super().__init__(problem)
        self.torch._dynamo.reset()  # or many networks in one process exhaust its limit of recompilations
        self.forward = self.torch.compile(self.batch_loss)


class BareProducts:
    """The matrix products of a step and nothing else: what no library on the same BLAS goes below.

    Called from Python, so that for small networks the calls count.
    """

    name = "bare products"
    library = "numpy"
    takes_csr = False
    activations = ACTIVATIONS + MORE_ACTIVATIONS

    def __init__(self, problem: Problem):
        network, dtype = problem.network, problem.X.dtype
        self.X, self.network = problem.X, network
        self.weights = Start(problem).weights
        self.gradients = [np.empty_like(W) for W in self.weights]
        self.forward = [np.empty((network.batch, n), dtype) for n in network.units[1:]]
        self.backward = [np.full((network.batch, n), 1e-3, dtype) for n in network.units[1:]]

    def step(self, X: np.ndarray) -> None:
        inputs = [X, *self.forward[:-1]]
        for A, W, Z in zip(inputs, self.weights, self.forward, strict=True):
            np.matmul(A, W, out=Z)
        for l in reversed(range(len(inputs))):
            np.matmul(inputs[l].T, self.backward[l], out=self.gradients[l])
            if l > 0:
                np.matmul(self.backward[l], self.weights[l].T, out=self.backward[l - 1])

    def run(self, n_epochs: int) -> float:
        batch = self.network.batch
        for _ in range(n_epochs):
            for first in range(0, len(self.X), batch):
                self.step(self.X[first : first + batch])
        return math.nan


# By the names of the command line. The others are compared with the last.
PEERS: dict[str, type[Peer]] = {
    "scikit-learn": ScikitLearn,
    "jax": JaxEpoch,
    "pytorch": TorchEager,
    "pytorch-compiled": TorchCompiled,
    "products": BareProducts,
    "skbce": Skbce,
}


def available(names: Sequence[str], threads: int) -> tuple[list[type[Peer]], list[str]]:
    """Those that train a small network here, always with skbce; and a line for each that does not."""
    problem = make_problem(Network((4, 3, 1), batch=8, n_batches=2, n_epochs=1), "float32", threads)
    usable, missing = [], []
    for name, peer in PEERS.items():
        if name not in names and peer is not Skbce:
            continue
        try:
            peer(problem).run(1)
        except Exception as error:  # a compiler's failures are of any kind
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            missing.append(f"{peer.name} is left out: {reason}")
        else:
            usable.append(peer)
    return usable, missing


@dataclass(frozen=True)
class Measurement:
    """What one peer did on one network: microseconds a step in each round, and the final loss."""

    peer: str
    microseconds: list[float]
    loss: float

    @property
    def median(self) -> float:
        return statistics.median(self.microseconds)


class Remote:
    """A peer in a process of its own: no library meets another one's settings, or its runtime of threads."""

    def __init__(self, peer: type[Peer], threads: int):
        self.name = peer.name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(peer, threads, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def call(self, message):
        """Of a problem: prepare it. Of a number of epochs: seconds and final loss."""
        self._connection.send(message)
        answer = self._connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=5)
        self._process.terminate()


def serve(peer: type[Peer], threads: int, connection) -> None:
    """What a Remote's process does."""
    side: Peer | None = None
    with threadpool_limits(threads, user_api="blas"):
        while True:
            try:
                message = connection.recv()
            except EOFError:
                return
            try:
                if isinstance(message, Problem):
                    side, answer = peer(message), None
                    side.run(1)  # libraries' first calls are slow
                else:
                    answer = timed_run(side, message)
            except Exception as error:
                answer = error
            connection.send(answer)


@contextmanager
def started(peers: Sequence[type[Peer]], threads: int) -> Iterator[list[Remote]]:
    """All peers' processes."""
    remotes = [Remote(peer, threads) for peer in peers]
    try:
        yield remotes
    finally:
        for remote in remotes:
            remote.close()


def measure(
    problem: Problem, n_rounds: int, remotes: Sequence[Remote], between: Callable[[], object] = lambda: None
) -> list[Measurement]:
    """All peers on one problem, in turn, every other round in reverse; `between` is called around each round.

    Each begins when the threads of the one before it sleep.
    """
    network = problem.network
    microseconds = {remote.name: [] for remote in remotes}
    losses = {}
    for remote in remotes:
        remote.call(problem)
    between()
    for n in range(n_rounds):
        for remote in remotes[:: (-1) ** n]:
            time.sleep(UNTIL_THREADS_SLEEP)
            first, _ = remote.call(1)
            seconds, losses[remote.name] = remote.call(1 + network.n_epochs)
            microseconds[remote.name].append(1e6 * (seconds - first) / network.n_steps)
        between()
    return [Measurement(remote.name, microseconds[remote.name], losses[remote.name]) for remote in remotes]


def timed_run(peer: Peer, n_epochs: int) -> tuple[float, float]:
    """Seconds and final loss."""
    started = time.perf_counter()
    loss = peer.run(n_epochs)
    return time.perf_counter() - started, loss
