"""`python benchmarks/dask.py` is scale_out.py, which measures training on a Dask cluster.

A script's folder is the first on Python's path, so there this file stands before the library of the same name: asked
for as a module, it gives way to the library.
"""

import importlib
import sys
from pathlib import Path

if __name__ == "dask":
    path = sys.path[:]
    del sys.modules["dask"]
    sys.path[:] = [entry for entry in path if Path(entry).resolve() != Path(__file__).resolve().parent]
    try:
        importlib.import_module("dask")  # leaves the library where this module was
    finally:
        sys.path[:] = path

if __name__ == "__main__":
    from scale_out import main

    sys.exit(main())
