"""Models in files that hold data alone: JSON and arrays, each field checked on the way in, and no code."""

import io
import os
from typing import Any

from skbce._files import container
from skbce._files.container import Path
from skbce._files.models import pack_model, unpack_model
from skbce._files.values import Packer, Unpacker

__all__ = ["SavesModel", "load", "save"]


class SavesModel:
    """Gives an estimator `save`."""

    def save(self, path: Path) -> None:
        """Save the model in a file, from which `skbce.load` makes the same one. See `skbce.save`.

        Parameters
        ----------
        path : str or path-like
        """
        save(self, path)


def save(model: Any, path: Path) -> None:
    """Save a model, fitted or not, in a safetensors file that holds no code.

    The file has everything that a pickle has: `skbce.load` gives a model that predicts, and goes on training, to the
    same bits. It is written beside its place and renamed, so that there is the old file or the new one, and never a
    half. Before, it is read back as `load` would.

    Needs safetensors: `pip install skbce[io]`.

    Parameters
    ----------
    model : BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder, or a Pipeline of them
        In a Pipeline and among an ensemble's encoders, StandardScaler too.
    path : str or path-like
        A file there is replaced. The name is taken as it is; ".safetensors" is a good ending.

    Raises
    ------
    ValueError
        For a model that has what a file does not hold, naming it: functions (as `scoring` or `learning_rate`),
        callbacks, metadata requests, other classes, attributes that others gave it; and for one that `load` would
        refuse, with NaN in its parameters, say.
    ImportError
        Without safetensors.
    OSError
        Where the file cannot be written.

    See Also
    --------
    load

    Notes
    -----
    Numbers of NumPy among the parameters become Python's, and subclasses of dict, tuple or str the plain ones.

    Examples
    --------
    >>> import os, tempfile, skbce
    >>> clf = skbce.BCEMLPClassifier((3,), solver="lbfgs", random_state=0).fit([[0.0], [1.0]], ["no", "yes"])
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> clf.save(path)
    >>> skbce.load(path).predict([[0.9]])
    array(['yes'], dtype='<U3')
    """
    try:
        data = _packed(model)
        _unpacked(io.BytesIO(data), len(data))
    except ValueError as error:
        raise ValueError(f"This model cannot be saved: {error}") from error
    container.write(path, data)


def load(path: Path) -> Any:
    """The model in a file that `save` wrote.

    Nothing in the file is run, nor imported by a name: it holds numbers and texts, and each is checked. Files of older
    versions are read; parameters that are younger than the file have their defaults.

    Needs safetensors: `pip install skbce[io]`.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    model : BCEMLPClassifier, BCEMLPEnsembleClassifier, PiecewiseLinearEncoder, TableEncoder or Pipeline
        What was saved.

    Raises
    ------
    ValueError
        For a file that is damaged, edited, of a newer format or no model of skbce, naming it and what is wrong. The
        checksum within guards against damage; someone who edits a file can compute a new one.
    ImportError
        Without safetensors.
    OSError
        Where the file cannot be read.

    See Also
    --------
    save

    Examples
    --------
    >>> import os, tempfile, skbce
    >>> path = os.path.join(tempfile.mkdtemp(), "model.safetensors")
    >>> skbce.save(skbce.BCEMLPClassifier((8, 4), alpha=0.1), path)
    >>> skbce.load(path)
    BCEMLPClassifier(alpha=0.1, hidden_layer_sizes=(8, 4))
    """
    with open(path, "rb") as file:
        try:
            return _unpacked(file, os.fstat(file.fileno()).st_size)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)!r} cannot be loaded: {error}") from error


def _packed(model: Any) -> bytes:
    import numpy
    import sklearn

    from skbce._version import __version__

    packer = Packer(pack_model)
    versions = {"skbce": __version__, "scikit-learn": sklearn.__version__, "numpy": numpy.__version__}
    content = {"versions": versions, "model": pack_model(packer, model, "")}
    return container.packed(content, packer.tensors)


def _unpacked(file: Any, size: int) -> Any:
    content, tensors = container.unpacked(file, size)
    if content.keys() != {"format", "versions", "model"} or not _are_versions(content["versions"]):
        raise ValueError("the file's content is not format, versions and model.")
    if not isinstance(content["model"], dict) or "class" not in content["model"]:
        raise ValueError("the file has no model.")
    unpacker = Unpacker(tensors, unpack_model)
    try:
        model = unpacker.unpack(content["model"], "")
    except RecursionError as error:
        raise ValueError("the file has models within models beyond measure.") from error
    unpacker.check_all_used()
    return model


def _are_versions(versions: Any) -> bool:
    return isinstance(versions, dict) and all(isinstance(version, str) for version in versions.values())
