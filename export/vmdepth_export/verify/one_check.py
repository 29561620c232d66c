"""One check in a process of its own: `python -m vmdepth_export.verify.one_check MODULE:FUNCTION ARGUMENTS RESULT`.

A library that breaks, or leaves the GPU broken behind, ends this process and nothing else.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from vmdepth_export.verify.outcome import LeftOut, Seen, Status
from vmdepth_runtime.atomic_files import write_report
from vmdepth_runtime.cli import LEFT_OUT
from vmdepth_runtime.errors import InputError, MissingLibrary, WorkError

_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG: a closed terminal reaches only the session that it belongs to
_EXTRAS = {"onnx": "calibrate", "ml_dtypes": "calibrate"}  # enough without torch


def result_of(check: Callable[..., Seen], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """status, told and figures of what a check sees, whatever becomes of it."""
    status: Status
    try:
        seen = check(**arguments)
    except (LeftOut, MissingLibrary) as reason:
        status, seen = "left out", Seen(str(reason))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in LEFT_OUT:
            extra = _EXTRAS.get(missing, "export")
            status, seen = "left out", Seen(f"this needs '{missing}': pip install 'vmdepth[{extra}]'")
        else:  # of ours, or of the base install
            status, seen = "fails", Seen(f"{type(error).__name__}: {error}")
    except (InputError, WorkError) as error:
        status, seen = "fails", Seen(str(error))
    except Exception as error:  # of a library: it is what a bug report is about
        status, seen = "fails", Seen(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    else:
        status = "fails" if seen.wrong else "passes"
        seen = Seen(seen.wrong or seen.told, figures=seen.figures)
    return {"status": status, **asdict(seen)}


def main() -> None:
    """Write what comes of the check to the file of the last argument; where whoever asked is gone, end."""
    with suppress(OSError, AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    module, _, name = sys.argv[1].partition(":")
    check = getattr(import_module(module), name)
    write_report(result_of(check, json.loads(sys.argv[2])), Path(sys.argv[3]))


if __name__ == "__main__":
    main()
