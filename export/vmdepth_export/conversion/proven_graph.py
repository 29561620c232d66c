"""Step graphs that are written only once they agree with what they are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from vmdepth_export.conversion.settings import ATTENTION, PRECISION, STREAMS
from vmdepth_export.parity.settings import PARITY_FRAMES
from vmdepth_export.stages import SILENT, Stages
from vmdepth_runtime.atomic_files import being_written, part_name
from vmdepth_runtime.errors import InputError, WorkError

if TYPE_CHECKING:
    import onnx

    from vmdepth.networks.attention import AttentionForm
    from vmdepth.networks.step_network import StepNetwork
    from vmdepth_export.parity.comparison import ParityReport
    from vmdepth_export.precision import Precision
    from vmdepth_runtime.contract import StepContract
    from vmdepth_runtime.sessions.base import StepSession

_LARGEST = 2**31 - 2**24  # bytes of weights: a protobuf ends at 2 GiB, and holds the nodes too
_SHORT = 10.0  # seconds: a proof that takes no longer is never cut short


@dataclass(frozen=True)
class ProofLength:
    """How long a proof may be.

    Attributes:
        frames: Over so many; None: as many as fit into the time that the export itself took, `PARITY_FRAMES` at most
            and `least_frames` at least.
        begun: When the export began, by `perf_counter`.
    """

    frames: int | None
    begun: float

    def limits(self, contract: StepContract) -> tuple[float, int, int]:
        """Seconds that it may take from now on; frames at least; frames at most."""
        from vmdepth_export.parity.comparison import least_frames

        if self.frames is not None:
            return math.inf, self.frames, self.frames
        return max(_SHORT, perf_counter() - self.begun), least_frames(contract), PARITY_FRAMES


def export_step_graph(
    model: StepNetwork,
    output: Path,
    height: int,
    width: int,
    *,
    streams: int = STREAMS,
    frames: int | None = None,
    precision: Precision = PRECISION,
    attention: AttentionForm = ATTENTION,
    stages: Stages = SILENT,
    begun: float | None = None,
) -> ParityReport:
    """Write the step graph of a network, checked against the network itself over frames of the bundled clip.

    The file appears under its name only if depth and states agree. frames: over how many, see `ProofLength`. begun:
    when the work on it began, by `perf_counter`; None is now. Raises WorkError if they do not, InputError for a
    size that is no multiple of the encoder's stride and a network of more than 2 GiB.
    """
    from vmdepth.session import TorchSession, contract_of
    from vmdepth_export.precision import bake
    from vmdepth_export.step_graph import to_onnx

    begun = perf_counter() if begun is None else begun
    size = sum(parameter.numel() for parameter in model.parameters()) * 4
    if size > _LARGEST:
        raise InputError(
            f"{model.name}: its {size / 2**30:.1f} GiB of weights do not fit into one ONNX file, which ends at 2; take "
            "a smaller network of its family"
        )
    contract = contract_of(model, height, width, streams)
    with stages.stage(f"traces the step at {height}x{width}"):
        proto = to_onnx(model, height, width, streams, attention)
        if precision != "fp32":
            proto, contract = bake(proto, contract, precision)
    reference = TorchSession(model, height, width, streams)
    return _write_proven(proto, contract, output, reference, "PyTorch step", ProofLength(frames, begun), stages)


def bake_step_graph(
    source: Path, output: Path, precision: Precision, *, frames: int | None = None, stages: Stages = SILENT
) -> ParityReport:
    """Write a step graph in another precision, checked in the same way against the one that it is made from.

    frames: over how many, see `ProofLength`. Raises InputError for a source that is no float32 step graph, WorkError
    if the two do not agree.
    """
    from vmdepth_export.graph import read_step_graph
    from vmdepth_export.parity.opening import open_model
    from vmdepth_export.precision import bake

    begun = perf_counter()
    with stages.stage(f"bakes {precision} into {source.name}"):
        proto, contract = bake(*read_step_graph(source), precision)
        reference = open_model(source)
    return _write_proven(proto, contract, output, reference, source.name, ProofLength(frames, begun), stages)


def _write_proven(
    proto: onnx.ModelProto,
    contract: StepContract,
    output: Path,
    reference: StepSession,
    name: str,
    length: ProofLength,
    stages: Stages,
) -> ParityReport:
    from vmdepth_export.graph import save_step_graph, with_contract
    from vmdepth_export.parity.comparison import compare
    from vmdepth_export.parity.frames import choose_frames, until
    from vmdepth_export.parity.opening import open_model

    contract = replace(contract, producer=f"vmdepth {version('vmdepth')}")
    part = part_name(output).with_suffix(".part.onnx")
    with being_written(output, part):
        with stages.stage("writes and opens it"):
            save_step_graph(with_contract(proto, contract), part)
            candidate = open_model(part)
        seconds, least, most = length.limits(contract)
        with stages.stage(f"proves it against {name}") as moved:
            frames = choose_frames(None, most, contract)
            report = compare(reference, candidate, until(frames, seconds, least, most, moved))
        candidate.close()
        reference.close()
        if not report.agrees:
            wrong = max(report.wrong, key=lambda output: report.worst[output])
            figures = report.outputs[wrong]
            raise WorkError(
                f"{output}: not written, ONNX Runtime and {name} disagree: {wrong} by {figures.largest:.1e} at frame "
                f"{figures.worst_frame} ({', '.join(report.wrong[wrong])} beyond the tolerance of {report.precision})"
            )
        contract = replace(contract, parity={**report.summary(), "reference": name})
        save_step_graph(with_contract(proto, contract), part)
        part.replace(output)
    return report
