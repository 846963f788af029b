"""Build the kernels for a sanitizer and run tests: `python tests/sanitizers/run.py address -k products`.

address is AddressSanitizer with UndefinedBehaviorSanitizer, thread is ThreadSanitizer, valgrind is its memcheck. What
follows is for pytest; without it there is a choice of tests. leaks is LeakSanitizer, on calls of its own
(tests/sanitizers/leaks.py). Ends with 1 where a test fails or there is a report.
The tree is copied first: its own build stays as it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
BUILT_FROM = ("skbce", "tests", "docs", "README.md", "LICENSE", "setup.py", "pyproject.toml")

SWITCHES = {
    "address": "address,undefined,float-cast-overflow", "thread": "thread", "valgrind": "valgrind",
    "leaks": "address",  # LeakSanitizer comes with it
}  # fmt: skip
# LLVM's OpenMP tells ThreadSanitizer about its barriers, through archer; gcc's does not.
COMPILER = {"address": "gcc", "thread": "clang", "valgrind": "gcc", "leaks": "gcc"}

TESTS = {
    "address": [
        f"tests/test_{name}.py"
        for name in (
            "kernels", "encoder", "ensemble", "backprop", "hostile_input", "elementary", "activations", "threads",
            "dropout",
        )
    ],
    "thread": [
        "tests/test_threads.py", "tests/test_ensemble.py", "tests/test_pauses.py", "-k",
        "thread or at_once or (bits and not handlers) or within_a_prediction or within_an_encoding"
        " or step_of_partial_fit or steps_of_all_members or (last_whole_one and (1-1 or 1-2))",
    ],
    # It takes a hundred times as long.
    "valgrind": [
        "tests/test_kernels.py", "tests/test_hostile_input.py", "tests/test_inputs.py", "-k",
        "any_activation or below_one or (twins_for_any_table and not steps) or shuffle_leaves or look_up_and"
        " or relu_has_the_bits or product_with_one_unit or gathered_rows or predictions_of_one_row or relu_would_hide"
        " or (products_of_any_shape and (8-17 or 19-65 or 260-33))",
    ],
    "leaks": [],
}  # fmt: skip


def levels(tool: str) -> list[str]:
    """Instruction sets to build for, each with tests of its own; valgrind knows none of AVX-512."""
    named = os.environ.get("SKBCE_LEVELS")
    if named:
        return named.split(",")
    cpu = Path("/proc/cpuinfo")
    has_avx512 = cpu.exists() and "avx512vl" in cpu.read_text()
    return ["x86_64_v3", "x86_64_v4"] if tool == "address" and has_avx512 else ["x86_64_v3"]


def copy_tree(folder: Path) -> None:
    """The sources alone, without what was built from them."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    for name in BUILT_FROM:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)


def build(tool: str, folder: Path) -> None:
    """The kernels, and BLAS as loops."""
    environment = {
        **os.environ, "CC": COMPILER[tool], "SKBCE_SANITIZE": SWITCHES[tool], "SKBCE_LEVELS": ",".join(levels(tool)),
    }  # fmt: skip
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    instrumented = [] if tool == "valgrind" else [f"-fsanitize={SWITCHES[tool]}"]
    command = [COMPILER[tool], "-shared", "-fPIC", "-O1", "-g", *instrumented, "tests/sanitizers/plain_blas.c"]
    subprocess.run([*command, "-o", "plain_blas.so"], cwd=folder, check=True)


