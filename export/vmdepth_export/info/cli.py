"""`vmdepth-info`: what this machine can run, or what a model is and where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth_export.info.settings import InfoSettings
from vmdepth_runtime.cli import defaults_of, run_command


@click.command("vmdepth-info", context_settings=defaults_of(InfoSettings))
@click.argument("model", metavar="[MODEL|RUN]", required=False, type=click.Path(path_type=Path))
@click.option("--models", is_flag=True, help="The official models that every command takes by name.")
def command(**options: Any) -> None:
    """This machine: versions, GPU, and what can run. With MODEL (checkpoint, .onnx, .engine, or a name): what
    it is, and whether it runs here. With the folder of a run of vmdepth-train: what it reached, and what comes next."""
    from vmdepth_export.info.describe import describe

    facts = describe(InfoSettings(**options))
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")


def main() -> NoReturn:
    """The console script."""
    run_command(command)


if __name__ == "__main__":
    main()
