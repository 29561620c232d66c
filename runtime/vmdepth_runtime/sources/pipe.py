"""A pipe that PyAV can read and Ctrl-C can break off."""

from __future__ import annotations

from pathlib import Path

from vmdepth_runtime.errors import InputError


class Pipe:
    """The file object PyAV reads from. ffmpeg's own reading would wait through every Ctrl-C until data comes.

    PyAV swallows what a `read` raises, so an interrupt looks like the end of the file there; `check` raises it after.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}); check what it is") from None
        self._interrupted = False

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end."""
        if self._interrupted:
            return b""  # ffmpeg asks once more at the end
        try:
            return self._file.read(size) or b""
        except KeyboardInterrupt:
            self._interrupted = True
            return b""

    def check(self) -> None:
        """Raise KeyboardInterrupt if one came while reading."""
        if self._interrupted:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Close the pipe."""
        self._file.close()
