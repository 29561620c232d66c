"""The build of ONNX Runtime that is installed, and one line where that is none, or two.

`onnxruntime` (CPU) and `onnxruntime-gpu` bring one import name: whichever was unpacked last is imported, in part.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

from vmdepth_runtime.errors import NO_ONNXRUNTIME, InputError, MissingLibrary

INSTEAD = "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install 'vmdepth[gpu]'"


def load_onnxruntime() -> ModuleType:
    """The package `onnxruntime`. Raises InputError, with the install command, where it is missing or broken."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise
        raise MissingLibrary(NO_ONNXRUNTIME) from None
    except ImportError as error:
        raise InputError(f"ONNX Runtime cannot be imported ({error}); {INSTEAD}, or 'vmdepth[cpu]'") from None
    if not hasattr(onnxruntime, "InferenceSession"):  # where both were, uninstalling one leaves a folder of remains
        raise InputError(f"ONNX Runtime is there in part; {INSTEAD}, or 'vmdepth[cpu]'")
    return onnxruntime


def installed_builds() -> dict[str, str]:
    """Distribution → version of those that bring `onnxruntime`."""
    found = {}
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def two_builds() -> str | None:
    """What is wrong and what to do, where both are installed."""
    builds = installed_builds()
    if len(builds) < 2:
        return None
    told = " and ".join(f"{name} {number}" for name, number in builds.items())
    return f"{told} are both installed, and write over each other's files: {INSTEAD}"


@contextmanager
def quiet(onnxruntime: ModuleType) -> Iterator[None]:
    """Keeps what ONNX Runtime says of devices off the screen: the one line says it."""
    onnxruntime.set_default_logger_severity(4)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(2)  # its default: warnings
