"""benchmarks/accuracy.py measures what it says, once, and its report follows from its lines. Quality is not tested."""

import csv
import math
import re
import runpy
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, wilcoxon
from sklearn.metrics import log_loss, roc_auc_score

from tests.test_benchmarks import FOLDER, run_main, run_script

MODELS = ["LogisticRegression", "HistGradientBoosting", "MLPClassifier", "skbce-mlp"]
FAILING = ["LogisticRegression", "MLPClassifier", "skbce-mlp"]  # on infinity
TIMES = ("fit_seconds", "predict_seconds")


def write_table(path: Path, seed: int, n_rows: int = 120, **columns) -> None:
    """Numbers and categories, both with gaps, that say something of the target."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n_rows)
    number, place = y + rng.standard_normal(n_rows), np.where(rng.random(n_rows) < 0.3, "north", "south, or so")
    table = pd.DataFrame({'a "name" [<]': number, "place": place, "size": rng.integers(9, size=n_rows), **columns})
    table.loc[5:9, "place"] = None
    table.iloc[7:12, 0] = None
    table.assign(target=y).to_csv(path, index=False)


def lines_of(path: Path) -> list[dict[str, str]]:
    with open(f"{path}.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def section(text: str, title: str) -> dict[str, dict[str, str]]:
    """The rows of the table below a heading, by their first cells."""
    part = re.search(rf"^## [^\n]*{title}[^\n]*\n\n(.*?)(\n\n|\Z)", text, re.MULTILINE | re.DOTALL)[1]
    header, _, *rows = [line[2:-2].split(" | ") for line in part.splitlines()]
    return {cells[0]: dict(zip(header, cells, strict=True)) for cells in rows}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tables")
    write_table(folder / "one.csv.gz", 1)
    write_table(folder / "two.csv.gz", 2)
    write_table(folder / "wild.csv.gz", 3, far=[math.inf, *range(119)])
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("accuracy") / "results" / "accuracy"


def run(folder: Path, out: Path, *options: str, models: str = ",".join(MODELS), tables="one,two,wild", by=run_main):
    args = ("--splits", "2", "--threads", "1", "--models", models, "--tables", tables, "--out", str(out))
    done = by("accuracy.py", str(folder), *args, *options)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done


@pytest.fixture(scope="module")
def finished(folder, out):
    return run(folder, out, by=run_script)


@pytest.fixture(scope="module")
def lines(finished, out) -> list[dict[str, str]]:
    return lines_of(out)


def test_every_model_is_measured_on_every_split(lines):
    found = [(line["table"], line["split"], line["model"]) for line in lines]
    assert found == [(t, s, m) for t in ("one", "two", "wild") for s in "01" for m in MODELS]
    for line in lines:
        if not line["error"]:
            assert 0 <= float(line["auc"]) <= 1
            assert all(float(line[name]) > 0 for name in ("log_loss", "brier", "ece", *TIMES))


def test_both_multi_layer_perceptrons_are_given_the_same_rows(lines):
    losses = {(line["table"], line["split"], line["model"]): line["log_loss"] for line in lines if not line["error"]}
    for table, split, model in losses:
        if model == "skbce-mlp":
            # The same model but for rounding.
            theirs = float(losses[table, split, "MLPClassifier"])
            assert float(losses[table, split, model]) == pytest.approx(theirs, rel=1e-4)


def test_errors_are_recorded_and_the_run_goes_on(finished, lines):
    failed = [line for line in lines if line["error"]]
    assert [(line["table"], line["model"]) for line in failed] == [("wild", model) for model in FAILING * 2]
    for line in failed:
        assert "infinity" in line["error"]
        assert f"- wild, split {line['split']}, {line['model']}: {line['error']}" in finished.stdout
    assert section(finished.stdout, "by table")["wild"]["skbce-mlp"] == "-"


def test_a_second_run_measures_nothing_and_reports_the_same(folder, finished, lines, out):
    again = run(folder, out)
    assert lines_of(out) == lines
    assert ", split 0, skbce-mlp: log loss" not in again.stdout
    assert finished.stdout.endswith(again.stdout)
    assert Path(f"{out}.md").read_text(encoding="utf-8") == again.stdout.removeprefix("\n")
    assert run(folder, out, "--report-only").stdout == again.stdout


def test_a_stopped_run_goes_on_where_it_was(folder, lines, out, tmp_path):
    text = Path(f"{out}.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    # Without the second measurement, and in the midst of writing the last but one.
    Path(f"{tmp_path}/cut.csv").write_text("".join([*text[:2], *text[3:-2], text[-2][:30]]), encoding="utf-8")
    run(folder, tmp_path / "cut")
    measured = lines_of(tmp_path / "cut")
    assert [line["model"] for line in measured[-3:]] == [MODELS[1], *MODELS[-2:]]
    key = ("table", "split", "model")
    kept = [{name: value for name, value in line.items() if name not in TIMES} for line in lines]
    found = [{name: value for name, value in line.items() if name not in TIMES} for line in measured]
    assert sorted(found, key=lambda line: [line[name] for name in key]) == sorted(
        kept, key=lambda line: [line[name] for name in key]
    )


def test_a_label_keeps_the_results_of_other_parameters(folder, finished, out, tmp_path):
    Path(f"{tmp_path}/a.csv").write_bytes(Path(f"{out}.csv").read_bytes())
    options = ("--label", "strong", "--params", '{"alpha": 100.0}')
    done = run(folder, tmp_path / "a", *options, models="LogisticRegression,skbce-mlp", tables="one")
    *_, first, second = lines_of(tmp_path / "a")
    assert [line["model"] for line in (first, second)] == ["skbce-mlp@strong"] * 2
    assert list(section(done.stdout, "skbce-mlp@strong against each")) == ["LogisticRegression"]
    both = run_main("accuracy.py", "--report-only", "--out", str(tmp_path / "a"), "--tables", "one")
    table = section(both.stdout, "by table")["one"]
    # Weights this small know little of the table.
    assert float(table["skbce-mlp@strong"].strip("*")) > float(table["skbce-mlp"].strip("*"))


@pytest.fixture
def losses(lines) -> dict[str, list[float]]:
    """By model: on each table that all finished, the mean over the splits."""
    return {model: means(lines, model, "log_loss") for model in MODELS}


def means(lines: list[dict[str, str]], model: str, measure: str) -> list[float]:
    tables = ("one", "two")
    return [
        statistics.mean(float(line[measure]) for line in lines if (line["table"], line["model"]) == (table, model))
        for table in tables
    ]


def test_reported_means_and_ranks_follow_from_the_lines(finished, lines, losses):
    rows = section(finished.stdout, "Means over the 2 tables")
    columns = {"AUC": "auc", "log loss": "log_loss", "Brier score": "brier", "calibration error": "ece"}
    aucs = {model: [-auc for auc in means(lines, model, "auc")] for model in MODELS}
    for n, model in enumerate(MODELS):
        for column, measure in columns.items():
            assert float(rows[model][column]) == pytest.approx(statistics.mean(means(lines, model, measure)), abs=6e-5)
        for column, values in {"rank by log loss": losses, "rank by AUC": aucs}.items():
            ranks = rankdata([values[other] for other in MODELS], axis=0)[n]
            assert float(rows[model][column]) == pytest.approx(np.mean(ranks), abs=6e-3)
        fit, predict = (statistics.mean(means(lines, model, name)) for name in TIMES)
        # Three digits.
        assert float(rows[model]["fit, s"]) == pytest.approx(fit, rel=6e-3)
        assert float(rows[model]["predict 1000 rows, ms"]) == pytest.approx(1e3 * predict, rel=6e-3)


def test_reported_comparison_follows_from_the_lines(finished, losses):
    rows = section(finished.stdout, "skbce-mlp against each")
    assert list(rows) == MODELS[:-1]
    for other in MODELS[:2]:
        ratios = [ours / theirs for ours, theirs in zip(losses["skbce-mlp"], losses[other], strict=True)]
        row = rows[other]
        assert row["tables"] == "2"
        assert int(row["better on"]) == sum(ratio < 1 for ratio in ratios)
        assert int(row["worse on"]) == sum(ratio > 1 for ratio in ratios)
        assert float(row["p"]) == pytest.approx(wilcoxon(np.log(ratios)).pvalue, rel=0.05)
        mean = 100 * (math.prod(ratios) ** (1 / 2) - 1)
        assert float(row["log loss, mean ratio"].rstrip(" %")) == pytest.approx(mean, abs=0.06)
    # The same model but for rounding.
    twin = rows["MLPClassifier"]
    assert [twin[name] for name in ("better on", "equal on", "worse on", "p")] == ["0", "2", "0", "-"]


def test_reported_log_losses_are_the_tables_own(finished, losses):
    rows = section(finished.stdout, "Log loss by table")
    for n, table in enumerate(("one", "two")):
        best = min(losses[model][n] for model in MODELS)
        for model in MODELS:
            cell = rows[table][model]
            assert float(cell.strip("*")) == pytest.approx(losses[model][n], abs=6e-5)
            assert cell.startswith("**") == (losses[model][n] == best)


def test_plot_has_every_table_and_model(finished, out):
    plot = Path(f"{out}.svg").read_text(encoding="utf-8")
    # Letters are outlines, each text named in a comment.
    assert all(name in plot for name in ("one", "two", "wild", *MODELS))


@pytest.mark.parametrize(
    ("module", "outcome"),
    [
        ("raise ImportError('of no use here')", "LightGBM is left out: of no use here"),
        (
            "import os\nclass LGBMClassifier:\n def __init__(self, **_): pass\n def fit(self, X, y): os._exit(1)",
            "one, split 1, LightGBM: RuntimeError: its process ended",
        ),
    ],
    ids=["not installed", "crashes"],
)
def test_a_library_that_does_not_work_stops_nothing(monkeypatch, folder, tmp_path, module, outcome):
    (tmp_path / "lightgbm.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    done = run(folder, tmp_path / "a", models="LogisticRegression,LightGBM", tables="one")
    assert outcome in done.stdout
    assert list(section(done.stdout, "Means over the 1 tables")) == ["LogisticRegression"]


@pytest.fixture
def measures(monkeypatch) -> dict:
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "measures.py"))


@pytest.fixture
def tables(monkeypatch) -> dict:
    monkeypatch.syspath_prepend(FOLDER)
    return runpy.run_path(str(FOLDER / "tables.py"))


def test_scores_are_scikit_learns(measures):
    rng = np.random.default_rng(0)
    y, p = rng.integers(2, size=500), rng.random(500)
    found = measures["scores"](y, p)
    # The same sums in other orders.
    assert found["log_loss"] == pytest.approx(log_loss(y, p), rel=1e-12)
    assert found["auc"] == roc_auc_score(y, p)
    assert found["brier"] == pytest.approx(np.mean((y - p) ** 2), rel=1e-12)


def test_log_loss_is_finite_for_a_certain_error(measures):
    found = measures["scores"](np.array([0, 1]), np.array([1.0, 1.0], dtype=np.float32))
    # 1 - 1e-15 is rounded to a multiple of 2^-53, 1.1e-16.
    assert found["log_loss"] == pytest.approx(-math.log(1e-15) / 2, rel=2e-3)


def test_calibration_error_of_bins_of_equal_size(measures):
    # Sorted: (0.1, 0), (0.2, 1), (0.3, 0) | (0.6, 1), (0.9, 1).
    y, p = np.array([1, 0, 0, 1, 1]), np.array([0.9, 0.3, 0.1, 0.2, 0.6])
    by_hand = 3 / 5 * abs(0.2 - 1 / 3) + 2 / 5 * abs(0.75 - 1)
    assert measures["calibration_error"](y, p, n_bins=2) == pytest.approx(by_hand, rel=1e-12)
    # Fewer rows than bins: a bin each.
    assert measures["calibration_error"](y, p) == pytest.approx(np.mean(np.abs(y - p)), rel=1e-12)


def test_tables_are_read_with_gaps_and_categories(tables, folder):
    table = tables["read_table"]("one", folder)
    assert [str(dtype) for dtype in table.X.dtypes] == ["float64", "category", "float64"]
    assert table.X.isna().sum().tolist() == [5, 5, 0]
    assert list(table.X["x1"].cat.categories) == ["north", "south, or so"]
    assert set(table.y) == {0, 1}


def test_splits_are_three_to_one_stratified_and_their_own(tables, folder):
    table = tables["read_table"]("one", folder)
    (train, test), (other, _) = table.split(0), table.split(1)
    assert sorted([*train, *test]) == list(range(120))
    assert len(test) == 30
    # To half a row of each class.
    assert abs(table.y[test].mean() - table.y.mean()) <= 1 / 60
    assert not np.array_equal(train, other)
    assert not np.array_equal(train, np.sort(train))


def test_a_target_that_is_not_0_or_1_is_refused(tables, tmp_path):
    pd.DataFrame({"a": [1, 2], "target": [1, 2]}).to_csv(tmp_path / "bad.csv.gz", index=False)
    with pytest.raises(ValueError, match=r"bad.csv.gz: the last column has to be `target`, of 0 and 1"):
        tables["read_table"]("bad", tmp_path)


def test_halves_share_no_table_and_miss_none(tables, folder):
    names = tables["table_names"](folder)
    assert names == ["breast_cancer", "diabetes", "one", "two", "wild"]
    assert tables["half_of"](reversed(names), "first") == ["breast_cancer", "one", "wild"]
    assert tables["half_of"](names, "second") == ["diabetes", "two"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "FOLDER: nowhere has no *.csv.gz"),
        (["--models", "Oracle"], "--models: Oracle not among LogisticRegression"),
        (["--params", '{"alpha": 1}'], "--params: needs a --label"),
        (["--params", "[1]", "--label", "a"], "[1] is not a JSON object"),
        (["--half", "first", "--report-only"], "--half: needs FOLDER"),
    ],
)
def test_wrong_options_are_named(monkeypatch, capsys, args, message):
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit):
        runpy.run_path(str(FOLDER / "accuracy.py"))["arguments"](args)
    assert message in capsys.readouterr().err
