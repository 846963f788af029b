"""How good the probabilities are on real tables: skbce, gradient boosting and others, each at its defaults.

What is measured, and how, is in README.md beside this file.
"""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from measures import PREDICTED_ROWS, Remote, measure, started
from models import MODELS
from report import cpu_model, positive, significant
from standings import Standings, plot
from tables import Table, half_of, read_table, table_names

COLUMNS = (
    *("table", "split", "model", "version", "rows", "threads", "cpu"),
    *("auc", "log_loss", "brier", "ece", "fit_seconds", "predict_seconds", "error"),
)
OWN = [name for name, model in MODELS.items() if model.library == "skbce"]
OUT = Path(__file__).parent / "results" / "accuracy"


class Lines:
    """A CSV file that is added to a line at a time, and read again by the next run."""

    def __init__(self, path: Path):
        self.path = path
        self.read: list[dict[str, str]] = []
        if path.exists():
            text = path.read_text(encoding="utf-8")
            # A run that was stopped may have left the beginning of a line.
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            rows = csv.DictReader(whole.splitlines())
            if whole and tuple(rows.fieldnames) != COLUMNS:
                raise ValueError(f"{path} has other columns: move it, or give another --out")
            self.read = list(rows)
        self._done = {(line["table"], int(line["split"]), line["model"]) for line in self.read}

    def has(self, table: str, split: int, model: str) -> bool:
        return (table, split, model) in self._done

    def add(self, line: dict[str, object]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        begins = not self.path.exists() or not self.path.stat().st_size
        with open(self.path, "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            if begins:
                writer.writeheader()
            writer.writerow(line)
        self.read.append({name: str(line.get(name, "")) for name in COLUMNS})


def label_of(name: str, label: str | None) -> str:
    """The name in the results: skbce's own models carry the label."""
    return f"{name}@{label}" if label and name in OWN else name


def run(options: argparse.Namespace, names: Sequence[str], lines: Lines) -> list[str]:
    """Measure what has no line yet; a sentence for each model that is left out."""
    todo = [
        (name, split, model)
        for name in names
        for split in range(options.splits)
        for model in options.models
        if not lines.has(name, split, label_of(model, options.label))
    ]
    wanted = [model for model in options.models if any(model == other for _, _, other in todo)]
    table = None
    with started(wanted, options.threads, options.params) as (remotes, missing):
        print("\n".join(missing), end="\n" * bool(missing), flush=True)
        for name, split, model in todo:
            if model not in remotes:
                continue
            if table is None or table.name != name:
                table = read_table(name, options.folder)
            line = {"table": name, "split": split, "model": label_of(model, options.label), "rows": len(table.y)}
            line |= {"version": MODELS[model].version, "threads": options.threads, "cpu": cpu_model()}
            line |= measured(remotes[model], model, table, split, options)
            lines.add(line)
            outcome = line.get("error") or f"log loss {line['log_loss']}, {significant(line['fit_seconds'])} s"
            print(f"{name}, split {split}, {line['model']}: {outcome}", flush=True)
    return missing


def measured(remote: Remote, model: str, table: Table, split: int, options: argparse.Namespace) -> dict[str, object]:
    """The measures, or the error."""
    try:
        values = remote.call(measure, model, table, split, options.threads, options.params)
    except Exception as error:  # of any kind: it is a result
        text = " ".join(str(error).split())  # one line
        return {"error": f"{type(error).__name__}: {text[:300]}"}
    return {name: float(f"{value:.7g}") for name, value in values.items()}


def report(options: argparse.Namespace, names: Sequence[str], lines: Lines, missing: Sequence[str]) -> None:
    """Print it, and write it beside the lines."""
    chosen = [line for line in lines.read if line["table"] in names and int(line["split"]) < options.splits]
    if options.chosen:
        models = [label_of(model, options.label) for model in options.chosen]
        chosen = [line for line in chosen if line["model"] in models]
    if not chosen:
        print("No results to report.")
        return
    standings = Standings(chosen, reference(chosen, options.label), PREDICTED_ROWS)
    text = "\n".join(standings.lines(options.half, missing)) + "\n"
    print(f"\n{text}", end="")
    Path(f"{options.out}.md").write_text(text, encoding="utf-8")
    try:
        plot(Path(f"{options.out}.svg"), standings)
    except ImportError:
        print("No plot: matplotlib is not installed.")


def reference(lines: Sequence[dict[str, str]], label: str | None) -> str:
    """The model that the others are compared with: the last of skbce's that has results, or else the last of all."""
    present = list(dict.fromkeys(line["model"] for line in lines if not line["error"]))
    wanted = [label_of(name, label) for name in reversed(OWN)]
    return next((name for name in [*wanted, *reversed(present)] if name in present), "")


def parameters(text: str) -> dict:
    params = json.loads(text)
    if not isinstance(params, dict):
        raise argparse.ArgumentTypeError(f"{text} is not a JSON object")
    return params


def names_in(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def arguments(args: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="FOLDER", help="of *.csv.gz; always scikit-learn's own")
    parser.add_argument("--splits", type=positive, default=5, help="of each table (default: 5)")
    parser.add_argument("--tables", type=names_in, metavar="A,B", help="default: all")
    parser.add_argument("--half", choices=("first", "second"), help="of the tables, every other one by name")
    parser.add_argument("--models", type=names_in, dest="chosen", metavar="A,B", help=f"default: {','.join(MODELS)}")
    parser.add_argument("--threads", type=positive, default=2, help="of each model (default: 2)")
    parser.add_argument("--label", help="keep the results of skbce's models as NAME@LABEL, beside those that are there")
    parser.add_argument("--params", type=parameters, default={}, metavar="JSON", help="of skbce's models; with --label")
    parser.add_argument("--out", type=Path, default=OUT, help="PATH.csv, PATH.md, PATH.svg (default: results/accuracy)")
    parser.add_argument("--report-only", action="store_true", help="from the lines that are there")
    options = parser.parse_args(args)
    if options.folder and not any(options.folder.glob("*.csv.gz")):
        parser.error(f"FOLDER: {options.folder} has no *.csv.gz")
    if options.params and not options.label:
        parser.error("--params: needs a --label, as the results are of another model")
    if options.half and options.report_only and not options.folder:
        parser.error("--half: needs FOLDER, whose names it halves")
    unknown = [name for name in options.chosen or () if name not in MODELS]
    if unknown and not options.report_only:
        parser.error(f"--models: {', '.join(unknown)} not among {', '.join(MODELS)}")
    options.models = options.chosen or list(MODELS)
    return options


def chosen_tables(options: argparse.Namespace, lines: Lines) -> list[str]:
    """Of those that can be read or, without a folder to read from, have lines."""
    known = table_names(options.folder)
    if options.report_only and not options.folder:
        known = sorted({line["table"] for line in lines.read})
    names = half_of(known, options.half)
    unknown = [name for name in options.tables or () if name not in names]
    if unknown:
        raise SystemExit(f"--tables: {', '.join(unknown)} not among {', '.join(names)}")
    return options.tables or names


def main(args: Sequence[str] | None = None) -> int:
    """Measure what has not been measured, and report on all."""
    options = arguments(args)
    lines = Lines(Path(f"{options.out}.csv"))
    names = chosen_tables(options, lines)
    missing = [] if options.report_only else run(options, names, lines)
    report(options, names, lines, missing)
    return 0


if __name__ == "__main__":
    sys.exit(main())
