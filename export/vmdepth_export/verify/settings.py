"""What `vmdepth-verify` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmdepth_runtime.sessions.engine_sidecar import Target


@dataclass(frozen=True)
class VerifySettings:
    """Settings of one verification. Its defaults are those of the command.

    Attributes:
        output: Where all that was seen goes, as JSON; a table of it for people goes beside it, as Markdown.
        quick: The bundled model alone, in fp32 and fp16, over fewer frames, and no more than three minutes.
        reference: Step graph of the larger network, in float32. None: made for the time of the checks, where torch is.
        make_reference: Make `reference` where it is not there yet, which takes torch; so a workstation makes what a
            board without torch needs.
        target: What builds engines; None is TensorRT where it is installed, else TensorRT-RTX.
    """

    output: Path = Path("verify.json")
    quick: bool = False
    reference: Path | None = None
    make_reference: bool = False
    target: Target | None = None
