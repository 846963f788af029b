"""`python -m skbce` runs through, and what it prints makes sense."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import skbce
from skbce import __main__ as demonstration
from skbce.__main__ import agreeing_digits, chart


def run_demo() -> subprocess.CompletedProcess:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(skbce.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]),
        "PYTHONIOENCODING": "utf-8",
    }
    return subprocess.run(
        [sys.executable, "-m", "skbce"], env=environment, capture_output=True, encoding="utf-8", timeout=300
    )


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess:
    return run_demo()


def number_after(label: str, text: str) -> float:
    found = re.search(rf"^ *{re.escape(label)} +(\d[\d.e+-]*)", text, re.MULTILINE)
    assert found, f"no line {label!r} in:\n{text}"
    return float(found[1])


def test_demo_ends_well_and_without_warnings(demo):
    assert demo.returncode == 0, demo.stderr
    assert "Warning" not in demo.stderr


def test_demo_cross_validates_to_good_scores(demo):
    # Any sound classifier gets there on this table.
    assert 0.9 < number_after("ROC AUC", demo.stdout) <= 1
    assert 0.9 < number_after("accuracy", demo.stdout) <= 1
    # The entropy of the classes (0.66 nats) is what knowing nothing costs.
    assert 0 < number_after("log loss, nats a row", demo.stdout) < 0.3


def test_demo_finds_the_gradient_right(demo):
    # A wrong gradient is off by 1e-2 and more; differences in float64 reach 1e-9 or so.
    assert number_after("largest relative error", demo.stdout) < 1e-6


def test_demo_finds_scikit_learns_fit_the_same(demo):
    # Both round in float64; 800 steps leave 15 digits here, and another BLAS may lose some.
    assert number_after("loss curves agree to", demo.stdout) >= 8
    assert re.search(r"predictions identical +yes", demo.stdout)
    assert number_after("scikit-learn took", demo.stdout) > 0
    final = re.search(r"final loss +(\S+) +(\S+)", demo.stdout)
    assert float(final[1]) == pytest.approx(float(final[2]), rel=1e-8)


def test_demo_names_versions_and_threads_in_its_first_line(demo):
    first = demo.stdout.splitlines()[0]
    assert first.startswith(f"skbce {skbce.__version__}, scikit-learn ")
    assert all(f" {name} " in first for name in ("numpy", "scipy", "Python"))
    assert re.search(r"; skbce on \d+ threads, (x86_64_v[234]|baseline)$", first)


def test_demo_fits_a_terminal(demo):
    # The first line is as long as the versions are.
    assert max(map(len, demo.stdout.splitlines()[1:])) <= 80


def test_demo_draws_in_ascii_where_the_terminal_has_no_blocks(monkeypatch):
    # One round of fits: how long they take says nothing of letters. Another letter would be an error of the encoding.
    monkeypatch.setattr(demonstration, "_N_ROUNDS", 1)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert demonstration.main() == 0
    terminal.flush()
    assert re.search(r"\|#{60}$", terminal.buffer.getvalue().decode("ascii"), re.MULTILINE)


def test_chart_of_a_falling_loss_falls():
    rows = [
        line.partition("|")[2] for line in chart(np.exp(-np.linspace(0, 3, 200)), " .:#").splitlines() if "|" in line
    ]
    widths = [len(row) for row in rows]
    assert len(rows) == 12
    assert widths == sorted(widths)
    assert widths[0] >= 1
    assert widths[-1] == 60


@pytest.mark.parametrize("losses", [[0.5], [0.5, 0.5, 0.5]], ids=["one epoch", "constant"])
def test_chart_has_bars_where_nothing_changes(losses):
    assert f"|{'#' * 60}" in chart(losses, " .:#")


@pytest.mark.parametrize(
    ("other", "digits"),
    [
        ([1.0, 2.0, 3.0], 15),
        ([1.0, 2.0 + 3e-9, 3.0], 8),
        ([1.0, 2.0], 15),
        ([10.0, 2.0, 3.0], 0),
    ],
)
def test_agreeing_digits_are_those_of_the_worst_common_epoch(other, digits):
    assert agreeing_digits([1.0, 2.0, 3.0], other) == digits
