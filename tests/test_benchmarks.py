"""The benchmarks run, and all sides do the same work. How fast they do it is not tested."""

import csv
import importlib.util
import io
import json
import math
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

import joblib
import pytest

import skbce

ROOT = Path(skbce.__file__).parents[1]
FOLDER = Path(__file__).parents[1] / "benchmarks"
NETWORKS = ["20-16-1", "30-100-1", "50-64-64-1", "100-256-256-256-1", "784-512-1"]
COLUMNS = [
    *("network", "batch", "dtype", "steps", "scikit-learn, us/step", "skbce, us/step", "scikit-learn / skbce"),
    *("loss, scikit-learn", "loss, skbce"),
]


def run_script(name: str, *args: str) -> subprocess.CompletedProcess:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(FOLDER / name), *args],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_main(name: str, *args: str) -> subprocess.CompletedProcess:
    """The same without a process for the script: what it imports takes longer than most of its work."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as out, error_output() as errors:
        patch.syspath_prepend(FOLDER)
        code = runpy.run_path(str(FOLDER / name))["main"](args)
        errors.seek(0)
        return subprocess.CompletedProcess(args, code, out.getvalue(), errors.read())


@contextmanager
def error_output() -> Iterator[IO[str]]:
    """A file that takes what is written to stderr meanwhile, by the processes that are started too."""
    before = os.dup(2)
    try:
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file, redirect_stderr(file):
            os.dup2(file.fileno(), 2)
            yield file
    finally:
        os.dup2(before, 2)
        os.close(before)


def table_of(done: subprocess.CompletedProcess) -> list[dict[str, str]]:
    """The rows of the printed table, a dict each."""
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    lines = [line[2:-2].split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    header, rule, *rows = lines
    assert len(rule) == len(header)
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("benchmarks") / "results" / "fit"


@pytest.fixture(scope="module")
def quick(saved) -> subprocess.CompletedProcess:
    options = ("--quick", "--rounds", "1", "--dtype", "float32", "float64", "--save", str(saved))
    return run_script("fit.py", "--peers", "scikit-learn", *options)


@pytest.fixture(scope="module")
def table(quick) -> list[dict[str, str]]:
    return table_of(quick)


def test_table_has_a_row_for_each_network_and_dtype(table):
    assert list(table[0]) == COLUMNS
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


# float64: the same sums in other orders, some 1000 steps, printed to 6 decimals. float32 carries 7 digits, of which
# such a run may lose half.
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
    assert quick.stdout.startswith(Path(f"{saved}.md").read_text(encoding="utf-8"))


def test_saved_csv_has_every_round(quick, saved):
    with open(f"{saved}.csv", encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    assert len(records) == 2 * len(NETWORKS) * 2
    assert {record["peer"] for record in records} == {"scikit-learn", "skbce"}
    assert all(math.isfinite(float(record["us_per_step"])) for record in records)
    assert all(int(record["steps"]) > 0 for record in records)


def test_saved_plot_has_every_network_or_is_said_to_be_missing(quick, saved):
    plot = Path(f"{saved}.svg")
    assert plot.exists() != ("matplotlib is not installed" in quick.stdout)
    if plot.exists():
        # Letters are outlines, each text named in a comment.
        assert all(network in plot.read_text(encoding="utf-8") for network in NETWORKS)


def test_peers_outside_scikit_learn_do_the_same_work_or_are_said_to_be_left_out():
    options = ("--quick", "--rounds", "1", "--network", "20-16-1", "--dtype", "float64")
    done = run_main("fit.py", "--peers", "jax", "products", *options)
    (row,) = table_of(done)
    assert row["loss, bare products"] == "-"
    if importlib.util.find_spec("jax"):
        assert float(row["loss, JAX"]) == pytest.approx(float(row["loss, skbce"]), abs=2e-6)
    else:
        assert "JAX is left out: No module named 'jax'" in done.stdout


def test_grid_counts_the_cells_where_another_is_faster():
    done = run_main("grid.py", "--peers", "scikit-learn", "--quick", "--rounds", "1", "--cells", "3")
    table = table_of(done)[:3]  # those lost, as any may be on a busy machine, come again behind them
    assert len(table) == 3
    for row in table:
        assert float(row["loss, skbce"]) == pytest.approx(float(row["loss, scikit-learn"]), rel=1e-2)
    assert re.search(r"^skbce is not the fastest in \d of 3 cells\.$", done.stdout, re.MULTILINE)


def test_grid_has_all_corners_and_activations(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    grid = runpy.run_path(str(FOLDER / "grid.py"))
    corners, more = 4 * 2 * 2 * 2**3, 7 * 2 * 2
    assert len(grid["cells"](40, full=False)) == 40
    full = grid["cells"](40, full=True)
    assert corners + more <= len(full) <= corners + more + 40
    assert len({cell.activation for cell in full}) == 11


def test_both_predict_the_same():
    table = table_of(run_main("predict.py", "--quick"))
    assert [row["rows"] for row in table] == ["1", "1000", "10000"]
    assert all(float(row["largest difference"]) < 1e-5 for row in table)


def test_encoders_of_columns_are_measured_beside_a_bare_write():
    table = table_of(run_main("encode.py", "--quick"))
    outputs = {row["encoder"]: row["output"] for row in table}
    assert outputs["skbce"] == outputs["bare write"] == "340 float32"
    assert all(float(row["transform, s"]) > 0 for row in table)


def test_both_searches_find_the_same_score():
    theirs, ours = table_of(run_main("search.py", "--quick"))
    assert theirs["best accuracy"] == ours["best accuracy"]


def test_a_build_compared_with_itself():
    done = run_main("compare.py", str(ROOT), str(ROOT), "--quick", "--rounds", "1", "--network", "20-16-1")
    (row,) = table_of(done)
    assert row["network"] == "20-16-1"
    assert row["verdict"] == "too few rounds to say"


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ([1.0, 1.1, 1.2, 1.3], [1.4, 1.5, 1.6, 1.7], "slower"),
        ([1.4, 1.5, 1.6, 1.7], [1.0, 1.1, 1.2, 1.3], "faster"),
        ([1.0, 1.1, 1.2, 1.5], [1.4, 1.5, 1.6, 1.7], "within the spread"),
    ],
)
def test_slower_is_beyond_the_spread(monkeypatch, old, new, verdict):
    monkeypatch.syspath_prepend(FOLDER)
    assert runpy.run_path(str(FOLDER / "compare.py"))["verdict"](old, new) == verdict


@pytest.fixture
def latency(monkeypatch):
    """The module anew: it remembers what it compiled."""
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "latency.py"))


def test_round_trip_of_a_cache_line_is_measured_where_there_are_two_cores_and_a_compiler(latency):
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    nanoseconds = latency["round_trip"]()
    if latency["compiled"]() and joblib.cpu_count() > 1:
        assert nanoseconds > 1  # light goes 15 cm there and back in 1 ns
    assert allowed is None or os.sched_getaffinity(0) == allowed


def test_round_trip_without_a_compiler_is_none(monkeypatch, latency):
    monkeypatch.setenv("CC", "no-such-compiler")
    assert latency["round_trip"]() is None


@pytest.mark.parametrize(("threads", "compiler"), [(2, None), (2, "no-such-compiler"), (1, None)])
def test_fit_reports_the_round_trip_where_threads_meet(tmp_path, monkeypatch, latency, threads, compiler):
    if compiler:
        monkeypatch.setenv("CC", compiler)
    measured = threads > 1 and latency["round_trip"]() is not None
    options = ("--quick", "--rounds", "2", "--network", "20-16-1", "--threads", str(threads))
    done = run_script("fit.py", "--peers", "skbce", *options, "--save", str(tmp_path / "fit"))
    number = r"\d+(\.\d+)?"
    line = rf"^- Round trip of a cache line between two cores: {number} \({number} to {number}\) ns, 3 times$"
    assert bool(re.search(line, (tmp_path / "fit.md").read_text(encoding="utf-8"), re.MULTILINE)) == measured
    assert done.returncode == 0
    with open(tmp_path / "fit.csv", encoding="utf-8", newline="") as file:
        assert [bool(record["round_trip_ns"]) for record in csv.DictReader(file)] == [measured] * 2


def test_cluster_is_measured_and_workers_send_the_parameters_in_float64(tmp_path):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    done = run_script("dask.py", "--quick", "--save", str(tmp_path / "dask"))
    assert done.returncode == 0, done.stderr
    measured = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith(("| evaluation", "| epoch"))]
    assert [(line[0], line[1]) for line in measured] == [
        (f"| {call}", str(n_workers)) for n_workers in (1, 2) for call in [*["evaluation"] * 4, "epoch"]
    ]
    for line in measured:
        # Adam's moments travel too; Dask's own words are some kB a call, which count beside few parameters.
        expected = 1.0 if "evaluation" in line[0] else 3.0
        assert expected <= float(line[6]) < expected + 0.5
    assert re.search(r"^- model of an evaluation: ", done.stdout, re.MULTILINE)
    assert done.stdout.startswith((tmp_path / "dask.md").read_text(encoding="utf-8"))
    with open(tmp_path / "dask.csv", encoding="utf-8", newline="") as file:
        assert {record["call"] for record in csv.DictReader(file)} == {"evaluation", "epoch"}


@pytest.mark.parametrize("statement", ["import dask", "from dask.array import Array", "import distributed"])
def test_script_called_dask_gives_way_to_the_library(statement):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    code = f"""
import sys
sys.path.insert(0, {str(FOLDER)!r})
{statement}
print(sys.modules['dask'].__file__, sys.path[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    file, first = done.stdout.split()
    assert Path(file).parent.name == "dask", done.stderr
    assert first == str(FOLDER)


def test_steps_with_dead_units_are_measured():
    table = table_of(run_main("dead_units.py", "--quick", "--parts", "2"))
    assert [row.pop("us a step") for row in table] == ["scikit-learn", "skbce"]
    assert all(list(row) == ["epochs to 20", "epochs to 40"] for row in table)
    assert all(int(us) > 0 for row in table for us in row.values())


def test_out_of_fold_losses_are_measured_beside_those_of_rows_left_out():
    (row,) = table_of(run_main("out_of_fold.py", "--tables", "diabetes", "--rows", "60", "--splits", "2"))
    numbers = {name: float(text.partition(" ")[0]) for name, text in row.items()}
    assert numbers.pop("rows") == 60
    # Of the same rows, the epochs that these rows chose have less, and the same members are the denominator.
    assert (
        numbers["out of fold, where stopped / a member, on other rows"]
        < numbers["out of fold / a member, on other rows"]
    )
    # The mean of several loses less than each on average.
    assert numbers["out of fold / the ensemble, on other rows"] > numbers["out of fold / a member, on other rows"]


def test_averaging_is_measured_beside_one_machine():
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    options = ("--epochs", "2", "--partitions", "2", "--splits", "1")
    table = table_of(run_script("averaging.py", *options))
    assert [row["trained on"] for row in table] == ["one machine", *["2 partitions"] * 3]
    assert all(0 < float(row["log loss"]) < 1 for row in table)


def test_shared_members_are_measured_beside_separate_networks(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    out = tmp_path / "lines.csv"
    options = ("--tables", "diabetes", "--splits", "1", "--rows", "64", "--members", "2", "--out", str(out))
    table = table_of(run_main("shared_members.py", *options))
    networks = [(row["model"], row["networks"]) for row in table]
    shared = ("shared k=2 own 16 bins signs x1", "1")
    assert networks == [*(("separate", str(n)) for n in (1, 2, 4, 8)), shared]
    # Interpolated between themselves, separate networks are level with themselves.
    assert all(row["at equal work"].startswith("+0.0 ") for row in table[:4])
    lines = out.read_text(encoding="utf-8")
    assert table_of(run_main("shared_members.py", *options)) == table
    assert out.read_text(encoding="utf-8") == lines  # what has a line is not measured again


def run_kernel_benchmarks(*options):
    pytest.importorskip("pytest_benchmark")
    command = [sys.executable, "-m", "pytest", str(FOLDER / "kernels.py"), "-q", "-p", "no:cacheprovider", *options]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_every_kernel_benchmark_runs():
    # Of the five networks the first, and the smallest one that every benchmark is for; 4 of them on several threads.
    printed = run_kernel_benchmarks("-k", "20-16-1 or 50-64-64-1", "--benchmark-disable")
    assert re.search(r"^(150|154) passed, \d+ deselected in", printed, re.MULTILINE)


def test_kernel_benchmarks_give_a_rate_and_a_file_to_compare_with(tmp_path):
    path = tmp_path / "kernels.json"
    chosen = "20-16-1-float32 and (numpy_copy or gather or run_steps)"
    printed = run_kernel_benchmarks("-k", chosen, f"--benchmark-json={path}", "--benchmark-max-time=0.001")
    assert re.search(r"^gather\[20-16-1-float32\] +[\d.]+ us +[\d.]+ GB/s$", printed, re.MULTILINE)
    assert re.search(r"^run_steps\[1-20-16-1-float32\] +[\d.]+ us +[\d.]+ GFLOP/s$", printed, re.MULTILINE)
    for record in json.loads(path.read_text(encoding="utf-8"))["benchmarks"]:
        assert ("run_steps" in record["name"]) == ("us_per_step" in record["extra_info"])
        assert record["extra_info"].get("GB/s", 0) + record["extra_info"].get("GFLOP/s", 0) > 0


@pytest.mark.parametrize("option", ["--rounds", "--threads"])
def test_numbers_must_be_positive(monkeypatch, capsys, option):
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit):
        runpy.run_path(str(FOLDER / "fit.py"))["arguments"]([option, "0"])
    assert f"{option}: 0 is not a positive number" in capsys.readouterr().err
