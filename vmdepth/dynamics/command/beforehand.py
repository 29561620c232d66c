"""What can be refused before anything heavy is loaded. Imports no torch: who has mistyped an option waits for none."""

from __future__ import annotations

from vmdepth.byte_amounts import check_budget
from vmdepth.dynamics.command.settings import MasksSettings
from vmdepth.dynamics.layers import bands_of
from vmdepth_runtime.atomic_files import check_folder, check_target
from vmdepth_runtime.errors import InputError


def check_beforehand(settings: MasksSettings) -> None:
    """Raise InputError for places, files and choices that cannot be used, whatever the network and its frames are."""
    check_folder(settings.output)
    if settings.out_arrays is not None:
        check_target(settings.out_arrays, settings.arrays)
    check_budget(settings.memory_budget)
    bands_of(settings.layers)
    if settings.arrays is not None and not settings.arrays.is_file():
        what = "is a folder" if settings.arrays.is_dir() else "no such file"
        raise InputError(f"{settings.arrays}: cannot be read ({what}); give a file of --out-arrays")
    if settings.source is not None:
        from vmdepth_runtime.sources.open import check_source  # a second for its libraries, which is for later checks

        check_source(settings.source)
    if settings.model is not None and not settings.model.exists():
        from vmdepth.official.hub.names import parse

        if parse(settings.model) is None:
            raise InputError(f"{settings.model}: no such file")
