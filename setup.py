"""The extension table and its switches; everything else is in pyproject.toml.

Switches are environment variables: SKBCE_DEBUG=1 adds Cython's checks and optimises little, SKBCE_NO_OPENMP=1 builds
without OpenMP, SKBCE_LEVELS=x86_64_v2,x86_64_v4 names the instruction sets to build for (default: all that the compiler
knows), SKBCE_ABI3=1 builds with the limited API of CPython 3.11.
SKBCE_SANITIZE=address,undefined (or thread) builds for gcc's and clang's sanitizers, SKBCE_SANITIZE=valgrind for it:
tests/sanitizers/plugin.py is for pytest with such a build.
"""

import os
import platform
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

MINIMUM_CYTHON = (3, 1)
KERNELS = Path("skbce", "kernels")

# One source, compiled once for each instruction set; kernels/__init__.py picks one at import. Elsewhere than on
# x86-64, and where the compiler knows none of these, there is only the compiler's default.
LEVEL_FLAGS = {
    "x86_64_v2": ["-march=x86-64-v2"],
    "x86_64_v3": ["-march=x86-64-v3"],
    "x86_64_v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "baseline": [],
}

# errno and floating-point traps are what keep a compiler from vectorising sqrt and selections.
# Nothing here lets it reorder sums or drop NaN: no -ffast-math, no -march=native.
UNIX_FLAGS = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fno-semantic-interposition", "-g0"]
MSVC_FLAGS = ["/O2"]

# Reports are read line by line: little is inlined or moved, and callers can be told.
SANITIZE = os.environ.get("SKBCE_SANITIZE", "")
SANITIZE_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer"] if SANITIZE else []
SANITIZE_LINK_FLAGS = [f"-fsanitize={SANITIZE}"] if SANITIZE not in ("", "valgrind") else []

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
}
DEBUG = bool(os.environ.get("SKBCE_DEBUG"))
if DEBUG:
    DIRECTIVES |= {"boundscheck": True, "initializedcheck": True, "nonecheck": True}
# The checks are the same ones with less optimisation, which is most of a build's time.
DEBUG_FLAGS = ["-O1"] if DEBUG else []

# One build for every CPython from 3.11 on that has a GIL. Calls through the limited API take longer, which
# docs/reliability/versions.md has measured: by default a build is for the Python at hand.
ABI3 = bool(os.environ.get("SKBCE_ABI3")) and not sysconfig.get_config_var("Py_GIL_DISABLED")
LIMITED = {"py_limited_api": True, "define_macros": [("Py_LIMITED_API", "0x030B0000")]} if ABI3 else {}


def cythonized(extension: Extension) -> list[str]:
    """The extension's source translated to C, in a folder of its own: all levels share one source."""
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
    # The folder carries the switch: Cython translates again only what is older than its source.
    folder = Path("build", "cython-debug" if DEBUG else "cython", extension.name)
    return cythonize([extension], build_dir=str(folder), compiler_directives=DIRECTIVES)[0].sources


class BuildKernels(build_ext):
    """build_ext with the flags of the compiler at hand, and a word about it where there is none."""

    translation = threading.Lock()

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()
        self.force = True  # else a change of the switches above would not be seen

    def build_extensions(self):
        try:
            self.check_compiles([], "#include <Python.h>\nint main(void) { return 0; }")
        except CompileError as error:
            sys.exit(
                f"\nskbce's kernels need a C compiler and Python's headers: {error}\n"
                "Debian, Ubuntu: apt install gcc python3-dev; Fedora: dnf install gcc python3-devel; "
                "macOS: xcode-select --install; Windows: Visual Studio's C++ build tools. "
                "Then run the same pip command again.\n"
            )
        openmp_compile, openmp_link = self.openmp_flags()
        for extension in self.extensions:
            level = extension.name.rpartition(".doors_")[2]
            extension.extra_compile_args = [*self.flags(), *LEVEL_FLAGS.get(level, []), *openmp_compile]
            extension.extra_link_args = [*openmp_link, *SANITIZE_LINK_FLAGS]
        self.extensions = [extension for extension in self.extensions if self.is_possible(extension)]
        if any(".doors_x86" in extension.name for extension in self.extensions):
            self.extensions = [extension for extension in self.extensions if "baseline" not in extension.name]
        super().build_extensions()

    def build_extension(self, extension: Extension) -> None:
        # Called in several threads: while some wait for the compiler, one translates. Cython is not for more at once.
        with self.translation:
            extension.sources = cythonized(extension)
        super().build_extension(extension)

    def flags(self) -> list[str]:
        if self.compiler.compiler_type == "msvc":
            return MSVC_FLAGS
        return [*UNIX_FLAGS, *DEBUG_FLAGS, *SANITIZE_FLAGS, *SANITIZE_LINK_FLAGS]  # the last -O and -g count

    def check_compiles(self, flags: list[str], source: str, link_flags: list[str] | None = None) -> None:
        """Compile a small program, and link it where link_flags are given; raises what the compiler raises."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "check.c")
            path.write_text(source)
            objects = self.compiler.compile(
                [str(path)], output_dir=folder, include_dirs=self.include_dirs, extra_postargs=flags
            )
            if link_flags is not None:
                self.compiler.link_executable(objects, str(Path(folder, "check")), extra_postargs=link_flags)

    def is_possible(self, extension: Extension) -> bool:
        """Whether the compiler knows the extension's instruction set."""
        if not LEVEL_FLAGS.get(extension.name.rpartition(".doors_")[2]):
            return True
        try:
            self.check_compiles(extension.extra_compile_args, "int main(void) { return 0; }")
        except (CompileError, LinkError):
            print(f"skbce: this compiler cannot build {extension.name}; left out")
            return False
        return True

    def openmp_flags(self) -> tuple[list[str], list[str]]:
        """Flags to compile and to link with OpenMP; none, and one thread, where the compiler has no OpenMP."""
        if os.environ.get("SKBCE_NO_OPENMP"):
            return [], []
        flags = (["/openmp"], []) if self.compiler.compiler_type == "msvc" else (["-fopenmp"], ["-fopenmp"])
        try:
            self.check_compiles(
                flags[0], "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 0; }", flags[1]
            )
        except (CompileError, LinkError):
            print("skbce: this compiler has no OpenMP; the kernels will run on one thread")
            return [], []
        return flags


def level_names() -> list[str]:
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.platform == "win32":
        return ["baseline"]
    wanted = os.environ.get("SKBCE_LEVELS", "x86_64_v2,x86_64_v3,x86_64_v4").split(",")
    # The baseline is for a compiler that knows none of them.
    return [level for level in LEVEL_FLAGS if level in wanted or level == "baseline"]


def doors(level: str) -> Extension:
    """All kernels and their doors, for one instruction set."""
    depends = [str(path) for path in sorted((*KERNELS.glob("*.pxd"), *KERNELS.glob("*.h")))]
    return Extension(
        f"skbce.kernels.doors_{level}",
        [str(KERNELS / "doors.pyx")],
        include_dirs=[str(KERNELS)],
        depends=depends,
        **LIMITED,
    )


setup(
    ext_modules=[Extension("skbce.kernels.cpu", [str(KERNELS / "cpu.pyx")], **LIMITED), *map(doors, level_names())],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if ABI3 else {},
    cmdclass={"build_ext": BuildKernels},
)
