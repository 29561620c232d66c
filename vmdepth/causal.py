"""`--causal/--no-causal`: plain names for two forms of attention over time, the same at every command that has them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vmdepth_runtime.errors import InputError

if TYPE_CHECKING:
    from vmdepth.networks.heads.attention_head import TemporalForm
    from vmdepth.networks.step_network import StepNetwork

Network = TypeVar("Network")


def causal_option(of: str, default: str) -> Callable[[Any], Any]:
    """The option, for a click command. of, default: whose attention it is and what it is otherwise, for its help."""
    return click.option(
        "--causal/--no-causal",
        default=None,
        help=f"Whether attention over time {of} sees the past alone, or the whole clip.  [default: {default}]",
    )


def flag(causal: bool) -> str:
    """As it was given."""
    return "--causal" if causal else "--no-causal"


def form_of(causal: bool | None) -> TemporalForm | None:
    """The form that it names; None for neither."""
    return None if causal is None else "causal" if causal else "bidirectional"


def causal_anyway(what: object) -> str:
    """What is said where the flag changes nothing."""
    return f"{what}: has no attention over time and never sees the future; it is causal anyway"


def check_asked(causal: bool | None, models: Iterable[Path]) -> None:
    """Raise InputError where no model is a checkpoint, whose form can still be chosen."""
    from vmdepth_runtime.sessions.load import MODEL_ENDINGS

    paths = list(models)
    if causal is not None and all(path.suffix in MODEL_ENDINGS for path in paths):
        raise InputError(
            f"{flag(causal)}: is chosen when a checkpoint is exported; {paths[0]} is a graph already, and never sees "
            f"the future"
        )


def check_steps(path: Path, model: StepNetwork) -> None:
    """Raise InputError, naming the file, for a network that has no step in its form."""
    try:
        model.check_steps()
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def load_asked(
    load: Callable[[Path, TemporalForm | None, int | None], Network],
    path: Path,
    causal: bool | None,
    warn: Callable[[str], None],
    window: int | None = None,
) -> Network:
    """A network in the form asked for.

    Args:
        load: of `vmdepth.checkpoint`.
        path: of the checkpoint.
        causal: what was asked for; None is the checkpoint's own form.
        warn: gets a line where the network is causal anyway.
        window: frames that it sees when causal.

    Raises:
        InputError: what `load` raises, and where a network that never sees the future is asked to.
    """
    from vmdepth.official.family import NoAttentionOverTime

    try:
        return load(path, form_of(causal), window)
    except NoAttentionOverTime:
        if causal is None or window is not None:
            raise
    if not causal:
        raise InputError(f"{causal_anyway(path)}; leave --no-causal out")
    warn(causal_anyway(path))
    return load(path, None, None)
