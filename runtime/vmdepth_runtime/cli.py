"""What every vmdepth command shares: one-line errors, exit codes, and the `vmdepth <verb>` umbrella."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from typing import Any, NoReturn

import click

from vmdepth_runtime.errors import InputError, WorkError

# Import name -> the extra that brings it. Only what the base install leaves out.
_EXTRA_OF = {
    "torch": "train",
    "einops": "train",
    "safetensors": "train",
    "yaml": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "onnx": "export",
    "onnxscript": "export",
}


class LateHelpOption(click.Option):
    """An option whose help takes imports that only `--help` should pay for.

    Args:
        late_help: gives the help text, when it is asked for.
    """

    def __init__(self, *args: Any, late_help: Callable[[], str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._late_help = late_help

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._late_help()
        return super().get_help_record(ctx)


def defaults_of(*settings: type) -> dict[str, Any]:
    """A command's `context_settings`, with which its options take their defaults from dataclasses of settings.

    So a default stands there alone, and `--help` reads it. An option belongs to the field of its name.
    """
    values = {field.name: field.default for kind in settings for field in fields(kind) if field.default is not MISSING}
    return {"default_map": values}


def parse_size(size: str | None, option: str = "--size") -> tuple[int, int] | None:
    """Height and width of "HxW"; None of None. Raises InputError, naming the option, for anything else."""
    if size is None:
        return None
    height, x, width = size.partition("x")
    if not (x and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f"{option} {size}: should be HxW, for example 192x272")
    return int(height), int(width)


def run_command(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a click command and leave the process with vmdepth's exit codes.

    0 done; 1 the work failed or disagreed (`WorkError`); 2 bad usage or input (`InputError`, click's own usage errors,
    a missing optional dependency); 130 interrupted. Errors are one line on stderr, never a traceback.
    """
    name = command.name or "vmdepth"
    try:
        code = command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except click.ClickException as error:
        _leave(name, f"{error.format_message()} See '{name} --help'.", 2)
    except InputError as error:
        _leave(name, str(error), 2)
    except WorkError as error:
        _leave(name, str(error), 1)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA_OF:
            raise
        _leave(name, f"this command needs '{missing}': pip install 'vmdepth[{_EXTRA_OF[missing]}]'", 2)
    except (KeyboardInterrupt, click.Abort):
        _leave(name, "interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _leave(name: str, message: str, code: int) -> NoReturn:
    one_line = " ".join(message.split())
    print(f"{name}: {one_line}", file=sys.stderr)
    sys.exit(code)


def main() -> NoReturn:
    """`vmdepth <verb> ...` is `vmdepth-<verb> ...`: the verbs are the distribution's own console scripts."""
    verbs = {
        script.name.removeprefix("vmdepth-"): script
        for script in entry_points(group="console_scripts")
        if script.name.startswith("vmdepth-")
    }
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("--help", "-h"):
        print("usage: vmdepth VERB ...\n\nverbs: " + ", ".join(sorted(verbs)) + "\n\n'vmdepth VERB --help' says more.")
        sys.exit(0)
    if verb not in verbs:
        _leave("vmdepth", f"no verb '{verb}'; there are: {', '.join(sorted(verbs))}", 2)
    sys.argv = [f"vmdepth-{verb}", *sys.argv[2:]]
    verbs[verb].load()()
    sys.exit(0)
