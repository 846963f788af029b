"""Fixtures of several test files."""

import os

import pytest
from threadpoolctl import threadpool_limits

from skbce import _threads
from tests.model_checks import blas_threads

# nox runs it, and need not be there.
collect_ignore = ["noxfile.py"]

# Figures without windows, also in the documents' examples.
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture
def two_blas_threads():
    """BLAS at two threads, so that a limit of one shows."""
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        assert set(before) == {2}
        yield before


@pytest.fixture
def all_threads(monkeypatch):
    """Every run takes all threads that n_threads allows, as on a machine with so many cores."""
    monkeypatch.setattr(_threads.Pace, "choose", lambda self: (self._limit, 60.0))
