"""How long a cache line takes from one core to another and back: what threads wait for when they meet.

Python cannot look at memory often enough, so the loop is C, compiled when it is asked for by the compiler at hand.
"""

import ctypes
import os
import shlex
import statistics
import subprocess
import sysconfig
import tempfile
import threading
import time
from functools import cache
from pathlib import Path

# Two threads take turns. One that waits without end, where the other gets no core or has given up, would hang the
# benchmark: a second or so is 10^9 looks.
SOURCE = """
int take_turns(int *turn, int mine, int n) {
    for (int i = 0; i < n; i++) {
        for (long looks = 0; __atomic_load_n(turn, __ATOMIC_ACQUIRE) != mine; looks++)
            if (looks > 1000000000L) return -1;
        __atomic_store_n(turn, 1 - mine, __ATOMIC_RELEASE);
    }
    return 0;
}
"""

# Some milliseconds in all; a part is long beside the call that starts it, a microsecond.
N_PARTS, N_TURNS = 25, 500


@cache
def compiled():
    """The C function, which lets the GIL go; None where it cannot be built."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        source, library = Path(folder, "turns.c"), Path(folder, "turns.so")
        source.write_text(SOURCE, encoding="utf-8")
        try:
            command = [*compiler, "-O2", "-shared", "-fPIC", str(source), "-o", str(library)]
            subprocess.run(command, check=True, capture_output=True)
            return ctypes.CDLL(str(library)).take_turns
        except (OSError, subprocess.CalledProcessError):
            return None


def round_trip() -> float | None:
    """Nanoseconds, the median of some milliseconds' turns; None without a second core or a compiler.

    Between the last two cores that the process may use, where the system lets a thread choose.
    """
    can_choose = hasattr(os, "sched_setaffinity")
    cores = sorted(os.sched_getaffinity(0) if can_choose else range(os.cpu_count() or 1))
    take_turns = compiled()
    if len(cores) < 2 or take_turns is None:
        return None
    turn, seconds = ctypes.c_int(0), []

    def on_core(core: int, work, *arguments) -> None:
        if can_choose:
            os.sched_setaffinity(0, {core})  # of this thread
        work(*arguments)

    def timed() -> None:
        for _ in range(N_PARTS):
            started = time.perf_counter()
            if take_turns(ctypes.byref(turn), 0, N_TURNS):
                return
            seconds.append(time.perf_counter() - started)

    partner = (cores[-1], take_turns, ctypes.byref(turn), 1, N_PARTS * N_TURNS)
    threads = [threading.Thread(target=on_core, args=args) for args in (partner, (cores[-2], timed))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1e9 * statistics.median(seconds) / N_TURNS if seconds else None
