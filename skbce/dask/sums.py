"""Sums over the partitions in an order of their own, whichever workers they lie on.

The partitions are the leaves of a binary tree: a node lo .. hi is the sum of lo .. mid and mid .. hi. A worker adds up
the nodes whose leaves it has all; the client adds up the rest. So the sum is the same to the last bit, and of
partitions that lie together little more than one sum travels.
"""

from collections.abc import Callable, Collection, Sequence

import distributed
import numpy as np

from skbce._threads import working
from skbce.dask.cluster import Cluster

Nodes = dict[tuple[int, int], np.ndarray]


def nodes_of(n: int, members: Collection[int], leaf: Callable[[int], np.ndarray]) -> Nodes:
    """The largest nodes of the tree over 0 .. n-1 that have only members below, each as its sum."""
    ordered = np.array(sorted(members))

    def below(lo: int, hi: int) -> Nodes:
        if np.searchsorted(ordered, lo) == np.searchsorted(ordered, hi):
            return {}
        if hi - lo == 1:
            return {(lo, hi): leaf(lo)}
        mid = (lo + hi) // 2
        return joined(lo, hi, below(lo, mid) | below(mid, hi))

    return below(0, n)


def joined(lo: int, hi: int, nodes: Nodes) -> Nodes:
    """The nodes, or the one above where both of its halves are there."""
    mid = (lo + hi) // 2
    if (lo, mid) in nodes and (mid, hi) in nodes:
        return {(lo, hi): nodes[lo, mid] + nodes[mid, hi]}
    return nodes


def total_of(n: int, nodes: Nodes) -> np.ndarray:
    """The sum over all leaves, of nodes that cover them."""

    def sum_of(lo: int, hi: int) -> np.ndarray:
        if (lo, hi) in nodes:
            return nodes[lo, hi]
        mid = (lo + hi) // 2
        return sum_of(lo, mid) + sum_of(mid, hi)

    return sum_of(0, n)


class Blocks:
    """The partitions' blocks on the workers, and sums over them.

    Parameters
    ----------
    cluster : Cluster
    futures : sequence of Future
        The blocks, in the order of the partitions.
    """

    def __init__(self, cluster: Cluster, futures: Sequence[distributed.Future]):
        self._cluster = cluster
        self._futures = list(futures)
        self._groups: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._futures)

    def sum(self, function: Callable[..., np.ndarray], *args) -> np.ndarray:
        """The sum of function(block, number, *args) over the blocks: a call on each worker that has some."""
        if not self._groups:
            for number, worker in enumerate(self._cluster.holders(self._futures)):
                self._groups.setdefault(worker, []).append(number)
        calls = [
            (worker, (len(self), numbers, [self._futures[k] for k in numbers], function, args))
            for worker, numbers in self._groups.items()
        ]
        results = self._cluster.gathered(self._cluster.called(_nodes_here, calls))
        nodes: Nodes = {}
        for worker, (at, of_group) in zip(list(self._groups), results, strict=True):
            nodes |= of_group
            if at != worker:
                self._groups = {}  # it is gone, and its blocks lie elsewhere by now
        return total_of(len(self), nodes)


def _nodes_here(n: int, numbers: list[int], blocks: list, function, args: tuple) -> tuple[str, Nodes]:
    """On a worker: the address, and the nodes of its blocks."""
    of_number = dict(zip(numbers, blocks, strict=True))
    with working() as work, work:
        nodes = nodes_of(n, numbers, lambda k: function(of_number[k], k, *args))
    return distributed.get_worker().address, nodes
