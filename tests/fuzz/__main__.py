"""Many cases, in processes of their own: `python -m tests.fuzz --cases 100000 --seed 0`.

A process that crashes or hangs is reported with the case that did it, and another one goes on.
"""

import argparse
import faulthandler
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.fuzz.cases import Case, from_text
from tests.fuzz.harness import BrokenPromiseError, Report, run
from tests.fuzz.strategies import case

HANG_SECONDS = 300  # a guard only: a case takes milliseconds, and the machine may be busy


def work(seed: int, n_cases: int, current: Path) -> None:
    """Run cases in this process, and print what came of them as JSON."""
    faulthandler.enable()
    totals = {"calls": Counter(), "kinds": Counter()}
    broken: dict[str, str] = {}
    file = os.open(current, os.O_WRONLY | os.O_CREAT)
    for k in range(n_cases):
        one = case(random.Random(seed + k).randrange)
        os.pwrite(file, repr(one).encode() + b"\n\n", 0)
        try:
            count(one, run(one), totals)
        except BrokenPromiseError as error:
            broken.setdefault(signature(str(error)), f"{error}\n    {one!r}")
            totals["kinds"]["broken"] += 1
    os.close(file)
    print(json.dumps({"cases": n_cases, **totals, "broken": broken}))


def count(one: Case, report: Report, totals: dict[str, Counter]) -> None:
    """Add up what came of the calls, and of the first one by what it was given."""
    totals["calls"].update(f"{method} {outcome}" for method, outcome in report.calls.elements())
    first = one.steps[0]
    trained = report.outcomes[0] == "result"
    for kind, value in (
        ("X", first.X.form), ("values of X", first.X.values), ("dtype of X", first.X.dtype), ("y", first.y.form),
        ("labels", first.y.labels), ("weight", first.weight.form), ("values of weight", first.weight.values),
    ):  # fmt: skip
        totals["kinds"][f"{kind}: {value} | {'result' if trained else 'refused'}"] += 1


def signature(message: str) -> str:
    """The message without its numbers: the same defect has it in many cases."""
    return "".join("0" if c.isdigit() else c for c in message)[:90]


def many(seed: int, n_cases: int, chunk: int, jobs: int, report: Path | None) -> int:
    """Run chunks of cases, so many at a time, print a summary, and return the number of defects."""
    totals = {"calls": Counter(), "kinds": Counter()}
    broken: dict[str, str] = {}
    done, started = 0, time.perf_counter()
    starts = range(seed, seed + n_cases, chunk)
    with ThreadPoolExecutor(jobs) as pool:
        for found in pool.map(lambda start: part(start, min(chunk, seed + n_cases - start)), starts):
            done += found["cases"]
            for name, total in totals.items():
                total.update(found[name])
            for name, text in found["broken"].items():
                if name not in broken:
                    print("-", text, file=sys.stderr)
            broken = found["broken"] | broken
            seconds = time.perf_counter() - started
            print(f"{done} cases, {len(broken)} defects, {seconds:.0f} s", file=sys.stderr, flush=True)
            if report is not None:
                report.write_text(summary(done, totals, broken))
    print(summary(done, totals, broken))
    return len(broken)


def part(seed: int, n_cases: int) -> dict[str, Any]:
    """What came of some cases in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "case"
        command = [sys.executable, "-m", "tests.fuzz", "--work", str(current), "--seed", str(seed)]
        returncode, output, errors = watched([*command, "--cases", str(n_cases)], current)
        if returncode == 0:
            return json.loads(output.splitlines()[-1])
        what = f"a process ended with {returncode} after seed {seed}"
        text = f"{what}\n    {last_case(current)}\n{errors[-3000:]}"
        return {"cases": n_cases, "calls": {}, "kinds": {}, "broken": {what: text}}


def watched(command: list[str], current: Path) -> tuple[int, str, str]:
    """Run a process to its end, and abort it where it stays with one case: it then says where it was."""
    current.write_bytes(b"")
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, text=True)
        while process.poll() is None:
            try:
                process.wait(timeout=1)
            except subprocess.TimeoutExpired:
                state = current.stat()
                if state.st_size > 0 and time.time() - state.st_mtime > HANG_SECONDS:
                    process.send_signal(signal.SIGABRT)
                    process.wait()
        output.seek(0)
        errors.seek(0)
        return process.returncode, output.read(), errors.read()


def last_case(current: Path) -> str:
    return current.read_text().split("\n\n")[0]


def summary(done: int, totals: dict[str, Counter], broken: dict[str, str]) -> str:
    lines = []
    for name, counts in totals.items():
        lines += ["", name, *(f"{count:8d}  {entry}" for entry, count in sorted(counts.items()))]
    ends = {
        end: sum(count for entry, count in totals["calls"].items() if entry.endswith(end))
        for end in ("result", "refused")
    }
    lines += ["", *(f"- {text}" for text in broken.values())]
    return "\n".join(
        [
            *lines,
            f"{done} cases, {ends['result']} calls with a result, {ends['refused']} refused, {len(broken)} defects",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chunk", type=int, default=500, help="cases a process")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--report", type=Path, help="a file that has the summary so far")
    parser.add_argument("--case", help="run the case with this repr, in this process")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(run(from_text(options.case)))
        return 0
    if options.work:
        work(options.seed, options.cases, Path(options.work))
        return 0
    return min(1, many(options.seed, options.cases, options.chunk, options.jobs, options.report))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    sys.exit(main())