def gcc_file(name: str) -> str:
    return subprocess.run(
        ["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()


def archer() -> str:
    found = sorted(str(path) for path in Path("/usr/lib").glob("**/libarcher.so"))
    if not found:
        sys.exit("ThreadSanitizer needs archer, which comes with LLVM's OpenMP (Debian: apt install clang libomp-dev)")
    return found[-1]


def variables(tool: str, folder: Path) -> dict[str, str]:
    """Of the environment. Reports go to files named report*: pytest would keep what tests print."""
    log = f"log_path={folder / 'report'}"
    common = {
        "PYTHONPATH": str(folder),
        "SKBCE_PLAIN_BLAS": str(folder / "plain_blas.so"),
        # Each object has memory of its own, with nothing valid beside it.
        "PYTHONMALLOC": "malloc",
        "OMP_NUM_THREADS": "2",
    }
    if tool in ("address", "leaks"):
        # Python's own leaks at its end are many.
        leaks = f"detect_leaks={int(tool == 'leaks')}:leak_check_at_exit=0"
        options = f"{log}:{leaks}:allocator_may_return_null=1"
        return common | {
            "ASAN_OPTIONS": options,
            "UBSAN_OPTIONS": f"{log}:halt_on_error=1:print_stacktrace=1",
            # libstdc++ too: else libasan does not find what it throws.
            "LD_PRELOAD": f"{gcc_file('libasan.so')} {gcc_file('libstdc++.so')}",
        }
    if tool == "thread":
        return common | {
            "OMP_TOOL_LIBRARIES": archer(),
            "TSAN_OPTIONS": f"{log}:ignore_noninstrumented_modules=1:die_after_fork=0",
            "LD_PRELOAD": gcc_file("libtsan.so"),
        }
    return common


def command(tool: str, folder: Path, arguments: list[str]) -> list[str]:
    if tool == "leaks":
        return [sys.executable, "-m", "tests.sanitizers.leaks", *arguments]
    # A virtual environment's python is known by its name: the real one would not find its packages.
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "tests.sanitizers.plugin", "-p", "no:cacheprovider"]
    # The plugin's vectors begin anywhere; loky's workers have SciPy's BLAS, and so other last bits.
    for test in (
        "kernels.py::test_vectors_begin_on_a_cache_line_and_hold_zeros",
        "threads.py::test_grid_search_with_two_jobs_gives_the_results_of_one[loky]",
        "ensemble.py::test_fits_in_joblib_workers_give_the_same_bits[loky]",
    ):
        pytest += ["--deselect", f"tests/test_{test}"]
    if tool == "valgrind":
        options = ["--leak-check=no", "--error-limit=no", "--num-callers=16", "--child-silent-after-fork=yes"]
        return ["valgrind", "-q", *options, "--xml=yes", f"--xml-file={folder / 'report.xml'}", *pytest, *arguments]
    return [*pytest, *arguments]


def run_tests(tool: str, folder: Path, level: str, arguments: list[str]) -> int:
    environment = {**os.environ, **variables(tool, folder), "SKBCE_SIMD": level}
    return subprocess.run(command(tool, folder, arguments), cwd=folder, env=environment, check=False).returncode


def is_not_python(frame: ElementTree.Element) -> bool:
    return not Path(frame.findtext("obj", "")).name.startswith(("libpython", "python"))


def reports(tool: str, folder: Path) -> Iterator[str]:
    """One text for each; valgrind's only from the kernels and what they call, but for Python, which has its own."""
    for path in folder.glob("report*"):
        if tool != "valgrind":
            text = path.read_text(errors="replace")
            yield from [text] * max(text.count("WARNING: ThreadSanitizer"), text.count("leak of"), 1)
            continue
        for error in ElementTree.parse(path).iter("error"):
            # With XML, valgrind looks for leaks whatever it is told, and Python leaves memory at its end: see `leaks`.
            if error.findtext("kind", "").startswith("Leak_"):
                continue
            frames = list(takewhile(is_not_python, error.iter("frame")))
            if any("/skbce/kernels/doors" in frame.findtext("obj", "") for frame in frames):
                lines = (f"  {frame.findtext('fn', '?')}, line {frame.findtext('line', '?')}" for frame in frames[:8])
                yield "\n".join([error.findtext("kind", ""), *lines])


def main(tool: str, arguments: list[str]) -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        copy_tree(folder)
        build(tool, folder)
        for level in levels(tool):
            print(f"{tool}, {level}", flush=True)
            failed += run_tests(tool, folder, level, arguments or TESTS[tool]) != 0
        found = list(reports(tool, folder))
        print(*sorted(set(found)), f"{len(found)} reports by {tool}", sep="\n")
    return int(failed > 0 or len(found) > 0)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in SWITCHES:
        sys.exit(f"{__doc__}\nThe first argument is one of {', '.join(SWITCHES)}.")
    sys.exit(main(sys.argv[1], sys.argv[2:]))
