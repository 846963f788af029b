"""For `run.py leaks`: calls skbce and then looks, with LeakSanitizer, for memory that nothing points to any more.

It looks while Python still runs, and all that is in use is pointed to: at its end Python leaves memory as it is, and
reports would be thousands. What imports and a first round of calls leave behind once does not count, but with `--all`.
`--lose` loses an object on purpose.
"""

import ctypes
import gc
import os
import sys
import warnings

ROUNDS = 5


def main() -> None:
    sanitizer = ctypes.CDLL(None)
    once_counts = sys.argv[1:] == ["--all"]
    if not once_counts:
        sanitizer.__lsan_disable()
    from tests.sanitizers.calls import all_calls

    warnings.simplefilter("ignore")
    all_calls()
    if not once_counts:
        sanitizer.__lsan_enable()
    for _ in range(ROUNDS):
        all_calls()
    if sys.argv[1:] == ["--lose"]:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(bytearray(777)))
    gc.collect()
    found = sanitizer.__lsan_do_recoverable_leak_check()
    print(f"{ROUNDS} rounds of calls", flush=True)
    os._exit(found != 0)  # without Python's end


if __name__ == "__main__":
    main()
