"""What one call enqueues on a CUDA stream, recorded once and launched again and again as one CUDA graph.

CUDA Driver API, "Graph Management" and "Stream Management"; from CUDA 11.4 on.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from vmdepth_runtime.sessions.cuda_memory import failure, load_driver


class CudaGraph:
    """Launches on `stream` (CUstream) what was recorded there. Belongs to the CUDA context that was current then.

    graph: CUgraphExec.
    """

    def __init__(self, driver: ModuleType, graph: Any, stream: int) -> None:
        self._driver, self._graph, self._stream = driver, graph, stream

    def launch(self) -> None:
        """Enqueue everything. Raises WorkError where CUDA cannot."""
        error = self._driver.cuGraphLaunch(self._graph, self._stream)[0]
        if int(error) != 0:  # CUDA_SUCCESS
            raise failure("launch what was recorded for it", error)

    def close(self) -> None:
        """Let go of it."""
        self._driver.cuGraphExecDestroy(self._graph)


def record(stream: int, enqueue: Callable[[], bool]) -> CudaGraph | None:
    """Record what `enqueue` puts on a stream; nothing of it runs. None where that cannot be recorded.

    enqueue: says whether it could; has to have run once before, so that it allocates and loads nothing any more.
    """
    driver = load_driver()
    # What other threads do meanwhile is no concern.
    mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    if not _works(driver.cuStreamBeginCapture(stream, mode)):
        return None
    enqueued = False
    try:
        enqueued = enqueue()
    finally:
        graph = _end(driver, stream, keep=enqueued)
    return None if graph is None else CudaGraph(driver, graph, stream)


def _end(driver: ModuleType, stream: int, *, keep: bool) -> Any | None:
    """Stop recording. CUgraphExec of what was recorded, where that is to be kept and can be launched."""
    ended = driver.cuStreamEndCapture(stream)
    if not _works(ended):
        return None
    recorded = ended[1]
    made = driver.cuGraphInstantiate(recorded, 0) if keep else None
    driver.cuGraphDestroy(recorded)
    return made[1] if made is not None and _works(made) else None


def _works(result: tuple[Any, ...]) -> bool:
    return int(result[0]) == 0  # CUDA_SUCCESS
