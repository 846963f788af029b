"""Work sent to the workers of a Dask cluster and waited for, with words for what can go wrong there."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import dask
import distributed
from distributed.client import futures_of
from distributed.scheduler import KilledWorker

from skbce._threads import thread_limit

# A look at the cluster costs a message, so there is none for work that is done sooner.
_SECONDS_BETWEEN_LOOKS = 1.0

# Workers that died come back, where something restarts them, within seconds; a queue of jobs may take longer.
PATIENCE = 30.0


class ClusterError(RuntimeError):
    """The cluster cannot go on: its scheduler is gone, it has no workers, or they die of this work."""


class Cluster:
    """The workers that a client knows.

    Parameters
    ----------
    client : distributed.Client or None
        None is the current one.

    Raises
    ------
    ValueError
        Without a client, and for one that is asynchronous or not one of Dask's.
    ClusterError
        Where there are no workers.
    """

    def __init__(self, client: distributed.Client | None):
        if client is None:
            try:
                client = distributed.get_client()
            except ValueError:
                raise ValueError(
                    "There is no Dask client: start one with distributed.Client(...), or give client=."
                ) from None
        if not isinstance(client, distributed.Client):
            raise ValueError(f"client must be a distributed.Client or None, got {client!r}.")
        if client.asynchronous:
            raise ValueError("client is asynchronous, which fit and score cannot wait for: Client(asynchronous=False).")
        self.client = client
        self.workers = sorted(self._nthreads())
        if not self.workers:
            raise ClusterError(
                f"The Dask cluster at {self._address()} has no workers. Start some, or wait for them: "
                "client.wait_for_workers(1)."
            )

    def computed(self, parts: Sequence[Any]) -> list[distributed.Future]:
        """Futures of delayed objects, where their data lie; neighbours together where nothing lies anywhere yet."""
        known = futures_of(list(parts))
        if any(future.client.scheduler is not self.client.scheduler for future in known):
            raise ValueError("X, y or weights are persisted on another cluster than that of client.")
        if known:
            return self.client.compute(list(parts))
        futures: list[distributed.Future] = []
        n_workers = len(self.workers)
        for k, worker in enumerate(self.workers):
            run = parts[len(parts) * k // n_workers : len(parts) * (k + 1) // n_workers]
            if run:
                futures += self.client.compute(list(run), workers=[worker], allow_other_workers=True)
        return futures

    def called(self, function: Callable, calls: Sequence[tuple[str, tuple]]) -> list[distributed.Future]:
        """Futures of function(*args) for each (worker, args): on that worker, or another one should it be gone.

        One message for all: of 64 calls, one by one, each costs the scheduler twice as long.
        """
        later, delayed = dask.delayed(function, pure=False, traverse=False), []
        for worker, args in calls:
            with dask.annotate(workers=[worker], allow_other_workers=True):
                delayed.append(later(*args))
        # theta goes with them, and Dask would warn of a large one each time.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return self.client.compute(delayed, optimize_graph=False)

    def holders(self, futures: Sequence[distributed.Future]) -> list[str]:
        """The worker that each future's data lie on."""
        try:
            who_has = self.client.who_has(futures)
        except (OSError, TimeoutError) as error:
            raise self._gone() from error
        return [min(who_has.get(future.key) or self.workers[:1]) for future in futures]

    def gathered(self, futures: Sequence[distributed.Future]) -> list[Any]:
        """Their results, once all are there.

        Raises
        ------
        ClusterError
            Where they will never be. An error of the work itself is raised as it is.
        """
        futures, alone_since = list(futures), None
        try:
            while True:
                try:
                    with self.client.as_current():
                        distributed.wait(futures, timeout=_SECONDS_BETWEEN_LOOKS)
                    break
                except TimeoutError:
                    alone_since = self._still_alone(alone_since)
            for future in futures:
                if future.status == "error":  # the first partition's, where several have one
                    future.result()
            return self.client.gather(futures)
        except KilledWorker as error:
            raise ClusterError(
                f"Workers died again and again of the same work, of too little memory, say. Dask says: {error}"
            ) from error
        except (distributed.CancelledError, OSError) as error:
            if self.client.status == "running" and not isinstance(error, OSError):
                raise ClusterError(
                    "Dask gave up work that it was to do, or lost data that it cannot compute again (of "
                    f"client.scatter, say). Dask says: {error}"
                ) from error
            raise self._gone() from error

    def _still_alone(self, since: float | None) -> float | None:
        """Since when there are no workers; None where there are some."""
        try:
            if self._nthreads():
                return None
        except (OSError, TimeoutError) as error:
            raise self._gone() from error
        since = time.monotonic() if since is None else since
        if time.monotonic() - since > PATIENCE:
            raise ClusterError(
                f"All workers of the Dask cluster at {self._address()} are gone, and none came back within "
                f"{PATIENCE:g} seconds."
            )
        return since

    def _nthreads(self) -> dict[str, int]:
        if self.client.status != "running":
            raise self._gone()
        try:
            return self.client.nthreads()
        except (OSError, TimeoutError) as error:
            raise self._gone() from error

    def _address(self) -> str:
        scheduler = getattr(self.client, "scheduler", None)
        return getattr(scheduler, "address", "an unknown address")

    def _gone(self) -> ClusterError:
        return ClusterError(f"The scheduler of the Dask cluster at {self._address()} is gone, or does not answer.")


def threads_of_this_worker(n_threads: int | None) -> int:
    """Threads for one call on the worker that runs it: all that it owns, or n_threads where that is fewer."""
    owned = thread_limit(None)
    return owned if n_threads is None else min(owned, n_threads)
