"""A short run of the fuzz harness. `python -m tests.fuzz` is the long one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.builders import JUNK_KINDS, make_table
from tests.fuzz.cases import Case, Step, Table, Target, Weight, from_text
from tests.fuzz.harness import BrokenPromiseError, run
from tests.fuzz.strategies import JUNK, cases

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", [1, 100_001])
def test_every_call_ends_in_a_right_result_or_an_error_that_names_what_is_wrong(seed):
    # In a process of its own, so that a crash is told, and with the case that made it.
    command = [sys.executable, "-m", "tests.fuzz", "--cases", "150", "--seed", str(seed)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stdout + process.stderr
    last = process.stdout.splitlines()[-1]
    assert re.fullmatch(r"150 cases, \d+ calls with a result, \d+ refused, 0 defects", last)
    assert all(int(n) > 50 for n in re.findall(r"(\d+) calls|(\d+) refused", last)[0] if n)


@settings(
    max_examples=40, derandomize=True, database=None, deadline=None, phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
@given(cases(("classifier",)))
def test_hypothesis_finds_no_case_that_breaks_a_promise(case):
    run(case)


def test_case_is_made_again_from_its_repr():
    case = Case(
        "classifier",
        (("alpha", float("inf")), ("dropout", [0.5])),
        (
            Step("fit", Table(rows=3, values="huge"), Target(labels="strings"), Weight("list")),
            Step("edit", name="t_", value="None"),
        ),
    )
    assert from_text(repr(case)) == case


def test_same_table_is_made_of_the_same_description():
    X, again = (make_table(Table(values="one NaN", seed=5)) for _ in range(2))
    assert X.tobytes() == again.tobytes()


def test_every_kind_of_junk_is_made():
    assert set(JUNK) - {"delete"} == JUNK_KINDS


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda self, X: X.__setitem__((0, 0), 5.0), "changed X"),
        (lambda self, X: (_ for _ in ()).throw(ValueError("no")), "names no argument"),
        (lambda self, X: (_ for _ in ()).throw(KeyError("X")), "raised KeyError"),
    ],
    ids=["changes X", "nameless error", "other error"],
)
def test_harness_sees_an_estimator_that_breaks_a_promise(monkeypatch, broken, message):
    monkeypatch.setattr("skbce.BCEMLPClassifier.predict", broken)
    case = Case("classifier", (), (Step("fit"), Step("predict")))
    with pytest.raises(BrokenPromiseError, match=message):
        run(case)


def test_harness_sees_parameters_that_are_not_finite(monkeypatch):
    monkeypatch.setattr("skbce.BCEMLPClassifier._tell_of", lambda self, end: self.coefs_[0].fill(float("nan")))
    with pytest.raises(BrokenPromiseError, match="parameters that are not finite"):
        run(Case("classifier", (), (Step("fit"),)))
