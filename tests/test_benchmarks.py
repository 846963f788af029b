"""benchmarks/fit.py runs, and both sides do the same work. How fast they do it is not tested."""

import csv
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import skbce

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fit.py"
NETWORKS = ["20-16-1", "30-100-1", "50-64-64-1", "100-256-256-256-1", "784-512-1"]
COLUMNS = [
    *("network", "batch", "dtype", "steps", "scikit-learn, us/step", "skbce, us/step", "scikit-learn / skbce"),
    *("loss, scikit-learn", "loss, skbce"),
]


def run_script(*args: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(Path(skbce.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(SCRIPT), *args],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("benchmarks") / "results" / "fit"


@pytest.fixture(scope="module")
def quick(saved) -> subprocess.CompletedProcess:
    return run_script("--quick", "--rounds", "1", "--dtype", "float32", "float64", "--save", str(saved))


@pytest.fixture(scope="module")
def table(quick) -> list[dict[str, str]]:
    """The rows of the printed table, a dict each."""
    lines = [line.strip("| ").split(" | ") for line in quick.stdout.splitlines() if line.startswith("|")]
    header, rule, *rows = lines
    assert header == COLUMNS
    assert len(rule) == len(header)
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_quick_run_ends_well_and_without_warnings(quick):
    assert quick.returncode == 0, quick.stderr
    assert "Warning" not in quick.stderr


def test_table_has_a_row_for_each_network_and_dtype(table):
    assert [(row["dtype"], row["network"]) for row in table] == [
        (dtype, network) for dtype in ("float32", "float64") for network in NETWORKS
    ]


@pytest.mark.parametrize("peer", ["scikit-learn", "skbce"])
def test_table_gives_median_and_quartiles(table, peer):
    # A signed number: on a busy machine the difference of two short fits may be anything.
    number = r"-?\d+(\.\d+)?"
    for row in table:
        assert re.fullmatch(rf"{number} \({number} to {number}\)", row[f"{peer}, us/step"])
        assert re.fullmatch(number, row["scikit-learn / skbce"])


# float64: the same sums in other orders, at most 1000 steps, printed to 6 decimals. float32 carries 7 digits, of
# which such a run may lose half.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 2e-6), ("float32", 1e-2)])
def test_losses_agree(table, dtype, tolerance):
    for row in table:
        if row["dtype"] == dtype:
            loss = float(row["loss, skbce"])
            assert 0 < loss < 1
            assert loss == pytest.approx(float(row["loss, scikit-learn"]), rel=tolerance, abs=1e-6)


def test_machine_threads_and_versions_are_named(quick):
    for label in ("CPU: ", "cores", "Threads: ", "BLAS: ", f"skbce {skbce.__version__}", "scikit-learn "):
        assert label in quick.stdout.partition("|")[0]


def test_saved_markdown_is_what_was_printed(quick, saved):
    assert Path(f"{saved}.md").read_text(encoding="utf-8") == quick.stdout


def test_saved_csv_has_every_round(quick, saved):
    with open(f"{saved}.csv", encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 2 * len(NETWORKS) * 2
    assert {record["peer"] for record in records} == {"scikit-learn", "skbce"}
    assert all(math.isfinite(float(record["us_per_step"])) for record in records)
    assert all(int(record["steps"]) > 0 for record in records)


@pytest.mark.parametrize("option", ["--rounds", "--threads"])
def test_numbers_must_be_positive(option):
    refused = run_script(option, "0")
    assert refused.returncode == 2
    assert f"{option}: 0 is not a positive number" in refused.stderr
