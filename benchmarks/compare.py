"""Is one commit slower than another? Both are built in worktrees of their own and timed in turn by this fit.py."""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from report import positive, row, significant

HERE = Path(__file__).resolve().parent


@contextmanager
def built(revision: str, worktree: Path) -> Iterator[Path]:
    """A folder to import skbce from: a built one as it is, a commit built in a temporary worktree."""
    if Path(revision, "skbce").is_dir():
        yield Path(revision).resolve()
        return
    git = ["git", "-C", str(HERE.parent), "worktree"]
    added = subprocess.run([*git, "add", "--detach", str(worktree), revision], capture_output=True, text=True)
    if added.returncode:
        sys.exit(added.stderr.strip())
    try:
        print(f"Building {revision} ...", flush=True)
        command = [sys.executable, "setup.py", "build_ext", "--inplace"]
        done = subprocess.run(command, cwd=worktree, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{revision} does not build:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        yield worktree
    finally:
        subprocess.run([*git, "remove", "--force", str(worktree)], check=True, capture_output=True)


def measured(folder: Path, options: argparse.Namespace, path: Path) -> dict[str, float]:
    """One process's microseconds a step, by network."""
    command = [sys.executable, str(HERE / "fit.py"), "--peers", "skbce", "--rounds", "3", "--save", str(path)]
    command += ["--dtype", options.dtype, "--threads", str(options.threads)]
    command += ["--quick"] if options.quick else []
    command += ["--network", *options.network] if options.network else []
    command += ["--batch", str(options.batch)] if options.batch else []
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    subprocess.run(command, env=environment, cwd=path.parent, check=True, stdout=subprocess.DEVNULL)
    microseconds: dict[str, list[float]] = {}
    with open(f"{path}.csv", encoding="utf-8", newline="") as file:
        for record in csv.DictReader(file):
            microseconds.setdefault(record["network"], []).append(float(record["us_per_step"]))
    return {network: float(np.median(times)) for network, times in microseconds.items()}


def verdict(old: Sequence[float], new: Sequence[float]) -> str:
    """Slower or faster only where no process of the one did as well as any of the other.

    Of five of each that happens by chance once in 126 times.
    """
    if min(len(old), len(new)) < 4:
        return "too few rounds to say"
    if min(new) > max(old):
        return "slower"
    return "faster" if max(new) < min(old) else "within the spread"


def main(args: Sequence[str] | None = None) -> int:
    """Print a row for each network; 1 where one is slower."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", help="a commit, or the folder of a built one")
    parser.add_argument("new", nargs="?", default="HEAD", help="default: HEAD")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    parser.add_argument("--network", nargs="+", metavar="UNITS", help="as of fit.py")
    parser.add_argument("--batch", type=positive, metavar="ROWS", help="as of fit.py")
    parser.add_argument("--rounds", type=positive, default=5, help="processes of each (default: 5)")
    parser.add_argument("--threads", type=positive, default=1, help="at most (default: 1)")
    parser.add_argument("--quick", action="store_true", help="little work: to see that it runs")
    options = parser.parse_args(args)
    times: tuple[dict, dict] = {}, {}
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folders = [
            stack.enter_context(built(revision, Path(temporary, name)))
            for name, revision in (("old", options.old), ("new", options.new))
        ]
        for n in range(options.rounds):
            for i in (0, 1)[:: (-1) ** n]:
                for network, microseconds in measured(folders[i], options, Path(temporary, "fit")).items():
                    times[i].setdefault(network, []).append(microseconds)
    print(row(["network", "old, us/step", "new, us/step", "new / old", "verdict"]))
    print(row(["---", *["---:"] * 3, "---"]))
    verdicts = []
    for network, old in times[0].items():
        new = times[1][network]
        medians = np.median(old), np.median(new)
        verdicts.append(verdict(old, new))
        print(row([network, *map(significant, medians), f"{medians[1] / medians[0]:.3f}", verdicts[-1]]))
    return int("slower" in verdicts)


if __name__ == "__main__":
    sys.exit(main())
