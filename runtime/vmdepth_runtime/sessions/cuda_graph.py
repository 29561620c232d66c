"""What one call enqueues on a CUDA stream, recorded once and launched again and again as one CUDA graph.

pycuda has no calls for graphs, so the driver's own are called (CUDA Driver API, "Graph Management"; from CUDA 11.4 on).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_THREAD_LOCAL = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile is no concern
_Handle = ctypes.c_void_p


class CudaGraph:
    """Launches on `stream` (CUstream) what was recorded there. Belongs to the CUDA context that was current then.

    graph: CUgraphExec.
    """

    def __init__(self, driver: ctypes.CDLL, graph: ctypes.c_void_p, stream: int) -> None:
        self._driver, self._graph, self._stream = driver, graph, _Handle(stream)

    def launch(self) -> bool:
        """Enqueue everything; False where CUDA cannot."""
        return not self._driver.cuGraphLaunch(self._graph, self._stream)

    def close(self) -> None:
        """Let go of it."""
        self._driver.cuGraphExecDestroy(self._graph)


def record(stream: int, enqueue: Callable[[], bool]) -> CudaGraph | None:
    """Record what `enqueue` puts on a stream; nothing of it runs. None where that cannot be recorded.

    enqueue: says whether it could; has to have run once before, so that it allocates and loads nothing any more.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    if driver.cuStreamBeginCapture_v2(_Handle(stream), _THREAD_LOCAL):
        return None
    recorded, graph = _Handle(), _Handle()
    try:
        enqueued = enqueue()
    finally:
        failed = driver.cuStreamEndCapture(_Handle(stream), ctypes.byref(recorded))
    if not recorded:
        return None
    made = enqueued and not failed
    made = made and not driver.cuGraphInstantiateWithFlags(ctypes.byref(graph), recorded, ctypes.c_ulonglong(0))
    driver.cuGraphDestroy(recorded)
    return CudaGraph(driver, graph, stream) if made else None
