"""What the builder adds to the pages: the commands, as their parsers know them, and links that hold on the site."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import entry_points
from inspect import cleandoc
from typing import Any

import click

COMMANDS = "<!-- commands -->"
SOURCE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./[^)]+\)")  # to what lies outside docs/: the site does not hold it


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands where a page asks for them, and leave of links to the sources their text alone."""
    if COMMANDS in markdown:
        markdown = markdown.replace(COMMANDS, "\n\n".join(_section(command) for command in commands()))
    return SOURCE_LINK.sub(r"\1", markdown)


def commands() -> list[click.Command]:
    """Those of the console scripts `vmdepth-…`, in the order of their names, each with its subcommands."""
    scripts = (script for script in entry_points(group="console_scripts") if script.name.startswith("vmdepth-"))
    modules = [import_module(script.module) for script in sorted(scripts, key=lambda script: script.name)]
    return [command for module in modules for command in (module.command, *getattr(module, "subcommands", {}).values())]


def _section(command: click.Command) -> str:
    """Heading, usage, text and a table of the options: what `--help` says."""
    context = click.Context(command, info_name=command.name, **command.context_settings)  # which has the defaults
    usage = " ".join([str(command.name), *command.collect_usage_pieces(context)])
    options = [option for option in command.get_params(context) if isinstance(option, click.Option)]
    records = filter(None, (option.get_help_record(context) for option in options))
    rows = "\n".join(f"| `{names}` | {_plain(' '.join(text.split()))} |" for names, text in records)
    text = _plain(cleandoc(command.help or ""))
    return (
        f"## {command.name}\n\n{_block(usage)}\n\n{text}\n\n| option | |\n|---|---|\n{rows}\n\n{_end(command, context)}"
    )


def _end(command: click.Command, context: click.Context) -> str:
    """What the help has below the options, as it is there."""
    formatter = click.HelpFormatter(width=110)
    command.format_epilog(context, formatter)
    return _block(formatter.getvalue().strip("\n")) if formatter.getvalue().strip() else ""


def _block(text: str) -> str:
    return f"```text\n{text}\n```"


def _plain(text: str) -> str:
    """As it stands: nothing in it is markup."""
    return re.sub(r"[<*_`\[]", r"\\\g<0>", text).replace("|", "&#124;").replace("\b\n", "")
