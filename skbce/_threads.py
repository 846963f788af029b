"""BLAS held to one thread while kernels run, and given back as it was found."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_controller: ThreadpoolController | None = None
_limiter = None
_holders = 0


def _enter() -> None:
    global _controller, _holders, _limiter
    with _lock:
        if _holders == 0:
            if _controller is None:
                # A new controller looks through all loaded libraries (1 ms); a kept one limits in 11 us.
                _controller = ThreadpoolController()
            _limiter = _controller.limit(limits=1, user_api="blas")
        _holders += 1


def _leave() -> None:
    global _holders, _limiter
    with _lock:
        if _holders:
            _holders -= 1
            if _holders == 0:
                _limiter.restore_original_limits()
                _limiter = None


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread; the last of several overlapping holders restores what the first one found.

    The limit belongs to the process, so fits in several Python threads share one: counted, not nested.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _forget_holders() -> None:
    """In a forked child: the threads that held the limit, or the lock, do not exist there."""
    global _lock, _holders, _limiter
    _lock = threading.Lock()
    if _limiter is not None:
        _limiter.restore_original_limits()
    _limiter = None
    _holders = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_holders)
