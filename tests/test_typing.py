"""Types of the public API, as a user's script meets them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import typed_sample

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Of both runs: most of mypy's time goes to NumPy's and SciPy's types, which are the same in each."""
    return tmp_path_factory.mktemp("mypy")


def mypy(path, cache):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", "--cache-dir", str(cache)]
    return subprocess.run([*command, str(path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_a_users_script_passes_strict_mypy(cache):
    done = mypy("tests/typed_sample.py", cache)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_types_and_not_any(tmp_path, cache):
    script = tmp_path / "wrong.py"
    script.write_text(
        "import skbce\n"
        "clf = skbce.BCEMLPClassifier().fit([[1.0]], [1])\n"
        "reveal_type(clf)\n"
        "reveal_type(clf.partial_fit([[1.0]], [1]))\n"
        "reveal_type(clf.coefs_)\n"
        "reveal_type(skbce.BCEMLPEnsembleClassifier().fit([[1.0]], [1]).oof_score_)\n"
        "skbce.BCEMLPClassifier(hidden_layers=3)\n"
        "skbce.TableEncoder().fit()\n"
        "skbce.backprop.bce_cost([1], [0.5]).shape\n"
    )
    printed = mypy(script, cache).stdout
    types = re.findall(r'Revealed type is "([\w.]+)', printed)
    assert types == ["skbce.classifier.BCEMLPClassifier"] * 2 + ["list", "dict"]
    for mistake in ('argument "hidden_layers"', 'argument "X" in call to "fit"', '"float" has no attribute "shape"'):
        assert mistake in printed


def test_the_users_script_runs():
    typed_sample.main()
