"""What skbce runs on."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata, version

from threadpoolctl import threadpool_info

import skbce.kernels
from skbce._threads import thread_limit
from skbce._version import __version__


def config() -> dict[str, str]:
    """Versions, instruction set, threads and BLAS, by name."""
    blas = {
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture', 'unknown')})"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }
    return {
        "skbce": __version__,
        "scikit-learn": version("scikit-learn"),
        "numpy": version("numpy"),
        "scipy": version("scipy"),
        "Python": platform.python_version(),
        "instruction set": skbce.kernels.LEVEL,
        "threads": str(thread_limit(None)),
        "BLAS": ", ".join(sorted(blas)) or "unknown",
    }


@cache
def documentation_url() -> str:
    """Where the documentation is, as the package's metadata say; empty where they do not."""
    try:
        urls = metadata("skbce").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    return next((url.partition(",")[2].strip() for url in urls if url.startswith("Documentation,")), "")


def show_config() -> None:
    """Print versions, the instruction set of the kernels, the threads that fit may use, and BLAS.

    SKBCE_SIMD forces an instruction set (one of `skbce.kernels.LEVELS`), OMP_NUM_THREADS the threads;
    SKBCE_MOVE_THREADS=0 leaves these on the processors where Linux wakes them.

    Examples
    --------
    >>> import skbce
    >>> skbce.show_config()  # doctest: +ELLIPSIS
    skbce            ...
    """
    for name, value in config().items():
        print(f"{name:<16} {value}")
