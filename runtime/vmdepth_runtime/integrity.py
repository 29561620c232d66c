"""Whether a model's file is still, byte for byte, what was written: cards and cables change bits without a word.

A step graph ends in its digest: the last metadata entry, `vmdepth.digest`, is the SHA-256 of every byte before that
entry. Appended to a serialised ONNX model such an entry is part of it, so neither writing nor checking takes onnx.
An engine's digest stands in its sidecar.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from vmdepth_runtime import bundled
from vmdepth_runtime.contract import REBUILD
from vmdepth_runtime.errors import InputError

DIGEST_KEY = "vmdepth.digest"

_BLOCK = 1 << 20
_DIGITS = 64  # of a SHA-256
_KEY, _HEAD = DIGEST_KEY.encode(), b"sha256:"
# Protobuf: `metadata_props` is field 14 of a ModelProto; its entries have a key, field 1, and a value, field 2.
_VALUE_SIZE = len(_HEAD) + _DIGITS
_FRAME = bytes([0x72, 4 + len(_KEY) + _VALUE_SIZE, 0x0A, len(_KEY)]) + _KEY + bytes([0x12, _VALUE_SIZE]) + _HEAD
_SIZE = len(_FRAME) + _DIGITS


def seal(graph: bytes) -> bytes:
    """What to append to a serialised ONNX model (that has no digest yet) so that `check_digest` knows it again."""
    return _FRAME + hashlib.sha256(graph).hexdigest().encode()


def check_digest(path: Path) -> bool:
    """Compare a step graph's file with its digest; False where it has none to compare with.

    Graphs had none before there were digests, and tools that add metadata leave it in the middle; these are let pass.

    Raises:
        InputError: the file cannot be read, or is not what was written; says what to do.
    """
    try:
        with path.open("rb") as file:
            size = max(0, path.stat().st_size - _SIZE)
            file.seek(size)
            end = file.read()
            # A damaged digest is still one: what merely ends here has none of these bytes in their place.
            if sum(a == b for a, b in zip(end, _FRAME, strict=False)) <= len(_FRAME) // 2:
                return False
            file.seek(0)
            found = _FRAME + _hash(file, size).encode()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {_again(path)}") from None
    if end != found:
        raise InputError(f"{path}: is not as it was written (damaged, or changed since then); {_again(path)}")
    return True


def read_metadata(path: Path, key: str) -> str | None:
    """The value of an entry of a serialised ONNX model's metadata; None where it has none of that name, or only a part.

    Protobuf: the key, then byte 0x12 and how long the value is, as a varint. Raises InputError when it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    at = content.rfind(bytes([0x0A, len(key)]) + key.encode() + bytes([0x12]))
    if at < 0:
        return None
    at, size = at + len(key) + 3, 0
    for digit, byte in enumerate(content[at : at + 10]):
        size |= (byte & 0x7F) << 7 * digit
        if byte < 0x80:
            value = content[at + digit + 1 :][:size]
            return value.decode(errors="replace") if len(value) == size else None
    return None


def file_hash(path: Path) -> str:
    """`sha256:` and the digest of a file's bytes. Raises InputError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return f"sha256:{_hash(file, path.stat().st_size)}"
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def _hash(file: BinaryIO, size: int) -> str:
    # Read, not mapped: of a page that a failing card does not give, a mapping makes a signal that ends the process.
    digest = hashlib.sha256()
    while block := file.read(min(_BLOCK, size)):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


def _again(path: Path) -> str:
    if path == bundled.MODEL:
        return "install vmdepth again (pip install --force-reinstall --no-deps vmdepth)"
    return f"copy it here again, or {REBUILD}"
