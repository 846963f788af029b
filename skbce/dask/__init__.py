"""The same model on a Dask cluster: DaskBCEMLPClassifier. Needs the extra `dask`; `import skbce` does not import it."""

try:
    import dask.array  # noqa: F401
    import distributed  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"skbce.dask needs dask and distributed ({error}): python -m pip install 'dask[array,dataframe]' distributed"
    ) from error

from skbce.dask.cluster import ClusterError
from skbce.dask.estimator import DaskBCEMLPClassifier

__all__ = ["ClusterError", "DaskBCEMLPClassifier"]
