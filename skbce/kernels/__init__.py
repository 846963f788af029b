"""The compiled kernels. `doors` is what the rest of skbce calls: the build for the best instruction set at hand."""

import importlib
import importlib.util
import os

_NOT_COMPILED = "skbce's kernels are not compiled for this Python. In the source folder: python -m pip install -e ."


def _runnable() -> list[str]:
    """Instruction sets that kernels were built for and that this processor runs, the best first."""
    try:
        cpu = importlib.import_module("skbce.kernels.cpu")
    except ModuleNotFoundError as error:
        raise ImportError(_NOT_COMPILED) from error
    built = [name for name in cpu.levels() if importlib.util.find_spec(f"skbce.kernels.doors_{name}")]
    if not built:
        raise ImportError(f"{_NOT_COMPILED} (Nothing is built for any of {cpu.levels()}, which this processor runs.)")
    return built


def _chosen(wanted: str | None) -> str:
    """The instruction set to use: the best, or the one that SKBCE_SIMD names."""
    if wanted and wanted not in LEVELS:
        raise ImportError(f"SKBCE_SIMD={wanted} is not one of {LEVELS}, which are built and run on this processor.")
    return wanted or LEVELS[0]


LEVELS = _runnable()
LEVEL = _chosen(os.environ.get("SKBCE_SIMD"))
doors = importlib.import_module(f"skbce.kernels.doors_{LEVEL}")
