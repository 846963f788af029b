"""The compiled kernels; `doors` is what the rest of skbce calls."""

try:
    from skbce.kernels import doors
except ImportError as error:
    if error.name == "skbce.kernels.doors" or "doors" in str(error):
        raise ImportError(
            "skbce's kernels are not compiled for this Python. In the source folder, run: python -m pip install -e ."
        ) from error
    raise

__all__ = ["doors"]
