"""Values of parameters and attributes as JSON and back: plain data, arrays apart, and nothing that runs.

What JSON has stands for itself. Everything else is an object of one name, which says what it is ::

    (1, 2)              {"tuple": [1, 2]}
    {0: 1.5}            {"dict": [[0, 1.5]]}
    inf                 {"float": "inf"}
    array of numbers    {"array": "the tensor's name"}
    array of str        {"texts": ["no", "yes"], "width": 3}
    array of objects    {"objects": ["no", "yes"]}
    RandomState         {"generator": "the tensor's name", "position": 624, "normal": null}
    estimator           {"class": "BCEMLPClassifier", "parameters": {..}, "attributes": {..}}

A value's name is its path: "estimators_.0.coefs_.1".
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from skbce._files.container import Tensors

# What safetensors and NumPy both have.
_DTYPES = {np.dtype(letter) for letter in "?bhilqBHILQefd"}

# An array of texts has as many characters for each as for the longest: what a file says of that is bounded.
_MOST_CHARACTERS = 2**22

# Of the Mersenne twister: its state is so many numbers, and a place among them.
_STATE_SIZE = 624

_SCALARS = (str, int, float, bool, type(None))

PackModel = Callable[["Packer", Any, str], dict[str, Any]]
UnpackModel = Callable[["Unpacker", dict[str, Any], str], Any]


class Packer:
    """Values to JSON; `tensors` gathers the arrays.

    Parameters
    ----------
    pack_model : callable(packer, model, path) -> dict
        For what is no plain value; raises ValueError for what it does not know.
    """

    def __init__(self, pack_model: PackModel):
        self.tensors: Tensors = {}
        self._pack_model = pack_model
        self._generators: dict[int, str] = {}

    def pack(self, value: Any, path: str) -> Any:
        """A value as JSON.

        Raises
        ------
        ValueError
            For what a file does not hold, by its path.
        """
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, list | tuple):
            items = [self.pack(item, f"{path}.{k}") for k, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, dict):
            return {"dict": [[self._key(key, path), self.pack(item, f"{path}.{key}")] for key, item in value.items()]}
        if type(value) is np.ndarray:
            return self._array(value, path)
        if isinstance(value, np.random.RandomState):
            return self._generator(value, path)
        if callable(value):
            name = path.rpartition(".")[2]
            raise ValueError(
                f"{path}={value!r} is a function, and a model file holds no code. Save without it: "
                f"set_params({name}=...), and set it again after loading."
            )
        return self._pack_model(self, value, path)

    def _key(self, key: Any, path: str) -> Any:
        key = key.item() if isinstance(key, np.generic) else key
        if not isinstance(key, _SCALARS):
            raise ValueError(f"{path} has the key {key!r}, which a model file does not hold.")
        return self.pack(key, path)

    def _array(self, array: np.ndarray, path: str) -> dict[str, Any]:
        if array.dtype.newbyteorder("=") in _DTYPES:
            self.tensors[path] = array.astype(array.dtype.newbyteorder("="), order="C")
            return {"array": path}
        if array.ndim == 1 and array.dtype.kind == "U":
            return {"texts": array.tolist(), "width": array.dtype.itemsize // 4}
        if array.ndim == 1 and array.dtype == object:
            items = [item.item() if isinstance(item, np.generic) else item for item in array]
            if all(isinstance(item, _SCALARS) for item in items):
                return {"objects": [self.pack(item, path) for item in items]}
        raise ValueError(
            f"{path} is an array of {array.dtype} of shape {array.shape}, which a model file does not hold."
        )

    def _generator(self, generator: np.random.RandomState, path: str) -> dict[str, Any]:
        """Its state; one that is met again, in another estimator say, is that one after loading too."""
        if id(generator) in self._generators:
            return {"same_generator": self._generators[id(generator)]}
        state = generator.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise ValueError(
                f"{path} is a RandomState of {state['bit_generator']}; a model file holds those of MT19937."
            )
        self._generators[id(generator)] = path
        self.tensors[path] = np.array(state["state"]["key"], dtype=np.uint32)
        normal = float(state["gauss"]) if state["has_gauss"] else None
        return {"generator": path, "position": int(state["state"]["pos"]), "normal": normal}


class Unpacker:
    """JSON to values.

    Parameters
    ----------
    tensors : dict of str to ndarray
        The arrays; each is to be used once.
    unpack_model : callable(unpacker, packed, path) -> estimator
    """

    def __init__(self, tensors: Tensors, unpack_model: UnpackModel):
        self._tensors = dict(tensors)
        self._unpack_model = unpack_model
        self._generators: dict[str, np.random.RandomState] = {}

    def unpack(self, packed: Any, path: str) -> Any:
        """The value that JSON stands for.

        Raises
        ------
        ValueError
            For what no `Packer` gives, by its path.
        """
        if isinstance(packed, list):
            return [self.unpack(item, f"{path}.{k}") for k, item in enumerate(packed)]
        if not isinstance(packed, dict):
            return packed
        if "class" in packed:
            return self._unpack_model(self, packed, path)
        if packed.keys() == {"texts", "width"}:
            return _texts(packed["texts"], packed["width"], path)
        if packed.keys() == {"generator", "position", "normal"}:
            return self._generator(packed, path)
        kind, value = next(iter(packed.items())) if len(packed) == 1 else (None, None)
        if kind == "tuple" and isinstance(value, list):
            return tuple(self.unpack(value, path))
        if kind == "dict" and isinstance(value, list):
            return self._dict(value, path)
        if kind == "float" and value in ("inf", "-inf", "nan"):
            return float(value)
        if kind == "array":
            return self._tensor(value, path)
        if kind == "objects" and isinstance(value, list):
            items = np.empty(len(value), dtype=object)
            items[:] = [self._scalar(item, path) for item in value]
            return items
        if kind == "same_generator" and isinstance(value, str) and value in self._generators:
            return self._generators[value]
        raise ValueError(f"{path} is nothing that a model file holds: {str(packed)[:80]}.")

    def check_all_used(self) -> None:
        if self._tensors:
            raise ValueError(f"there are tensors that belong to nothing: {sorted(self._tensors)[:5]}.")

    def _scalar(self, packed: Any, path: str) -> Any:
        value = self.unpack(packed, path)
        if not isinstance(value, _SCALARS):
            raise ValueError(f"{path} has {str(packed)[:80]} where text, a number or a bool belongs.")
        return value

    def _dict(self, pairs: list, path: str) -> dict:
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise ValueError(f"{path} has a dict that is not made of pairs.")
        found = {self._scalar(key, path): self.unpack(item, f"{path}.{key}") for key, item in pairs}
        if len(found) < len(pairs):
            raise ValueError(f"{path} has a key twice.")
        return found

    def _tensor(self, name: Any, path: str) -> np.ndarray:
        if not isinstance(name, str) or name not in self._tensors:
            raise ValueError(f"{path} has no tensor of the name {str(name)[:80]!r}, or not one of its own.")
        return self._tensors.pop(name)

    def _generator(self, packed: dict[str, Any], path: str) -> np.random.RandomState:
        key = self._tensor(packed["generator"], path)
        position, normal = packed["position"], packed["normal"]
        if not (key.dtype == np.uint32 and key.shape == (_STATE_SIZE,)):
            raise ValueError(f"{path} has a generator's state of {key.dtype} and shape {key.shape}.")
        if type(position) is not int or not 0 <= position <= _STATE_SIZE:
            raise ValueError(f"{path} has a generator at the position {str(position)[:80]}, of {_STATE_SIZE}.")
        if normal is not None and type(normal) is not float:
            raise ValueError(f"{path} has a generator whose next normal number is {str(normal)[:80]}.")
        generator = np.random.RandomState()
        generator.set_state(("MT19937", key, position, int(normal is not None), normal or 0.0))
        self._generators[packed["generator"]] = generator
        return generator


def _texts(texts: Any, width: Any, path: str) -> np.ndarray:
    if not (isinstance(texts, list) and all(isinstance(text, str) for text in texts)):
        raise ValueError(f"{path} has an array of texts with something else in it.")
    if type(width) is not int or width < max(map(len, texts), default=0) or width * len(texts) > _MOST_CHARACTERS:
        raise ValueError(f"{path} has an array of {len(texts)} texts of {str(width)[:80]} characters.")
    return np.array(texts, dtype=f"<U{width}")
