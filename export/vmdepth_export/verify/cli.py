"""`vmdepth-verify`: does everything work on this board or GPU, and how fast?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vmdepth_export.verify.settings import VerifySettings
from vmdepth_runtime.cli import defaults_of, run_command

if TYPE_CHECKING:
    from vmdepth_export.verify.outcome import Outcome

_SIGNS = {"passes": "passes", "fails": "FAILS", "no device": "no device", "left out": "left out"}


@click.command("vmdepth-verify", context_settings=defaults_of(VerifySettings))
@click.option(
    "-o",
    "--output",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="All that was seen, as JSON; a table of it goes beside it, as .md, over one of an earlier time at most.",
)
@click.option("--quick", is_flag=True, help="The bundled model alone, in fp32 and fp16; three minutes at most.")
@click.option(
    "--reference",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="GRAPH",
    help="Step graph of the reference network.  [default: made for the time of the checks, where torch is]",
)
@click.option("--make-reference", is_flag=True, help="Make the graph of --reference and keep it, which takes torch.")
@click.option(
    "--target",
    type=click.Choice(["tensorrt", "tensorrt-rtx"]),
    help="What builds engines.  [default: tensorrt, or else tensorrt-rtx]",
)
def command(**options: Any) -> int:
    """Check everything that this machine can show: ONNX Runtime on CPU and CUDA, engines of the bundled model and of a
    reference network in fp32, fp16 and INT8 against their step graphs, CUDA graphs on and off, times of a step, whole
    runs, memory, and what crosses between host and device.

    Each check stands alone: one that fails leaves the others. What cannot be seen here is said. Exit code 1 where
    something is wrong, or nothing could be checked; the line for a bug report comes last. Ctrl-C and SIGTERM keep what
    was seen.
    """
    from vmdepth_export.stages import Stages
    from vmdepth_export.verify.run import table_of, verify_machine
    from vmdepth_runtime.pipeline.interrupt import sigterm_as_ctrl_c

    settings = VerifySettings(**options)
    with sigterm_as_ctrl_c():
        seen = verify_machine(settings, tell=_tell, stages=Stages("vmdepth-verify"))
    for reason in seen.reasons("no device"):
        click.echo(f"no device: {reason}")
    click.echo(f"{settings.output}, {table_of(settings.output)}: {seen.summary}")
    if seen.bug_report:
        click.echo(f"for a bug report: {seen.bug_report}")
    if seen.nothing_checked:
        click.echo(seen.nothing_checked)
    if seen.interrupted:
        raise KeyboardInterrupt
    return 0 if seen.agrees else 1


def _tell(outcome: Outcome) -> None:
    told = "" if outcome.status == "no device" else f": {outcome.told}"  # which is the same of all, and comes last
    click.echo(f"{_SIGNS[outcome.status]:<9}  {outcome.name}{told}")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
