"""A model's content on disk: JSON and tensors in one safetensors file, with a checksum, written whole or not at all.

Nothing here knows models. Everything that a damaged file can say is doubted: sizes before memory is taken for them.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from typing import Any, BinaryIO

import numpy as np

FORMAT = 1

# The one key of safetensors' metadata, which holds texts alone: its text is JSON.
_KEY = "skbce"

# As many bytes of header as safetensors itself takes.
_MOST_HEADER = 100_000_000

Path = str | os.PathLike[str]
Tensors = dict[str, np.ndarray]


def packed(content: dict[str, Any], tensors: Tensors) -> bytes:
    """The bytes of a file."""
    numpy_format = _safetensors().numpy
    content = {"format": FORMAT, **content}
    text = _text({**content, "sha256": _checksum(content, tensors)})
    data = numpy_format.save(tensors, {_KEY: text})
    if int.from_bytes(data[:8], "little") > _MOST_HEADER:
        raise ValueError(f"the names and texts in the model take more than {_MOST_HEADER} bytes, the most of a file.")
    return data


def unpacked(file: BinaryIO, size: int) -> tuple[dict[str, Any], Tensors]:
    """The content and the tensors of a file of so many bytes.

    Raises
    ------
    ValueError
        For anything that `packed` does not write: another format, a part of a file, one that has been changed.
    """
    safetensors = _safetensors()
    start, header = _header(file, size)
    content = _content(header)
    _check_size(header, len(start), size)
    try:
        tensors = safetensors.numpy.load(start + file.read(size - len(start)))
    except (safetensors.SafetensorError, KeyError) as error:
        raise ValueError(f"the file is damaged, or no safetensors file: {error}.") from error
    for name, array in tensors.items():
        if array.dtype == bool and array.size and array.view(np.uint8).max() > 1:
            raise ValueError(f"the file is damaged: {name} has bytes that are no bools.")
    checksum = content.pop("sha256", None)
    if checksum != _checksum(content, tensors):
        raise ValueError("the file is damaged or was edited: its content has not the checksum it was saved with.")
    return content, {name: array.copy() for name, array in tensors.items()}


def write(path: Path, data: bytes) -> None:
    """Put data in the file of that name: at once, when it is safely on disk beside it.

    The file has the permissions of any new file, or those of the file that it replaces.
    """
    path = os.path.realpath(path)  # what a link points to is replaced, not the link
    folder, name = os.path.split(path)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder.")
    # 200 bytes leave room for the rest below the 255 that file systems take.
    beside = os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:200])}.{secrets.token_hex(8)}.tmp")
    file = open(beside, "xb")  # noqa: SIM115, for it is closed before it is renamed
    try:
        with file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            os.chmod(beside, stat.S_IMODE(os.stat(path).st_mode))
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    """Have the new name on disk too, where the system can say so of a folder."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _header(file: BinaryIO, size: int) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the file up to the tensors, and the JSON that they are."""
    length = file.read(8)
    n = int.from_bytes(length, "little")
    if len(length) < 8 or n > min(size - 8, _MOST_HEADER):
        raise ValueError(f"the file, of {size} bytes, ends within its header, or is no safetensors file.")
    text = file.read(n)
    header = _json(text, "the header")
    if not isinstance(header, dict):
        raise ValueError("the file is no safetensors file: its header is no JSON object.")
    return length + text, header


def _content(header: dict[str, Any]) -> dict[str, Any]:
    """What skbce wrote into the header, if it can be read by this version."""
    metadata = header.get("__metadata__")
    text = metadata.get(_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ValueError("the file is no model of skbce: its metadata has no text of the name 'skbce'.")
    content = _json(text, "the text 'skbce' of the metadata")
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is not int or version < 1:
        raise ValueError("the file is damaged: its metadata has no number of a format.")
    if version > FORMAT:
        versions = content.get("versions")
        writer = versions.get("skbce") if isinstance(versions, dict) else None
        raise ValueError(
            f"the file has format {version}, written by skbce {writer}, and this version reads formats up to {FORMAT}. "
            "Update skbce to read it."
        )
    return content


def _check_size(header: dict[str, Any], start: int, size: int) -> None:
    """Whether the tensors that the header tells of are what comes after it; safetensors looks at each of them."""
    try:
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
        expected = start + max(ends, default=0)
        whole = expected == size
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError("the file is damaged: its header does not say where each tensor lies.") from error
    if not whole:
        raise ValueError(f"the file has {size} bytes, and its header tells of {expected}: a part is missing, or added.")


def _json(text: str | bytes, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the file is damaged, or no model of skbce: {what} is no JSON ({error}).") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice")
    return found


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not np.isfinite(number):
        raise ValueError(f"{text} is beyond float64")
    return number


def _text(content: dict[str, Any]) -> str:
    """JSON in ASCII, the same text for the same content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(content: dict[str, Any], tensors: Tensors) -> str:
    """SHA-256 of the content, and of each tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(_text(content).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"\n{name!a} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(
            "Model files need safetensors, which is not installed: python -m pip install 'skbce[io]'"
        ) from error
    return safetensors
