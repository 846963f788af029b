"""How many threads work: within the limits of process and machine, shared among fits, and only where they help.

The number never changes a result (`kernels/parallel.pxd`), so it may change at any time.
"""

import os
import sys
import threading
import time
from copy import copy
from numbers import Integral
from typing import Self

import joblib
import numpy as np
from threadpoolctl import ThreadpoolController

from skbce.kernels import doors

# Training begins on one thread, and tries all of them after so many seconds, in which many a fit on a busy machine is
# over: there a few steps of threads that wait for each other, and one of them for a core, can take 20 ms. With 6 ms in
# place of 20, fits of 25 ms take a fifth less, and beside a process that keeps a core a sixth longer. From then on it
# tries the other number after waits that triple, up to so many seconds, for so many seconds: other processes come and
# go, and threads that another library leaves waiting keep a core for 130 ms more (OpenBLAS).
_FIRST_TRIAL_AFTER = 0.006
_LONGEST_WAIT = 1.0
_TRIAL_SECONDS = 0.003
# Rows x parameters of a step from which on training begins on all threads: on one it takes 20 ms or more by itself.
_LARGE_STEP = 2.5e8
# One thread is tried for a step at least, and not before all threads had the time of so many steps: a step of 0.2 s on
# one thread each second would cost a tenth of what two do.
_STEPS_BEFORE_ONE = 20
# A trial of several threads begins with so many seconds that do not count: where they are new, or have slept, a first
# step was seen to take 4 ms in place of 25 us.
_WARM_UP_SECONDS = 0.001
_RUN_SECONDS = 0.1

_CORES_KEPT_FOR = 1.0  # seconds

# What training found out holds for the next one with steps of the same size, for as long as it holds within one.
_FINDINGS_HOLD_FOR = _LONGEST_WAIT

# A buffer of OpenBLAS 0.3.30 (32 MB on x86-64), a stack (8 MB by default), and a little.
_BYTES_OF_A_THREAD = 42 * 2**20

# All of the process's state. It is read in one go, and changed under the lock: threads may run without a GIL.
_lock = threading.Lock()
_room_found_for = 0  # threads
_blas_libraries: list | None = None
_blas_found: list[tuple] = []  # (library, threads) as the first of the calls that work now found them
_working: set["working"] = set()
_cores_found = (1, -1.0)  # and until when that holds
_openmp_used = False
_forked = False
_last_pace: tuple["Pace", float] | None = None  # and until when another goes on with it


def thread_limit(n_threads: int | None) -> int:
    """Most threads a call may use: `n_threads`, or for None what environment, affinity and container allow.

    As scikit-learn's own OpenMP code: OMP_NUM_THREADS where it is set (joblib sets it in its workers), else the cores
    that the process may use. In a task of a Dask worker, the threads that the worker owns, for its OMP_NUM_THREADS is
    what Dask found. 1 in a forked child of a process whose OpenMP has run: its threads are gone.
    """
    if n_threads is not None and not (isinstance(n_threads, Integral) and n_threads >= 1):
        raise ValueError(f"n_threads must be a positive integer or None, got {n_threads!r}.")
    if _forked:
        return 1
    if n_threads is not None:
        return int(n_threads)
    owned = _owned_by_dask_worker()
    if owned is not None:
        return min(owned, _cores())
    if os.environ.get("OMP_NUM_THREADS"):
        return doors.thread_limit()
    return min(doors.thread_limit(), _cores())


