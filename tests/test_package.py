"""What is installed: public names, instruction sets, and words for what is missing."""

import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skbce
import skbce._parameters
import skbce.kernels
from tests.sanitizers import plugin
from tests.sanitizers import run as run_sanitizers


def run(code, folder=None, **environment):
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", skbce.__all__)
def test_public_names_are_there_and_documented(name):
    assert hasattr(skbce, name)
    assert name == "__version__" or getattr(skbce, name).__doc__


def test_kernels_that_are_not_compiled_are_named_with_the_command(tmp_path):
    source = Path(skbce.__file__).parent
    shutil.copytree(source, tmp_path / "skbce", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    result = run("import skbce", tmp_path)
    assert "ImportError: skbce's kernels are not compiled" in result.stderr
    assert "python -m pip install -e ." in result.stderr


@pytest.mark.parametrize("level", skbce.kernels.LEVELS)
def test_environment_forces_an_instruction_set(level):
    assert run("import skbce.kernels; print(skbce.kernels.LEVEL)", SKBCE_SIMD=level).stdout.strip() == level


def test_unknown_instruction_set_is_an_error_that_names_the_known():
    stderr = run("import skbce", SKBCE_SIMD="x86_64_v9").stderr
    assert "SKBCE_SIMD=x86_64_v9" in stderr
    assert skbce.kernels.LEVELS[0] in stderr


@pytest.mark.skipif(
    len(skbce.kernels.LEVELS) == 1,
    reason="with one instruction set built or run here, there is no other to compare it with",
)
def test_instruction_sets_differ_by_rounding_alone():
    code = """
import numpy as np, warnings
from skbce import BCEMLPClassifier
warnings.simplefilter("ignore")
X = np.random.default_rng(0).standard_normal((500, 10)); y = (X[:, 0] > X[:, 1]).astype(int)
for activation in ("identity", "logistic", "tanh", "relu"):
    print(*BCEMLPClassifier((20, 7), activation, max_iter=10, random_state=0).fit(X, y).loss_curve_)
"""
    losses = [[float(loss) for loss in run(code, SKBCE_SIMD=level).stdout.split()] for level in skbce.kernels.LEVELS]
    assert len(losses[0]) == 40
    for other in losses[1:]:
        # 30 steps in float64: fused multiply-adds round once where others round twice.
        assert other == pytest.approx(losses[0], rel=1e-10)


def test_importing_does_not_import_dask_and_without_it_its_part_says_what_to_install():
    printed = run("import sys, skbce; print(sorted({'dask', 'distributed', 'skbce.dask'} & set(sys.modules)))").stdout
    assert printed == "[]\n"
    error = run("import sys; sys.modules['distributed'] = None; import skbce.dask").stderr
    assert "ImportError: skbce.dask needs dask and distributed" in error
    assert "python -m pip install" in error


def test_importing_leaves_subnormal_numbers_alone():
    assert run("import numpy as np, skbce; print(np.float64(5e-324) * 1 > 0, np.float32(1e-45) * 1 > 0)").stdout == (
        "True True\n"
    )


def test_show_config_names_versions_threads_and_instruction_set(capsys):
    skbce.show_config()
    printed = capsys.readouterr().out
    for word in (skbce.__version__, "scikit-learn", "numpy", "threads", skbce.kernels.LEVEL, "BLAS"):
        assert word in printed


def test_what_the_sanitizers_plugin_exchanges_takes_the_same_arguments():
    for name in ("aligned_zeros", "aligned_rows"):
        replaced, exact = (
            inspect.signature(function).parameters
            for function in (getattr(skbce._parameters, name), getattr(plugin, name.replace("aligned", "_exact")))
        )
        assert [(p.name, p.default) for p in replaced.values()] == [(p.name, p.default) for p in exact.values()]


def test_valgrinds_reports_are_those_of_the_kernels_but_for_leaks(tmp_path):
    frame = "<frame><obj>/skbce/kernels/doors_x86_64_v3.so</obj><fn>{}</fn></frame>"
    errors = [("UninitValue", frame), ("Leak_PossiblyLost", frame), ("UninitValue", "<frame><obj>{}</obj></frame>")]
    text = "".join(f"<error><kind>{kind}</kind>{stack.format(kind)}</error>" for kind, stack in errors)
    (tmp_path / "report.xml").write_text(f"<valgrindoutput>{text}</valgrindoutput>")
    assert list(run_sanitizers.reports("valgrind", tmp_path)) == ["UninitValue\n  UninitValue, line ?"]
