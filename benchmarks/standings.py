"""What the lines of accuracy.py come to: means, ranks, and skbce against each of the others."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from report import row, significant
from scipy.stats import wilcoxon

MEASURES = ["auc", "log_loss", "brier", "ece", "fit_seconds", "predict_seconds"]
# Losses closer than this are equal: a hundredth of a per cent, which rounding may make, and no figure here shows.
EQUAL = 1e-4


class Standings:
    """Lines of results as they are read, the model that is compared with the others, and the rows that it predicted."""

    def __init__(self, lines: Sequence[dict[str, str]], reference: str, predicted_rows: int):
        self.all = pd.DataFrame(lines)
        self.reference, self.predicted_rows = reference, predicted_rows
        self.failed = self.all[self.all["error"] != ""]
        done = self.all[self.all["error"] == ""].astype(dict.fromkeys(MEASURES, float))
        self.models = list(dict.fromkeys(done["model"]))
        # (table, split) by (measure, model)
        self.cells = done.pivot_table(index=["table", "split"], columns="model", values=MEASURES)

    def by_table(self, measure: str, models: Sequence[str]) -> pd.DataFrame:
        """Means over the splits that all the models finished: (tables, models)."""
        return self.cells[measure][list(models)].dropna().groupby("table").mean()

    def log_loss_of_each(self) -> pd.DataFrame:
        """Means over the splits that each model finished, nan for none: (tables, models)."""
        return self.cells["log_loss"][self.models].groupby("table").mean()

    def lines(self, half: str | None, missing: Sequence[str]) -> Iterator[str]:
        """The report, in Markdown."""
        yield from self._about(half, missing)
        if self.models:
            for part in (self._means, self._against_each, self._by_table):
                yield ""
                yield from part()
        if len(self.failed):
            yield from ("", "## Errors", "")
            for line in self.failed.itertuples():
                yield f"- {line.table}, split {line.split}, {line.model}: {line.error}"

    def _about(self, half: str | None, missing: Sequence[str]) -> Iterator[str]:
        tables, splits = self.all["table"].nunique(), self.all["split"].nunique()
        versions = self.all.groupby("model", sort=False)["version"].unique().map(" and ".join)
        which = f", the {half} half" if half else ""
        yield f"- {tables} tables{which}; {splits} splits of each"
        yield f"- CPU: {'; '.join(self.all['cpu'].unique())}; threads: {', '.join(self.all['threads'].unique())}"
        yield f"- Versions: {', '.join(f'{model} {found}' for model, found in versions.items())}"
        yield from (f"- {line}" for line in missing)

    def _means(self) -> Iterator[str]:
        tables = {measure: self.by_table(measure, self.models) for measure in MEASURES}
        shared = len(tables["log_loss"])
        yield f"## Means over the {shared} tables that all finished"
        yield ""
        names = ["model", "AUC", "log loss", "Brier score", "calibration error", "rank by AUC", "rank by log loss"]
        yield from header([*names, "fit, s", f"predict {self.predicted_rows} rows, ms"])
        if not shared:
            return
        means = {measure: table.mean() for measure, table in tables.items()}
        by_auc, by_log_loss = (-tables["auc"]).rank(axis=1).mean(), tables["log_loss"].rank(axis=1).mean()
        for model in means["log_loss"].sort_values().index:
            cells = [f"{means[measure][model]:.4f}" for measure in ("auc", "log_loss", "brier", "ece")]
            cells += [f"{by_auc[model]:.2f}", f"{by_log_loss[model]:.2f}"]
            seconds = [means["fit_seconds"][model], 1e3 * means["predict_seconds"][model]]
            yield row([model, *cells, *map(significant, seconds)])

    def _against_each(self) -> Iterator[str]:
        yield f"## {self.reference} against each, by log loss"
        yield ""
        names = ["against", "tables", "better on", "equal on", "worse on", "p", "log loss, mean ratio", "median ratio"]
        yield from header(names)
        for other in self.models:
            if other != self.reference:
                yield row([other, *self.comparison(other)])

    def comparison(self, other: str) -> list[str]:
        """Over the tables that both finished."""
        both = self.by_table("log_loss", [self.reference, other])
        if both.empty:
            return ["0", *["-"] * 6]
        logs = np.log(both[self.reference] / both[other]).to_numpy()
        logs = np.where(np.abs(logs) < EQUAL, 0.0, logs)
        counts = [np.sum(logs < 0), np.sum(logs == 0), np.sum(logs > 0)]
        return [len(logs), *counts, p_value(logs), percent(np.mean(logs)), percent(np.median(logs))]

    def _by_table(self) -> Iterator[str]:
        yield "## Log loss by table"
        yield ""
        losses = self.log_loss_of_each()
        rows = self.all.groupby("table")["rows"].first()
        yield from header(["table", "rows", *self.models])
        for table, values in losses.iterrows():
            yield row([table, rows[table], *(cell(value, values.min()) for value in values)])


def header(names: Sequence[str]) -> list[str]:
    return [row(names), row(["---", *["---:"] * (len(names) - 1)])]


def cell(value: float, best: float) -> str:
    if np.isnan(value):
        return "-"
    return f"**{value:.4f}**" if value == best else f"{value:.4f}"


def p_value(logs: np.ndarray) -> str:
    """Of Wilcoxon's signed-rank test, two-sided, tables without a difference left out."""
    logs = logs[logs != 0]
    return f"{wilcoxon(logs).pvalue:.2g}" if len(logs) else "-"


def percent(log: float) -> str:
    """Of the logarithm of a ratio: how much more."""
    return f"{100 * np.expm1(log):+.1f} %"


def plot(path: Path, standings: Standings) -> None:
    """Log loss over the best model's, a row for each table."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not standings.models:
        return
    losses = standings.log_loss_of_each()
    ratios = losses.div(losses.min(axis=1), axis=0)
    figure = Figure(figsize=(8, 1.5 + 0.28 * len(ratios)), layout="constrained")
    axes = figure.subplots()
    for n, model in enumerate(ratios):
        ours = model == standings.reference
        style = (
            {"color": "black", "marker": "D", "zorder": 3} if ours else {"color": f"C{n}", "marker": "osv^"[n // 3 % 4]}
        )
        axes.plot(ratios[model], range(len(ratios)), linestyle="none", label=model, alpha=0.8, **style)
    axes.set_yticks(range(len(ratios)), ratios.index)
    axes.invert_yaxis()
    axes.grid(axis="y", alpha=0.3)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 3, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("log loss / the best of the table, less is better")
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize="small")
    figure.savefig(path)
