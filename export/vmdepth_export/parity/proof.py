"""Two models, from their files to figures."""

from __future__ import annotations

from collections.abc import Callable

from vmdepth.causal import check_asked
from vmdepth.official.hub import local_file
from vmdepth_export.parity.bisect import first_divergence
from vmdepth_export.parity.comparison import ParityReport, compare
from vmdepth_export.parity.frames import choose_frames
from vmdepth_export.parity.opening import open_pair
from vmdepth_export.parity.picture import draw
from vmdepth_export.parity.settings import ParitySettings
from vmdepth_runtime.atomic_files import check_report, check_target, write_report
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions.load import check_device


def compare_models(settings: ParitySettings, *, warn: Callable[[str], None] = lambda line: None) -> ParityReport:
    """Run both models over the same frames and measure how far they are apart, as `vmdepth-parity` does.

    Args:
        settings: Which two, over what, and where figures and picture go.
        warn: Gets a line where a setting changes nothing.

    Returns:
        The figures; `agrees` is the verdict. With `bisect`, `find_divergence` says where it comes from.

    Raises:
        InputError: For files that are no models, or two that cannot be compared; before anything is written.
        WorkError: For models that do not have the same states; with `bisect` it names the node.
    """
    check_report(settings.report, settings.reference, settings.candidate, settings.picture)
    if settings.picture:
        check_target(settings.picture)
    if settings.picture and settings.picture.suffix != ".png":
        raise InputError(f"{settings.picture}: unknown picture ending '{settings.picture.suffix}'; use .png")
    models = local_file(settings.reference), local_file(settings.candidate)
    check_asked(settings.causal, models)
    check_device(settings.device, models[1:])
    with open_pair(*models, settings.causal, warn, settings.device) as (reference, candidate):
        frames = choose_frames(settings.source, settings.frames, candidate.contract, settings.topic)
        try:
            result = compare(reference, candidate, frames)
        except WorkError as error:
            if not settings.bisect:
                raise
            raise WorkError(f"{error}; {find_divergence(settings)}") from None
    if settings.report:
        write_report(result.to_dict(), settings.report)
    if settings.picture:
        draw(result, settings.picture)
    return result


def find_divergence(settings: ParitySettings) -> str:
    """One line: the first node of the candidate, in graph order, whose result is out of tolerance."""
    models = local_file(settings.reference), local_file(settings.candidate)
    return first_divergence(*models, settings.source, settings.frames, settings.causal, settings.topic)
