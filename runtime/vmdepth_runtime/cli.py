"""What every vmdepth command shares: one-line errors, exit codes, and the `vmdepth <verb>` umbrella."""

from __future__ import annotations

import signal
import sys
import time
from _thread import get_ident, start_new_thread
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import MISSING, fields
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import Any, NoReturn

import click

from vmdepth_runtime.errors import NO_ONNXRUNTIME, InputError, WorkError

HELP = ("-h", "--help")

# What the base install leaves out. One extra brings all of it, so that nobody is sent to install twice; but boards,
# which have no torch, are not sent for it by what needs none.
LEFT_OUT = {"torch", "einops", "safetensors", "yaml", "tensorboard", "matplotlib", "tflite"}
LEFT_OUT |= {"onnx", "onnxscript", "ml_dtypes"}
_OF_GRAPHS = ("onnx", "ml_dtypes")  # what is done with graphs and engines takes no more
_NEVER_TORCH = ("vmdepth-calibrate", "vmdepth-calibrate scale")
_NO_TORCH_FOR_GRAPHS = ("vmdepth-export", "vmdepth-parity", "vmdepth-bench")


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


def device_option(what: str, default: str) -> Callable[[Any], Any]:
    """`--device`, for a click command. what: is on it; default: where that is otherwise, for its help."""
    return click.option("--device", metavar="cpu|cuda[:N]|tensorrt[:N]", help=f"What {what}.  [default: {default}]")


def _print_version(context: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked:
        click.echo(f"vmdepth {version('vmdepth')}")
        context.exit()


_VERSION = click.Option(
    ["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)


class _FileHere(click.ParamType):
    """A path; an address is none (it would lose a slash, and be told as a file that is not there), nor is nothing (it
    would be the current folder, which a script with an unset variable does not mean)."""

    def __init__(self, path: click.Path) -> None:
        self.name = path.name
        self._path = path

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("is empty; name a file.", param, ctx)
        scheme, mark, _ = str(value).partition("://")
        if mark and scheme.isalnum():
            self.fail(f"is an address ({scheme}://…), and has to be a file of this machine.", param, ctx)
        try:
            Path(value).stat()
        except OSError as error:
            # One that is not there may have to be made; whoever wants it there says so.
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                self.fail(f"cannot be a file here ({error.strerror}).", param, ctx)
        return self._path.convert(value, param, ctx)


def parse_size(size: str | None, option: str = "--size") -> tuple[int, int] | None:
    """Height and width of "HxW"; None of None. Raises InputError, naming the option, for anything else."""
    if size is None:
        return None
    height, x, width = size.partition("x")
    if not (x and height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise InputError(f"{option} {size}: should be HxW, for example 192x272")
    return int(height), int(width)


@contextmanager
def _no_interrupt_is_lost() -> Iterator[None]:
    """While it is open, Ctrl-C that came where Python drops what is raised comes again: in a finalizer, or in the
    callback of a weak reference, as when a thread ends."""
    before, main_thread = sys.unraisablehook, get_ident()

    def again() -> None:
        time.sleep(0.05)  # what waits for ever is then waiting, and only a signal of the system ends that
        signal.pthread_kill(main_thread, signal.SIGINT)

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            start_new_thread(again, ())  # of threading's, what ends a thread may hold the locks
        else:
            before(dropped)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def run_command(command: click.Command, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a click command, with -h and --version added, and leave the process with vmdepth's exit codes.

    0 done; 1 the work failed or disagreed (`WorkError`); 2 bad usage or input (`InputError`, click's own usage errors,
    a missing optional dependency); 130 interrupted. Errors are one line on stderr, never a traceback.
    """
    name = command.name or "vmdepth"
    whole = copy(command)
    whole.params = [*map(_of_files_here, command.params), _VERSION]
    whole.context_settings = {**command.context_settings, "help_option_names": list(HELP)}
    try:
        with _no_interrupt_is_lost():
            code = whole.main(args=arguments, prog_name=name, standalone_mode=False)
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
        if missing == "onnxruntime":
            _leave(name, NO_ONNXRUNTIME, 2)
        if missing not in LEFT_OUT:
            raise
        _leave(name, f"this needs '{missing}': pip install 'vmdepth[{_extra_of(missing, whole, arguments)}]'", 2)
    except (KeyboardInterrupt, click.Abort):
        _leave(name, "interrupted", 130)
    sys.exit(code if isinstance(code, int) else 0)


def _extra_of(missing: str, command: click.Command, arguments: Sequence[str] | None) -> str:
    """The extra that brings what is missing, and all else that a command needs for these arguments, which it takes."""
    if (command.name, missing) == ("vmdepth-masks", "torch"):
        return "export,dynamics"
    if missing not in _OF_GRAPHS or command.name not in (*_NEVER_TORCH, *_NO_TORCH_FOR_GRAPHS):
        return "export"
    words = list(sys.argv[1:] if arguments is None else arguments)
    given = command.make_context(command.name, words, resilient_parsing=True).params
    models = [given[one.name or ""] for one in command.params if isinstance(one, click.Argument)]
    graphs = all(Path(model).suffix in (".onnx", ".engine") for model in models if model is not None)
    return "calibrate" if graphs or command.name in _NEVER_TORCH else "export"


def _of_files_here(parameter: click.Parameter) -> click.Parameter:
    if not isinstance(parameter.type, click.Path):
        return parameter
    own = copy(parameter)
    own.type = _FileHere(parameter.type)
    return own


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
    if verb in HELP:
        print(_list_verbs(verbs), end="")
        sys.exit(0)
    if verb == "--version":
        print(f"vmdepth {version('vmdepth')}")
        sys.exit(0)
    if verb not in verbs:
        near = get_close_matches(verb, verbs, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else f"; there are: {', '.join(sorted(verbs))}."
        _leave("vmdepth", f"no verb '{verb}'{meant} 'vmdepth --help' says what each does", 2)
    sys.argv = [f"vmdepth-{verb}", *sys.argv[2:]]
    verbs[verb].load()()
    sys.exit(0)


def _list_verbs(verbs: Mapping[str, EntryPoint]) -> str:
    """What each command does is the first line of its module, after its name; importing that takes no torch."""
    lines = [(verb, (import_module(verbs[verb].module).__doc__ or "").split("\n")[0]) for verb in sorted(verbs)]
    text = click.HelpFormatter(width=80)
    text.write_usage("vmdepth", "VERB ...")
    with text.section("Verbs"):
        text.write_dl([(verb, line.partition(": ")[2]) for verb, line in lines])
    text.write_paragraph()
    text.write_text("'vmdepth VERB --help' says more of each; 'vmdepth-VERB' is the same command.")
    return text.getvalue()
