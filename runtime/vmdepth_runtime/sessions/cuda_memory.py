"""Memory on a GPU, behind the few calls that a session needs; this one speaks through NVIDIA's cuda-bindings."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.errors import InputError, MissingLibrary, WorkError


def load_driver() -> ModuleType:
    """The driver API of cuda-bindings. Raises MissingLibrary, with the install command, where it is missing."""
    try:
        import cuda.bindings.driver as driver
    except ImportError as error:
        raise MissingLibrary(
            f"a GPU is used through cuda-bindings, which cannot be imported ({error}): pip install cuda-bindings"
        ) from None
    return driver


class CudaMemory:
    """A GPU: buffers by address (int), and copies on one stream, in order.

    Every call works in the GPU's own context, whichever one the thread has, and puts that back: GPUs, and what else
    uses CUDA in this process, do not meet. For one thread at a time.

    Args: device: which GPU, from 0. Raises InputError where it cannot be used, and WorkError where one of the calls
    fails, so when its memory is full.
    """

    def __init__(self, device: int = 0) -> None:
        self._driver = driver = load_driver()
        self._buffers: list[Any] = []
        self._open = False
        try:
            self._check("start", driver.cuInit(0))
            self._device = self._check("be found", driver.cuDeviceGet(device))
            # The context that other CUDA libraries of this process use as well.
            self._context = self._check("be opened", driver.cuDevicePrimaryCtxRetain(self._device))
        except (WorkError, RuntimeError) as error:  # RuntimeError: cuda-bindings finds no driver
            raise InputError(f"GPU {device}: {error}; 'vmdepth-info' says what is there") from None
        try:
            self._stream = self._call("make a stream", driver.cuStreamCreate, 0)
        except WorkError:
            driver.cuDevicePrimaryCtxRelease(self._device)
            raise
        self._open = True

    @property
    def stream(self) -> int:
        """Handle of the stream (cudaStream_t)."""
        return int(self._stream)

    @contextmanager
    def current(self) -> Iterator[None]:
        """A block in which the GPU's context is the thread's current one, as libraries need that work on the GPU."""
        self._check("be used", self._driver.cuCtxPushCurrent(self._context))
        try:
            yield
        finally:
            self._driver.cuCtxPopCurrent()

    def allocate(self, size: int) -> int:
        """Address of `size` new bytes, kept until `close`."""
        what = f"give another {-(-size >> 20)} MiB"
        self._buffers.append(self._call(what, self._driver.cuMemAlloc, max(size, 1)))
        return int(self._buffers[-1])

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """A zeroed array in host memory that the GPU can copy from and to by itself; it may outlive `close`."""
        size = prod(shape) * np.dtype(dtype).itemsize
        # The memory is the context's, which is kept for as long as there is an array on it.
        self._check("be opened", self._driver.cuDevicePrimaryCtxRetain(self._device))
        try:
            address = self._call("pin memory of the host", self._driver.cuMemHostAlloc, max(size, 1), 0)
        except WorkError:
            self._driver.cuDevicePrimaryCtxRelease(self._device)
            raise
        block = (ctypes.c_uint8 * size).from_address(address)
        weakref.finalize(block, _unpin, self._driver, self._device, self._context, address)
        array = np.ctypeslib.as_array(block).view(dtype).reshape(shape)
        array[...] = 0
        return array

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Start copying an array to the GPU; an array that is not `pinned` is waited for."""
        copy = self._driver.cuMemcpyHtoDAsync
        self._call("copy", copy, address, array.ctypes.data, array.nbytes, self._stream)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Start copying from the GPU into an array."""
        copy = self._driver.cuMemcpyDtoHAsync
        self._call("copy", copy, array.ctypes.data, address, array.nbytes, self._stream)

    def copy(self, target: int, source: int, size: int) -> None:
        """Start copying `size` bytes from one buffer to another."""
        self._call("copy", self._driver.cuMemcpyDtoDAsync, target, source, size, self._stream)

    def copy_rows(self, target: int, pitch: int, source: int, width: int, rows: int) -> None:
        """Start copying `rows` pieces of `width` bytes, which follow each other, to places `pitch` bytes apart."""
        copy = self._driver.CUDA_MEMCPY2D()
        copy.srcMemoryType = copy.dstMemoryType = self._driver.CUmemorytype.CU_MEMORYTYPE_DEVICE
        copy.srcDevice, copy.dstDevice = source, target
        copy.srcPitch, copy.dstPitch, copy.WidthInBytes, copy.Height = width, pitch, width, rows
        self._call("copy", self._driver.cuMemcpy2DAsync, copy, self._stream)

    def wait(self) -> None:
        """Until everything that was started is done."""
        self._call("finish its work", self._driver.cuStreamSynchronize, self._stream)

    def close(self) -> None:
        """Free the buffers and let go of the GPU; what fails on the way is of no use to know."""
        if not self._open:
            return
        self._open = False
        driver = self._driver
        with suppress(WorkError), self.current():
            driver.cuStreamSynchronize(self._stream)
            for buffer in self._buffers:
                driver.cuMemFree(buffer)
            driver.cuStreamDestroy(self._stream)
        self._buffers.clear()
        driver.cuDevicePrimaryCtxRelease(self._device)

    def _call(self, what: str, function: Callable[..., tuple[Any, ...]], *arguments: Any) -> Any:
        """What a call of the driver gives, in the GPU's context. Raises WorkError with `what` where it fails."""
        with self.current():
            return self._check(what, function(*arguments))

    def _check(self, what: str, result: tuple[Any, ...]) -> Any:
        error, *values = result
        if error != self._driver.CUresult.CUDA_SUCCESS:
            full = error == self._driver.CUresult.CUDA_ERROR_OUT_OF_MEMORY
            remedy = "; end what else uses it, or take a smaller model or half precision" if full else ""
            raise WorkError(f"the GPU cannot {what}: {error.name}{remedy}")
        return values[0] if values else None


def _unpin(driver: ModuleType, device: Any, context: Any, address: int) -> None:
    if int(driver.cuCtxPushCurrent(context)[0]) == 0:
        driver.cuMemFreeHost(address)
        driver.cuCtxPopCurrent()
    driver.cuDevicePrimaryCtxRelease(device)
