"""A whole run, from settings to report: check, open, stream, report."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from vmdepth_runtime.atomic_files import write_report
from vmdepth_runtime.errors import InputError, WorkError, told_by
from vmdepth_runtime.pipeline.assembly import Pipeline, open_pipeline, open_session
from vmdepth_runtime.pipeline.checks import check_live, check_outputs
from vmdepth_runtime.pipeline.interrupt import sigterm_as_ctrl_c
from vmdepth_runtime.pipeline.jobs import Job, plan_jobs
from vmdepth_runtime.pipeline.loop import run_pipeline
from vmdepth_runtime.pipeline.report import join_reports, make_report, unread_report
from vmdepth_runtime.pipeline.reporter import say
from vmdepth_runtime.pipeline.settings import RunSettings
from vmdepth_runtime.pipeline.watchdog import notify_systemd
from vmdepth_runtime.sessions.base import StepSession
from vmdepth_runtime.sources.uri import redacted


def run(settings: RunSettings) -> dict[str, Any]:
    """Give depth for every frame of the sources, as `vmdepth-run` does; lines on stderr tell how it goes.

    ```python
    from vmdepth_runtime import RunSettings, run

    report = run(RunSettings(sources=("demo",), outputs=("depth.npz",)))
    report["frames_out"]
    ```

    Several sources go one after the other through one model, each with its states anew: one that cannot be read, or
    whose output cannot be written, is told, and the others are done. While it runs, Ctrl-C and SIGTERM end the sources,
    so what was done is finished: `report["interrupted"]`.

    Args:
        settings: What is streamed where, and how.

    Returns:
        The report, as `--report` writes it.

    Raises:
        InputError: For bad input, before anything is written; a source may turn out bad later.
        WorkError: When an output cannot be written, a run broke off, or some of several sources or pictures failed.
            What was done is kept, the report written.
    """
    jobs, remarks = plan_jobs(settings)
    check_outputs(settings, jobs)
    together = [jobs] if settings.streams else [[job] for job in jobs]
    if len(together) > 1:
        check_live(jobs)
    with ExitStack() as stack:
        session = open_session(settings, jobs, stack)
        stack.callback(notify_systemd, "STOPPING=1")  # once: a service that stops is given little time
        for line in remarks:
            say(line)
        if len(together) == 1:
            report, failure = _run_jobs(settings, session, jobs, (1, 1))
        else:
            stack.enter_context(sigterm_as_ctrl_c())
            report, failure = _run_queue(settings, session, jobs)
    _keep_report(report, settings.report, failure)
    if failure is not None:
        raise failure
    return report


_Outcome = tuple[dict[str, Any], InputError | WorkError | None]  # a report, and what went wrong


def _run_queue(settings: RunSettings, session: StepSession, jobs: Sequence[Job]) -> _Outcome:
    """One job after the other, until an interrupt comes. What goes wrong with one is told at once."""
    reports: list[dict[str, Any]] = []
    failures: list[InputError | WorkError] = []
    for number, job in enumerate(jobs, 1):
        try:
            report, failure = _run_jobs(settings, session, [job], (number, len(jobs)))
        except (InputError, WorkError) as error:
            report, failure = unread_report(job.source, error), error
        except KeyboardInterrupt:  # between two
            report, failure = {**unread_report(job.source, None), "interrupted": True}, None
        reports.append(report)
        if failure is not None:
            failures.append(failure)
            say(str(failure))
        if report["interrupted"]:
            undone = jobs[number:] if report["sources"][0]["frames_out"] else jobs[number - 1 :]
            if undone:
                say(f"interrupted: {len(undone)} of {len(jobs)} sources not done, from {redacted(undone[0].source)} on")
            return join_reports(reports), None
    whole = join_reports(reports)
    if not failures:
        return whole, None
    line = f"{len(failures)} of {len(jobs)} sources failed, as told above; what was done of the others is kept"
    nothing = all(isinstance(failure, InputError) for failure in failures) and len(failures) == len(jobs)
    return whole, InputError(f"none of the {len(jobs)} sources can be read") if nothing else WorkError(line)


def _run_jobs(settings: RunSettings, session: StepSession, jobs: Sequence[Job], place: tuple[int, int]) -> _Outcome:
    """Jobs whose sources go through the model at once. Raises InputError and WorkError of what cannot be opened."""
    with ExitStack() as stack:
        pipeline = open_pipeline(settings, session, jobs, place, stack)
        failure = _stream(pipeline, strict=settings.strict)
        report = make_report(pipeline, settings.resize, failure)
        if failure is None:
            pipeline.reporter.finish(report)
            failure = _missing_pictures(pipeline) or _missing_metres(pipeline)
    report["interrupted"] = pipeline.interrupt.pressed  # while all was being closed, too
    return report, failure


def _missing_pictures(pipeline: Pipeline) -> WorkError | None:
    """Of pictures each is a file of its own: one that is not there is a failure, whatever became of the others."""
    for source in (reader.source for reader in pipeline.readers):
        if source.pictures and source.skipped_count:
            line = f"{source.name}: {source.skipped_count} of {source.info.frames} pictures could not be read"
            return WorkError(f"{line}, as told above; the others are done")
    return None


def _missing_metres(pipeline: Pipeline) -> WorkError | None:
    """Metres that were to follow measured depth, of which none belonged to any frame: there is no depth at all."""
    metres = pipeline.batch.metres
    for running, reader in zip(metres if isinstance(metres, Sequence) else (), pipeline.readers, strict=False):
        if running.without and not running.fits:
            return WorkError(f"{reader.source.name}: {running.warning}; its frames have no depth")
    return None


def _stream(pipeline: Pipeline, *, strict: bool) -> InputError | WorkError | None:
    """Until the sources end or an interrupt comes, and all outputs are finished. Returns what broke it off."""
    p, failure = pipeline, None
    start, cpu_start = perf_counter(), process_time()
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
    p.statistics.seconds, p.statistics.cpu_seconds = perf_counter() - start, process_time() - cpu_start
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
    failure = WorkError(f"the run broke off: {type(error).__name__}: {told_by(error)}; what was done is kept")
    failure.__cause__ = error
    return failure


def _keep_report(report: dict[str, Any], path: Path | None, failure: Exception | None) -> None:
    if path is None:
        return
    try:
        write_report(report, path)
    except WorkError as error:
        if failure is None:
            raise
        say(str(error))  # the failure comes first
