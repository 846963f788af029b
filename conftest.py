"""What pytest collects from skbce/: doctests of parts whose optional packages are there."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("distributed") else ["skbce/dask"]
