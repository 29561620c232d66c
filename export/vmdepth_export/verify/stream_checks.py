"""Checks of whole streams: that all frames come out, how fast, and that memory stays as it is."""

from __future__ import annotations

import io
import os
import tempfile
from contextlib import closing, redirect_stderr
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from vmdepth_export.verify.outcome import LeftOut, Seen
from vmdepth_export.verify.sensors import after, read_sensors
from vmdepth_runtime.errors import WorkError

_SETTLED = 200  # frames after which memory is what it will be
_MORE = 0.05  # of it that may come
GPU_MIB = 64  # that may be gone on the GPU: others use it as well, and a Jetson's memory is that of the system


def whole_run(model: str) -> Seen:
    """`vmdepth-run` over the bundled clip, an mp4 written."""
    from vmdepth_runtime.pipeline.run import run
    from vmdepth_runtime.pipeline.settings import RunSettings

    _check_there(model)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        settings = RunSettings(("demo",), (str(Path(folder) / "run.mp4"),), Path(model), device=_device_of(model))
        report = run(settings)
    source = report["sources"][0]
    told = f"{report['fps']:.1f} frames/s, limited by {report['limited_by']}; {source['frames_out']} frames"
    lost = source["promised_frames"] - source["frames_out"]
    wrong = f"{lost} of {source['promised_frames']} frames did not come out" if lost else ""
    figures = {key: report[key] for key in ("fps", "frames_out", "step_ms", "stage_shares", "limited_by", "encoder")}
    return Seen(told, wrong, figures)


def memory(model: str, count: int) -> Seen:
    """Resident memory of the process, and what is free on the GPU, while a stream goes on; key frames are kept.

    Of the one 5 % more may come, of the other `GPU_MIB` may go. Raises WorkError where the GPU stops telling.
    """
    from vmdepth_runtime import DepthStream, bundled, open_source

    _check_there(model)
    with open_source(bundled.CLIP) as source:
        images = [frame.image.copy() for frame in islice(source, 30)]
    held = []
    with DepthStream(model, device=_device_of(model), keyframes=True) as stream:
        for number, image in enumerate(islice(cycle(images), count), 1):
            stream(image)
            if number in (_SETTLED, count):
                held.append(_held(model))
        sensors = read_sensors()
    before, last = held
    grown = last["resident_mib"] / before["resident_mib"] - 1
    gone = before.get("gpu_free_mib", 0.0) - last.get("gpu_free_mib", 0.0)
    told = f"{before['resident_mib']:.0f} to {last['resident_mib']:.0f} MiB"
    if before.keys() != last.keys():
        raise WorkError("the GPU tells of its free memory at one time, and at another it does not")
    if "gpu_free_mib" in before:
        told += f"; free on the GPU {before['gpu_free_mib']:.0f} to {last['gpu_free_mib']:.0f} MiB"
    told += after(sensors)
    wrong = [f"memory grew by {100 * grown:.1f} %"] if grown > _MORE else []
    wrong += [f"{gone:.0f} MiB of the GPU are gone"] if gone > GPU_MIB else []
    return Seen(
        told, f"{', '.join(wrong)}: {told}" if wrong else "", {"before": before, "after": last, "sensors": sensors}
    )


def _held(model: str) -> dict[str, float]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    held: dict[str, float] = {"resident_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20}
    if _device_of(model) is None:
        from vmdepth_runtime.sessions.cuda_memory import CudaMemory, load_driver

        with closing(CudaMemory()) as gpu, gpu.current():
            error, free, _ = load_driver().cuMemGetInfo()
        if not int(error):
            held["gpu_free_mib"] = free / 2**20
    return held


def _device_of(model: str) -> Any:
    """Step graphs are run on the CPU here; an engine has its own GPU."""
    return None if model.endswith(".engine") else "cpu"


def _check_there(model: str) -> None:
    if not Path(model).is_file():
        raise LeftOut("its engine was not built" if model.endswith(".engine") else "its step graph was not made")