def _owned_by_dask_worker() -> int | None:
    """Threads of the Dask worker that runs this thread's task; None elsewhere, and where Dask is not imported."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_worker().state.nthreads
    except (AttributeError, ValueError):  # still being imported, or no task
        return None


def _cores() -> int:
    """Cores that the process may use, as of the last second: finding out reads files, which takes 50 us."""
    global _cores_found
    n_cores, holds_until = _cores_found
    now = time.monotonic()
    if now > holds_until:
        n_cores = joblib.cpu_count()
        with _lock:
            _cores_found = (n_cores, now + _CORES_KEPT_FOR)
    return n_cores


class working:  # noqa: N801
    """Hold BLAS to one thread, and count this call among those that share the cores.

    The BLAS limit belongs to the process, so calls that overlap share one hold: the last to end restores what the
    first one found. `needed=False` does nothing, and `calls_blas=False` counts the call alone.

    It is entered twice, `with working() as work, work:`. A Ctrl-C can strike on the way into the first exit, or within
    it; the second one then does what is left. Each step may be done again, and one that was struck has no half result
    that matters.
    """

    def __init__(self, needed: bool = True, calls_blas: bool = True):
        self._needed = needed
        self._calls_blas = calls_blas

    def __enter__(self) -> Self:
        if self._needed and self not in _working:
            try:
                with _lock:
                    if self._calls_blas and not _are_calling_blas():
                        _hold_blas()
                    _working.add(self)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._needed:
            with _lock:
                _working.discard(self)  # which a fork in between has forgotten already
                if self._calls_blas and not _are_calling_blas():
                    _release_blas()


def _are_calling_blas() -> bool:
    return any(one._calls_blas for one in _working)


def _hold_blas() -> None:
    global _blas_libraries
    if _blas_libraries is None:
        # A look through all loaded libraries takes 1 ms, so it is taken once; scipy's BLAS is loaded by now.
        _blas_libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    if not _blas_found:  # else a release was struck, and is to come
        _blas_found[:] = [(library, library.num_threads) for library in _blas_libraries]
    for library in _blas_libraries:
        _set_threads(library, 1)


def _release_blas() -> None:
    for library, n_threads in _blas_found:
        _set_threads(library, n_threads)
    _blas_found.clear()


def _set_threads(library, n_threads: int) -> None:
    """Set a BLAS's threads from whichever Python thread.

    threadpoolctl >= 3.8 lets only the first thread that sets them set them again, silently. But a fit in a worker
    thread must hold BLAS too, and the last of several fits to end need not be the first that began.
    """
    clear_controlling_thread = getattr(library, "clear_controlling_thread", None)
    if clear_controlling_thread:
        clear_controlling_thread(force=True)
    library.set_num_threads(n_threads)
    if clear_controlling_thread:
        clear_controlling_thread(force=True)


def fair_share(limit: int) -> int:
    """Threads for one of the calls that work now: the limit, divided among them."""
    global _openmp_used
    share = max(1, limit // max(1, len(_working)))
    if share > 1 and not _openmp_used:
        with _lock:
            _openmp_used = True
    return share


def _check_room(n_threads: int) -> None:
    """Ask for the memory of so many threads, once, and give it back.

    OpenBLAS takes a buffer for each thread in its first product, and where it gets none it tries again, for ever;
    libgomp ends the process where a thread gets no stack.
    """
    global _room_found_for
    if n_threads > _room_found_for:
        np.empty((n_threads - _room_found_for) * _BYTES_OF_A_THREAD, np.uint8)
        with _lock:
            _room_found_for = n_threads


class Pace:
    """Chooses between all threads and one by what each was measured to do, run by run.

    Parameters
    ----------
    limit : int
        Most threads.
    step_rows, n_parameters : int
        Of a step, and of the network; 0 where they are not known.

    Raises
    ------
    MemoryError
        Where there is no memory for what these threads need beside the arrays.
    """

    def __init__(self, limit: int, step_rows: int = 0, n_parameters: int = 0):
        _check_room(limit)
        self._limit = limit
        self._step_rows = step_rows
        self._size = (limit, step_rows, n_parameters)
        self._begins_with_all = step_rows * n_parameters >= _LARGE_STEP
        self._rows_per_second: dict[int, float] = {}
        self._in_trial = self._warms_up = False
        self._wait = _FIRST_TRIAL_AFTER
        self._last_trial = time.perf_counter()
        self._step_seconds = 0.0
        self._most = limit
        self._wait_after_fall, self._last_fall = _FIRST_TRIAL_AFTER, -np.inf

    @classmethod
    def going_on(cls, limit: int, step_rows: int, n_parameters: int) -> "Pace":
        """One that knows what the last one found out, if that had the same arguments and worked a moment ago.

        In a search, or cross-validation, a fit after the other would else begin on one thread, and on a busy machine
        take some time more for a trial of all.
        """
        last, until = _last_pace or (None, 0.0)
        if last is None or last._size != (limit, step_rows, n_parameters) or time.perf_counter() > until:
            return cls(limit, step_rows, n_parameters)
        pace = copy(last)
        pace._rows_per_second = dict(last._rows_per_second)
        return pace

    def choose(self) -> tuple[int, float]:
        """The number of threads for the next run, and its length in seconds."""
        most = self._most = fair_share(self._limit)
        if most == 1:
            return 1, _RUN_SECONDS
        pace = self._rows_per_second
        is_all_best = pace.get(most, 0) > pace.get(1, 0) if pace else self._begins_with_all
        best, other = (most, 1) if is_all_best else (1, most)
        if self._in_trial:
            self._in_trial = False
            return self._tried(other)
        now = time.perf_counter()
        least = _STEPS_BEFORE_ONE * self._step_seconds if other == 1 else 0.0
        next_trial = self._last_trial + max(self._wait, least)
        if now < next_trial:
            return best, min(_RUN_SECONDS, next_trial - now)
        self._wait = min(3 * self._wait, _LONGEST_WAIT)
        self._last_trial = now
        if other == 1:
            return self._tried(other)
        self._in_trial = self._warms_up = True
        return other, _WARM_UP_SECONDS

    def _tried(self, n_threads: int) -> tuple[int, float]:
        """A trial, whose result counts alone: a core that was taken a while ago would else count for trials to come."""
        self._rows_per_second.pop(n_threads, None)
        return n_threads, _TRIAL_SECONDS

    def _fell(self) -> None:
        """Try again soon: a stall made the better number the worse one, or another process, which will do it again."""
        now = time.perf_counter()
        is_first = now - self._last_fall > _LONGEST_WAIT
        self._wait_after_fall = _FIRST_TRIAL_AFTER if is_first else min(3 * self._wait_after_fall, _LONGEST_WAIT)
        self._wait, self._last_fall, self._last_trial = self._wait_after_fall, now, now

    def record(self, n_threads: int, rows: int, seconds: float) -> None:
        """Book a run; the latest counts half.

        Rows a second are averaged, not seconds a row: a single run that took a hundred times as long would else
        outweigh the next seven.
        """
        global _last_pace
        self._step_seconds = seconds * self._step_rows / max(rows, self._step_rows, 1)
        if self._warms_up:
            self._warms_up = False
        else:
            before = self._rows_per_second.get(n_threads, 0.0)
            pace = rows / max(seconds, 1e-9)
            self._rows_per_second[n_threads] = ((before or pace) + pace) / 2
            # The other number that `choose` compares with; of 1, all that ran lately.
            other = self._rows_per_second.get(self._most if n_threads == 1 else 1, 0.0)
            if self._rows_per_second[n_threads] < other <= before:
                self._fell()
        with _lock:
            _last_pace = (self, time.perf_counter() + _FINDINGS_HOLD_FOR)


def _forget() -> None:
    """In a forked child: the threads that held the limit or the lock, and OpenMP's, do not exist there."""
    global _forked, _lock
    _lock = threading.Lock()
    _release_blas()
    _working.clear()
    _forked = _forked or _openmp_used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
