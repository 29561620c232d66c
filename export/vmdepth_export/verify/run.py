"""`verify_machine`: every check in turn, each on its own, and what all of them saw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from vmdepth_export.stages import SILENT, Stages
from vmdepth_export.verify.machine import machine
from vmdepth_export.verify.outcome import Outcome
from vmdepth_export.verify.plan import QUICK, Check, Extent, plan
from vmdepth_export.verify.report import Verification, is_table, markdown
from vmdepth_export.verify.settings import VerifySettings
from vmdepth_runtime.atomic_files import check_target, write_report, write_whole
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.gpu import find_gpu, why_no_gpu

_QUICK_SECONDS = 170.0  # from beginning to end
_LONGEST = 3600.0  # seconds of one check: builders take many minutes on a small board
_MACHINE = Check("machine", "what this machine is", "", machine)


def verify_machine(
    settings: VerifySettings, *, tell: Callable[[Outcome], None] = lambda outcome: None, stages: Stages = SILENT
) -> Verification:
    """Check everything that this machine can show, as `vmdepth-verify` does, and write down what was seen.

    Args:
        settings: How much is checked, and where it is written.
        tell: Gets what became of every check, when it is done.
        stages: Says what is being checked.

    Returns:
        All that was seen; `agrees` is the verdict. On KeyboardInterrupt what was seen until then: `interrupted` is set,
        and the other checks are left out.

    Raises:
        InputError: For an output that cannot be written, and a reference that is not there or cannot be made there.
        WorkError: When the disk does not take the report.
    """
    _check_settings(settings)
    begun = perf_counter()
    with tempfile.TemporaryDirectory(prefix="vmdepth-verify-") as folder:
        runner = _Runner(
            Path(folder), None if find_gpu() else why_no_gpu(), begun + _QUICK_SECONDS if settings.quick else None
        )
        facts: list[list[str]] = []
        outcomes: list[Outcome] = []
        interrupted = False
        try:
            found = runner.run(_MACHINE)
            facts += found.figures.get("facts", [])
            outcomes += [] if found.status == "passes" else [found]
            for outcome in outcomes:
                tell(outcome)
            for check in _planned(settings, folder, facts):
                with stages.stage(check.name):
                    outcomes.append(runner.run(check))
                tell(outcomes[-1])
        except KeyboardInterrupt:
            interrupted = True
            outcomes += _interrupted(_planned(settings, folder, facts), outcomes)
    seen = Verification(facts, outcomes, settings.quick, perf_counter() - begun, interrupted)
    write_report(seen.to_dict(), settings.output)
    write_whole(table_of(settings.output), markdown(seen).encode())
    return seen


def _planned(settings: VerifySettings, folder: str, facts: Sequence[Sequence[str]]) -> list[Check]:
    return plan(settings, Path(folder), QUICK if settings.quick else Extent(), facts)


def _interrupted(checks: Sequence[Check], done: Sequence[Outcome]) -> list[Outcome]:
    """What becomes of the checks that are not done."""
    names = {outcome.name for outcome in done}
    undone = [check for check in checks if check.name not in names]
    return [Outcome(check.name, check.what, check.promised, "left out", "interrupted") for check in undone]


def table_of(output: Path) -> Path:
    """Where the table for people lies."""
    return output.with_suffix(".md")


def _check_settings(settings: VerifySettings) -> None:
    if settings.output.suffix != ".json":
        raise InputError(f"{settings.output}: the output should end in .json; a table for people goes beside it")
    for target in (settings.output, table_of(settings.output)):
        check_target(target)
    table = table_of(settings.output)
    if table.exists() and not is_table(table.read_text(errors="replace")):
        raise InputError(f"{table}: is there and no table of vmdepth-verify, whose own would go there; name another -o")
    if settings.reference is None:
        if settings.make_reference:
            raise InputError("--make-reference: name the graph that is to be made with --reference")
        return
    if settings.reference.suffix != ".onnx":
        raise InputError(f"--reference {settings.reference}: should be a step graph, and end in .onnx")
    if settings.reference.is_file():
        return
    if not settings.make_reference:
        how = "'vmdepth-verify --quick --make-reference --reference GRAPH' makes it, where torch is"
        raise InputError(f"--reference {settings.reference}: is not there; {how}")
    check_target(settings.reference)


@dataclass(frozen=True)
class _Runner:
    """Runs checks. folder: for what they leave for each other. no_gpu: why there is none; None where there is one.
    deadline: by `perf_counter`, when all has to be done; None: no haste."""

    folder: Path
    no_gpu: str | None
    deadline: float | None

    def run(self, check: Check) -> Outcome:
        """One check, in a process of its own."""
        begun = perf_counter()
        left = _LONGEST if self.deadline is None else self.deadline - begun
        if check.device and self.no_gpu:
            result: dict[str, Any] = {"status": "no device", "told": self.no_gpu}
        elif left <= 0:
            result = {
                "status": "left out",
                "told": f"{_QUICK_SECONDS:.0f} seconds are over; without --quick it is done",
            }
        else:
            result = self._result(check, left)
        figures = result.get("figures", {})
        seconds = round(perf_counter() - begun, 1)
        return Outcome(check.name, check.what, check.promised, result["status"], result["told"], seconds, figures)

    def _result(self, check: Check, seconds: float) -> dict[str, Any]:
        written = self.folder / "result.json"
        written.unlink(missing_ok=True)
        function = f"{check.look.__module__}:{check.look.__name__}"
        words = [sys.executable, "-m", "vmdepth_export.verify.one_check", function]
        words += [json.dumps(check.arguments), str(written)]
        try:
            done = _ended(words, seconds, self.folder)
        except subprocess.TimeoutExpired:
            if self.deadline is not None:
                return {"status": "left out", "told": f"not done after {_QUICK_SECONDS:.0f} seconds in all"}
            return {"status": "fails", "told": f"not done after {seconds:.0f} seconds"}
        if written.is_file():  # a library may still break when its process ends
            return dict(json.loads(written.read_text()))
        return {"status": "fails", "told": _broken(done)}


def _ended(words: list[str], seconds: float, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A process that has ended. Where it does not in time, and on Ctrl-C, what it started itself ends with it.

    folder: for its temporary files, which it then leaves behind; None: where all have theirs.
    """
    pipe = subprocess.PIPE
    own = {**os.environ, "TMPDIR": str(folder)} if folder else None
    with subprocess.Popen(
        words, stdout=pipe, stderr=pipe, text=True, errors="replace", start_new_session=True, env=own
    ) as process:
        try:
            told, errors = process.communicate(timeout=seconds)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, process.returncode, told, errors)


def _broken(done: subprocess.CompletedProcess[str]) -> str:
    """How a process ended that left no result, and its last word."""
    how = f"ended with exit code {done.returncode}"
    if done.returncode < 0:
        how = f"ended by {signal.Signals(-done.returncode).name}"
    last = (done.stderr.strip().splitlines() or [""])[-1][:300]
    return f"{how}: {last}" if last else how
