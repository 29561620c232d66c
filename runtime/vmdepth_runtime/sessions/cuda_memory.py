"""Memory on the GPU, behind the few calls that a session needs; this one speaks through pycuda."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError


class CudaMemory:
    """The first GPU: buffers by address (int), and copies on one stream, in order.

    Belongs to the thread that made it. Raises InputError, with the install command, where pycuda is missing.
    """

    def __init__(self) -> None:
        try:
            import pycuda.driver as cuda
        except ImportError as error:
            raise InputError(
                f"engines need pycuda, which cannot be imported ({error}); with the CUDA toolkit at hand: pip install "
                "pycuda"
            ) from None
        cuda.init()
        self._cuda = cuda
        # The context that other CUDA libraries of this process use as well.
        self._context = cuda.Device(0).retain_primary_context()
        self._context.push()
        self._stream = cuda.Stream()
        self._buffers: list[Any] = []

    @property
    def stream(self) -> int:
        """Handle of the stream (cudaStream_t)."""
        return int(self._stream.handle)

    def allocate(self, size: int) -> int:
        """Address of `size` new bytes, kept until `close`."""
        self._buffers.append(self._cuda.mem_alloc(max(size, 1)))
        return int(self._buffers[-1])

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A zeroed array in host memory that the GPU can copy from and to by itself."""
        return self._cuda.pagelocked_zeros(shape, np.dtype(dtype))

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Start copying an array to the GPU; an array that is not `pinned` is waited for."""
        self._cuda.memcpy_htod_async(address, array, self._stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Start copying from the GPU into an array."""
        self._cuda.memcpy_dtoh_async(array, address, self._stream)

    def copy(self, target: int, source: int, size: int) -> None:
        """Start copying `size` bytes from one buffer to another."""
        self._cuda.memcpy_dtod_async(target, source, size, self._stream)

    def copy_rows(self, target: int, pitch: int, source: int, width: int, rows: int) -> None:
        """Start copying `rows` pieces of `width` bytes, which follow each other, to places `pitch` bytes apart."""
        copy = self._cuda.Memcpy2D()
        copy.set_src_device(source)
        copy.set_dst_device(target)
        copy.src_pitch, copy.dst_pitch, copy.width_in_bytes, copy.height = width, pitch, width, rows
        copy(self._stream)

    def wait(self) -> None:
        """Until everything that was started is done."""
        self._stream.synchronize()

    def close(self) -> None:
        """Free the buffers and let go of the GPU."""
        for buffer in self._buffers:
            buffer.free()
        self._buffers.clear()
        self._context.pop()
