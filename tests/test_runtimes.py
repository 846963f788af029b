"""skbce's OpenMP beside those that other libraries bring with them, in one process."""

import importlib.util
import os
import subprocess
import sys

import pytest

CODE = """
import os, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
for name in sys.argv[1:]:
    __import__(name)
from sklearn.ensemble import HistGradientBoostingClassifier
from skbce import BCEMLPClassifier, _threads
from skbce.kernels import doors
_threads.Pace.choose = lambda self: (_threads.fair_share(self._limit), 60.0)  # both from the first step on
rng = np.random.default_rng(0)
X = rng.standard_normal((4000, 30)); y = (X[:, 0] > X[:, 1]).astype(int)

def fitted():
    return BCEMLPClassifier((64,), batch_size=2000, max_iter=30, random_state=0, n_threads=2).fit(X, y)

expected = fitted().predict_proba(X)
assert _threads._openmp_used or not doors.HAS_OPENMP
HistGradientBoostingClassifier(max_iter=5).fit(X, y).predict_proba(X)
if "lightgbm" in sys.modules:
    import lightgbm
    lightgbm.LGBMClassifier(n_estimators=5, n_jobs=2, verbose=-1).fit(X, y).predict_proba(X)
assert np.array_equal(fitted().predict_proba(X), expected)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(fitted().predict_proba(X), expected) else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert np.array_equal(fitted().predict_proba(X), expected)
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows has no fork to survive")
@pytest.mark.parametrize("order", [("skbce", "sklearn", "lightgbm"), ("lightgbm", "sklearn", "skbce")], ids="-".join)
def test_runtimes_of_three_libraries_give_the_same_bits_and_survive_a_fork(order):
    order = [name for name in order if importlib.util.find_spec(name)]  # without LightGBM, the two others
    # Two threads that wait for each other on a busy machine are slow: the limit is for one that never ends.
    command = [sys.executable, "-W", "ignore", "-c", CODE, *order]
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "fine\n", done.stderr
