"""What a command is given by ROS: arguments behind --ros-args, and parameters, which are its options by their names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import click

from vmdepth_runtime.errors import InputError


class RosCommand(click.Command):
    """A command that leaves what is behind `--ros-args`, up to `--`, to ROS: its context's `obj` is a list of that."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, ctx.obj = split_arguments(args)
        return super().parse_args(ctx, own)


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command's own arguments, and those that are ROS's, with the words that mark them.

    From `--ros-args` on they are ROS's, up to `--` or the end
    (https://design.ros2.org/articles/ros_command_line_arguments.html).
    """
    own: list[str] = []
    ros: list[str] = []
    for_ros = False
    for argument in arguments:
        for_ros |= argument == "--ros-args"
        (ros if for_ros else own).append(argument)
        for_ros &= argument != "--"
    return own, ros


def parameters_of(command: click.Command) -> dict[str, click.Option]:
    """The options of a command by the names of their parameters: first long names, with _ for -."""
    options = [option for option in command.params if isinstance(option, click.Option) and not option.is_eager]
    return {option.opts[0].removeprefix("--").replace("-", "_"): option for option in options}


def with_parameters(node: Any, context: click.Context) -> dict[str, Any]:
    """Options of a command, with the values that the node's parameters give in place of those on the command line.

    Each option becomes a parameter of its name (`max_range` of `--max-range`), which can be read but not set: it takes
    a start to change it. Numbers may be whole or not, a list is as on the command line with commas, and an empty text,
    with which launch files say nothing, is none. Parameters with other names are someone else's, unless they are
    nearly one of these.

    Args:
        node: of rclpy, with the parameters declared that it was started with.
        context: of the command, parsed.

    Returns:
        `context.params`, anew.

    Raises:
        InputError: a parameter's name is misspelt.
        click.BadParameter: a value is not of the option's type.
    """
    from rcl_interfaces.msg import ParameterDescriptor

    options = parameters_of(context.command)
    given = {name: parameter.value for name, parameter in node.get_parameters_by_prefix("").items()}
    for name in given.keys() - options.keys():
        if near := get_close_matches(name, options, n=1, cutoff=0.8):
            raise InputError(f"parameter {name}: there is none; did you mean {near[0]}?")
    values = dict(context.params)
    for name, option in options.items():
        assert option.name is not None
        text = _as_on_the_command_line(given.get(name))
        if text:
            values[option.name] = option.process_value(context, text)
        if name in given:
            node.undeclare_parameter(name)  # which ROS declared, without a word about it
        value = values[option.name]
        plain = value if value is None or isinstance(value, (bool, int, float)) else str(value)
        about = ParameterDescriptor(description=_help(option, context), read_only=True, dynamic_typing=True)
        node.declare_parameter(name, plain, about, ignore_override=True)
    return values


def _as_on_the_command_line(value: Any) -> str:
    """A parameter's value as text; empty where it has none."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return "" if value is None else str(value)
    return ",".join(map(str, value))


def _help(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return " ".join(record[1].split()) if record else ""
