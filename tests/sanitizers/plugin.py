"""For pytest, in a build for a sanitizer: what would hide an access that is wrong is put out of its way.

SKBCE_PLAIN_BLAS names the library of plain_blas.c: the kernels then call it in place of SciPy's BLAS, which is compiled
without a sanitizer.
"""

import ctypes
import os

import numpy as np

_kept = []  # a capsule points to its name, and into its library


def _use_plain_blas(path: str) -> None:
    """Put the library's functions where Cython looks them up; the kernels must not be imported yet."""
    import scipy.linalg.cython_blas

    library = ctypes.CDLL(path)
    name_of, new = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_New
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    capsules = scipy.linalg.cython_blas.__pyx_capi__
    for name in ("sgemm", "dgemm", "sgemv", "dgemv"):
        signature = name_of(capsules[name])
        capsules[name] = new(ctypes.cast(getattr(library, name), ctypes.c_void_p), signature, None)
        _kept.append((library, signature))


def _exact_zeros(size, dtype, make=np.zeros):
    return make(size, dtype)


def _exact_rows(n_rows, size, dtype, make=np.zeros):
    return make((n_rows, size), dtype)


def pytest_load_initial_conftests():
    """Before any test, and skbce, is imported."""
    path = os.environ.get("SKBCE_PLAIN_BLAS")
    if path:
        _use_plain_blas(path)
    from skbce import _parameters

    # Buffers end where their memory ends: past it there is no rest of a cache line. The code is exchanged and not the
    # functions, as other modules have taken these by name.
    _parameters.aligned_zeros.__code__ = _exact_zeros.__code__
    _parameters.aligned_rows.__code__ = _exact_rows.__code__


def pytest_report_header():
    from skbce.kernels import doors

    return f"skbce: {doors.__file__}; BLAS: {os.environ.get('SKBCE_PLAIN_BLAS') or 'of SciPy'}"
