"""Arrays kept on disk: what a long stream leaves does not lie in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import WorkError


class ArrayFile(Sequence[NDArray[Any]]):
    """A growing sequence of arrays in a nameless temporary file, which goes with the last that reads it.

    A slice is one over the same file, without what is appended later.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as this)
        self._places: list[int] = []

    def append(self, values: NDArray[Any]) -> None:
        """Write an array of any shape and plain dtype. Raises WorkError when the disk is full."""
        try:
            place = self._file.seek(0, 2)
            np.lib.format.write_array(self._file, np.ascontiguousarray(values))
        except OSError as error:
            raise WorkError(
                f"{tempfile.gettempdir()}: cannot be written ({error.strerror}); point TMPDIR to a larger disk"
            ) from None
        self._places.append(place)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> ArrayFile: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | ArrayFile:
        if isinstance(index, slice):
            part = ArrayFile.__new__(ArrayFile)
            part._file, part._places = self._file, self._places[index]
            return part
        self._file.seek(self._places[index])
        return np.lib.format.read_array(self._file)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))
