"""The extension table and its switches; everything else is in pyproject.toml."""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

MINIMUM_CYTHON = (3, 1)

# errno and floating-point traps are what keep a compiler from vectorising sqrt and selections.
# Nothing here lets it reorder sums or drop NaN: no -ffast-math, no -march=native.
UNIX_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-semantic-interposition"]
MSVC_FLAGS = ["/O2"]

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
}
# SKBCE_DEBUG=1 builds with every check that Cython has; the test suite must pass that way too.
if os.environ.get("SKBCE_DEBUG"):
    DIRECTIVES |= {"boundscheck": True, "initializedcheck": True, "nonecheck": True}


def cythonized(extensions):
    """The extensions translated to C, outside the source tree."""
    try:
        import Cython
        from Cython.Build import cythonize
    except ImportError:
        sys.exit("skbce builds with Cython: python -m pip install 'cython>=3.1'")
    version = tuple(int(part) for part in Cython.__version__.split(".")[:2])
    if version < MINIMUM_CYTHON:
        sys.exit(
            f"skbce needs Cython 3.1 or newer, and this is {Cython.__version__}: "
            "python -m pip install --upgrade 'cython>=3.1'"
        )
    return cythonize(extensions, build_dir="build/cython", compiler_directives=DIRECTIVES)


class BuildKernels(build_ext):
    """build_ext with the flags of the compiler at hand, and a word about it where there is none."""

    def build_extensions(self):
        flags = MSVC_FLAGS if self.compiler.compiler_type == "msvc" else UNIX_FLAGS
        for extension in self.extensions:
            extension.extra_compile_args = flags
        try:
            super().build_extensions()
        except Exception as error:
            raise SystemExit(
                f"\nskbce's kernels could not be compiled: {error}\n"
                "They need a C compiler and Python's headers. Debian, Ubuntu: apt install gcc python3-dev; "
                "Fedora: dnf install gcc python3-devel; macOS: xcode-select --install; "
                "Windows: Visual Studio's C++ build tools. Then run the same pip command again.\n"
            ) from error


kernels = Path("skbce", "kernels")
setup(
    ext_modules=cythonized(
        [
            Extension(
                "skbce.kernels.doors",
                [str(kernels / "doors.pyx")],
                depends=[str(path) for path in sorted(kernels.glob("*.pxd"))],
            )
        ]
    ),
    cmdclass={"build_ext": BuildKernels},
)
