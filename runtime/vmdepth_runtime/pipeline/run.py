"""A whole run, from settings to report: check, open, stream, report."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from vmdepth_runtime.atomic_files import write_report
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.pipeline.assembly import Pipeline, open_pipeline
from vmdepth_runtime.pipeline.checks import check_outputs, outputs_of
from vmdepth_runtime.pipeline.loop import run_pipeline
from vmdepth_runtime.pipeline.report import make_report
from vmdepth_runtime.pipeline.reporter import Reporter
from vmdepth_runtime.pipeline.settings import RunSettings


def run(settings: RunSettings) -> dict[str, Any]:
    """Give depth for every frame of the sources, as `vmdepth-run` does; lines on stderr tell how it goes.

    ```python
    from vmdepth_runtime import RunSettings, run

    report = run(RunSettings(sources=("demo",), outputs=("depth.npz",)))
    report["frames_out"]
    ```

    While it runs, Ctrl-C and SIGTERM end the sources, so what was done is finished: `report["interrupted"]`.

    Args:
        settings: What is streamed where, and how.

    Returns:
        The report, as `--report` writes it.

    Raises:
        InputError: For bad input, before anything is written; a source may turn out bad later.
        WorkError: When an output cannot be written, or the run broke off. What was done is kept, the report written.
    """
    outputs = outputs_of(settings)
    check_outputs(settings, outputs)
    with ExitStack() as stack:
        pipeline = open_pipeline(settings, outputs, stack)
        failure = _stream(pipeline, strict=settings.strict)
        report = make_report(pipeline, settings.resize, failure)
        _keep_report(report, settings.report, failure, pipeline.reporter)
        if failure is not None:
            raise failure
        pipeline.reporter.finish(report)
    return report


def _stream(pipeline: Pipeline, *, strict: bool) -> InputError | WorkError | None:
    """Until the sources end or an interrupt comes, and all outputs are finished. Returns what broke it off."""
    p, failure = pipeline, None
    start = perf_counter()
    try:
        advance = partial(p.reporter.advance, readers=p.readers, batch=p.batch)
        run_pipeline(p.readers, p.batch, p.writers, p.statistics, p.interrupt, p.stepping, advance, strict=strict)
        for writer in p.writers:
            writer.finish(p.interrupt)
    except BaseException as error:
        # Whatever happened: hours of depth are not to go with it.
        failure = _rescue(p, error)
        if failure is None:
            raise
    p.statistics.seconds = perf_counter() - start
    return failure


def _rescue(pipeline: Pipeline, error: BaseException) -> InputError | WorkError | None:
    """Finish the outputs that can be finished, and tell which cannot. Returns the error as users are told it; None for
    one that is not about the work, such as a second Ctrl-C."""
    pipeline.reporter.stop()
    failure: InputError | WorkError | None = None
    if isinstance(error, Exception):
        failure = error if isinstance(error, (InputError, WorkError)) else _broken_off(error)
    for line in [line for writer in pipeline.writers for line in writer.rescue()]:
        if failure is not None and line.startswith(str(failure)):
            failure = WorkError(line)  # which says what became of the output, too
        else:
            pipeline.reporter.say(line)
    return failure


def _broken_off(error: Exception) -> WorkError:
    what = " ".join(str(error).split())[:300]
    failure = WorkError(f"the run broke off: {type(error).__name__}: {what}; what was done is kept")
    failure.__cause__ = error
    return failure


def _keep_report(report: dict[str, Any], path: Path | None, failure: Exception | None, reporter: Reporter) -> None:
    if path is None:
        return
    try:
        write_report(report, path)
    except WorkError as error:
        if failure is None:
            raise
        reporter.say(str(error))  # the failure comes first
