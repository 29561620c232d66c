"""Options of commands that let a network of views look at pictures: their words stand once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from vmdepth.views.settings import DEVICES, REFERENCES, RESIZE_METHODS


def looking_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what `settings.ViewsSettings` and others have alike, to a function that becomes a click command."""
    for option in reversed(_LOOKING):
        command = option(command)
    return command


_LOOKING = (
    click.option("--process-res", type=click.IntRange(14), show_default=True, metavar="PIXELS",
                 help="Of the longer side (upper_bound) or the shorter (lower_bound) that the network sees."),
    click.option("--process-res-method", type=click.Choice(RESIZE_METHODS), show_default=True,
                 help="Which side that is, and how both become multiples of 14."),
    click.option("--reference", type=click.Choice(REFERENCES), show_default=True,
                 help="How the view is chosen that the others refer to."),
    click.option("--memory-budget", metavar="AMOUNT",
                 help="What one pass may take beside weights and input, as 4GiB: the same result, slower.  "
                      "[default: all it wants]"),
    click.option("--device", type=click.Choice(DEVICES), show_default=True,
                 help="Where the network runs; auto takes a GPU where there is one."),
)  # fmt: skip
