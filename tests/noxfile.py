"""The supported range, tested: `python -m nox -f tests/noxfile.py`.

Each cell installs a built wheel into an environment of its own and runs the tests there, away from the source. Cells
whose Python is not found are left out; `-l` lists the cells, `-s "cell(oldest)"` chooses, and what follows `--` goes to
pytest.
"""

import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parents[1]
KERNEL_TESTS = "@tests/kernel_tests.txt"  # what depends on the build

ONE_LEVEL = {"SKBCE_LEVELS": "x86_64_v2"}  # a third of the time to build

# The lower bounds of pyproject.toml, which the oldest cell holds to their word.
OLDEST = [
    "numpy==1.26.0", "scipy==1.11.2", "scikit-learn==1.6.0", "joblib==1.3.0", "threadpoolctl==3.1.0", "pandas==2.1.0",
    "matplotlib==3.8.0", "pyparsing<3.2",  # newer ones warn of how matplotlib 3.8 calls them
]  # fmt: skip

WITHOUT_GIL = {"PYTHON_GIL": "0"}  # also where an extension would ask for it
NO_WHEEL_WITHOUT_GIL = ["safetensors"]  # its tests are skipped then


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix: what it installs, and with what switches it builds and runs."""

    python: str
    libraries: list[str] = field(default_factory=list)  # beside the newest of all else
    build: dict[str, str] = field(default_factory=dict)
    run: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)  # of what the tests use
    tests: list[str] = field(default_factory=lambda: ["--pyargs", "tests", "skbce"])


CELLS = {
    "oldest": Cell("3.11", OLDEST),
    "oldest-3.12": Cell("3.12", ["numpy==1.26.0", "scipy==1.11.2", "scikit-learn==1.6.0"]),
    # Newer ones of SciPy warn of how 1.6 calls L-BFGS, and of pandas 1.6 makes sparse tables dense.
    "scikit-learn-1.6": Cell("3.13", ["scikit-learn==1.6.*", "scipy<1.16", "pandas<3"]),
    "newest-3.11": Cell("3.11"),
    "newest-3.12": Cell("3.12"),
    "newest-3.13": Cell("3.13"),
    "newest-3.14": Cell("3.14"),
    "newest-3.13t": Cell("3.13t", run=WITHOUT_GIL, left_out=NO_WHEEL_WITHOUT_GIL),
    "newest-3.14t": Cell("3.14t", run=WITHOUT_GIL, left_out=NO_WHEEL_WITHOUT_GIL),
    "no-openmp": Cell(
        "3.13", build={"SKBCE_NO_OPENMP": "1", **ONE_LEVEL}, tests=[KERNEL_TESTS, "tests/test_threads.py"]
    ),
    "bounds-checks": Cell(
        "3.13", build={"SKBCE_DEBUG": "1", **ONE_LEVEL}, tests=[KERNEL_TESTS, "tests/test_inputs.py"]
    ),
    "v2": Cell("3.13", run={"SKBCE_SIMD": "x86_64_v2"}, tests=[KERNEL_TESTS]),
    "v3": Cell("3.13", run={"SKBCE_SIMD": "x86_64_v3"}, tests=[KERNEL_TESTS]),
    "v4": Cell("3.13", run={"SKBCE_SIMD": "x86_64_v4"}, tests=[KERNEL_TESTS]),
}

nox.options.envdir = str(ROOT / "build" / "nox")
nox.options.error_on_missing_interpreters = False
wheels: dict[tuple[str, str], Path] = {}


def sdist(session: nox.Session, folder: Path) -> Path:
    """The source as it would be published, unpacked; the tests are in it too."""
    unpacked = folder / "sdist"
    if "sdist" not in wheels:
        shutil.rmtree(folder, ignore_errors=True)
        session.install("build")
        session.run("python", "-m", "build", "--sdist", "--outdir", str(folder), str(ROOT), silent=True)
        with tarfile.open(next(folder.glob("*.tar.gz"))) as file:
            file.extractall(unpacked, filter="data")
        wheels["sdist"] = next(unpacked.iterdir())
    return wheels["sdist"]


def wheel(session: nox.Session, folder: Path, switches: dict[str, str]) -> Path:
    """The wheel for the session's Python, built from the sdist once in a run of nox."""
    key = "-".join([str(session.python), *switches])
    if key not in wheels:
        command = ["python", "-m", "pip", "wheel", "--no-deps", "--no-cache-dir", "--wheel-dir", str(folder / key)]
        session.run(*command, str(next(folder.glob("*.tar.gz"))), env=switches, silent=True)
        wheels[key] = next((folder / key).glob("*.whl"))
    return wheels[key]


@nox.session
@nox.parametrize(("python", "name"), [nox.param(cell.python, name, id=name) for name, cell in CELLS.items()])
def cell(session: nox.Session, name: str) -> None:
    """Tests of the built wheel in one cell."""
    chosen = CELLS[name]
    # A library's newest version need not have a wheel for this Python: an older one that has goes before its source.
    session.env["PIP_PREFER_BINARY"] = "1"
    folder = Path(session.cache_dir, "skbce")
    source = sdist(session, folder)
    tools = nox.project.load_toml(source / "pyproject.toml")["project"]["optional-dependencies"]["test"]
    tools = [tool for tool in tools if not tool.startswith(tuple(chosen.left_out))]
    session.install(str(wheel(session, folder, chosen.build)), *tools, *chosen.libraries)
    away = Path(session.create_tmp(), "away")
    shutil.rmtree(away, ignore_errors=True)
    shutil.copytree(source, away, ignore=shutil.ignore_patterns("skbce", "skbce.egg-info"))
    session.chdir(away)
    levels = session.run("python", "-c", "import skbce.kernels; print(*skbce.kernels.LEVELS)", silent=True)
    if chosen.run.get("SKBCE_SIMD", levels) not in levels:
        session.skip(f"this processor runs {levels.strip()} alone")
    session.run("python", "-m", "pip", "list", "--format=freeze")
    session.run("python", "-m", "skbce", silent=True)
    session.run("python", "-m", "pytest", "-q", *(session.posargs or chosen.tests), env=chosen.run)
