"""What a model is, and where it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmdepth.model_files import CHECKPOINT_ENDINGS, no_model
from vmdepth_export.info.facts import Facts
from vmdepth_runtime.depth.scale.metres import metres_of
from vmdepth_runtime.depth_kinds import DEPTH_KINDS
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import check_digest
from vmdepth_runtime.outputs import outputs_with

if TYPE_CHECKING:
    from vmdepth.networks.step_network import StepNetwork
    from vmdepth_runtime.contract import StepContract


def model_facts(path: Path) -> Facts:
    """Name and value of everything that says what a model is. Raises InputError, naming the file, for what is none."""
    if not path.is_file():
        raise no_model(path)
    if path.suffix == ".onnx":
        # First: the contract of a damaged graph would be told as a broken one.
        digest = "as written" if check_digest(path) else "has none, so damage would not be noticed"
        contract = _graph_contract(path)
        facts = [("step graph", _size_of(path)), ("digest", digest)]
        return [*facts, *_contract_facts(contract), ("runs on", _where(contract))]
    if path.suffix == ".engine":
        return _engine_facts(path)
    if path.suffix in CHECKPOINT_ENDINGS:
        return _checkpoint_facts(path)
    raise no_model(path)


def _graph_contract(path: Path) -> StepContract:
    """The contract of a graph that is as written, also of one that ONNX Runtime cannot run here."""
    from vmdepth_runtime.contract import METADATA_KEY, StepContract
    from vmdepth_runtime.sessions.onnx import OnnxSession

    try:
        import onnx
    except ImportError:
        with OnnxSession(path, verify=False) as session:
            return session.contract
    try:
        metadata = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    except Exception:  # protobuf's decoder has an error class of its own
        raise InputError(f"{path}: not an ONNX file; make one with 'vmdepth-export CHECKPOINT -o model.onnx'") from None
    return StepContract.from_json(metadata.get(METADATA_KEY), str(path))


def _contract_facts(contract: StepContract) -> Facts:
    kinds = {"ring": 0, "recurrent": 0}
    for state in contract.states:
        kinds[state.kind] += 1
    slots = max((state.ring.slots for state in contract.states if state.ring), default=0)
    names = {"ring": f"ring of {slots} frames", "recurrent": "recurrent"}
    told = ", ".join(f"{count} {names[kind]}" for kind, count in kinds.items() if count) or "none"
    facts = [
        ("model", f"{contract.model}, {contract.producer or 'unknown producer'}"),
        ("frames", f"{contract.height}x{contract.width}, {contract.streams} at once"),
        ("depth", depth_meaning(contract)),
        *_metres_facts(contract),
        ("outputs", ", ".join(output.name for output in contract.own_outputs)),
        ("states", f"{told}; {contract.state_bytes / 1e6:.1f} MB"),
    ]
    regions = contract.precision.items()
    facts += [
        (dtype, ", ".join(region for region, own in regions if own == dtype))
        for dtype in dict.fromkeys(contract.precision.values())
    ]
    if contract.parity:
        p = contract.parity
        facts.append(
            (
                "parity",
                f"depth {p['depth']:.1e}, states {p['states']:.1e} against {p['reference']}, {p['frames']} frames",
            )
        )
    return facts


def _metres_facts(contract: StepContract) -> Facts:
    """How a graph makes metres of depth without a unit, and how well; nothing of one that does not."""
    metres = metres_of(contract)
    if metres is None:
        return []
    made = contract.metres
    off = f", off by {made['median_error']:.1%} in the median" if "median_error" in made else ""
    seen = (
        f", fitted to {made['frames']} frame{'s' * (made['frames'] != 1)} of {made['data']}" if "data" in made else ""
    )
    return [("metres", f"--metres {metres}{seen}{off}")]


def depth_meaning(of: StepContract | StepNetwork) -> str:
    """What the depth of a graph or network means, in words."""
    camera = f" (at a focal length of {of.metric_focal:g} pixels of the frame)" if of.metric_focal else ""
    return DEPTH_KINDS[of.depth_kind].meaning + camera


def _where(contract: StepContract) -> str:
    from vmdepth_runtime.sessions.engine_sidecar import least_capability

    types = set(contract.precision.values())
    cpu = "ONNX Runtime on CPU, " if not types & {"bfloat16", "float8"} else ""
    return f"{cpu}TensorRT on GPUs of compute capability {least_capability(contract)} and later"


def _engine_facts(path: Path) -> Facts:
    from vmdepth_runtime.sessions.engine_sidecar import check_engine, load_library, read_sidecar
    from vmdepth_runtime.sessions.gpu import find_gpu

    contract, facts = read_sidecar(path)
    built = f"{facts.target} {facts.version}, compute capability {', '.join(facts.capabilities)}, from {facts.source}"
    try:
        check_engine(path, facts, load_library(facts.target).__version__, find_gpu())
        here = "yes"
    except InputError as error:
        here = f"no: {error}"
    return [("engine", _size_of(path)), ("built", built), *_contract_facts(contract), ("runs here", here)]


def _checkpoint_facts(path: Path) -> Facts:
    from vmdepth.checkpoint import family_of, load, stepping

    model = load(path)
    step = stepping(model)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    facts = [
        ("checkpoint", _size_of(path)),
        ("network", f"{model.name}, {family_of(path).name}"),
        ("parameters", f"{parameters / 1e6:.1f} M"),
    ]
    config = getattr(model, "config", None)
    if config is not None:
        facts += [(name, str(value)) for name, value in vars(config).items() if name != "depth"]  # said in words below
    if step is None:
        return [*facts, ("next", "vmdepth.load in Python: it has no step to export")]
    facts += [("depth", depth_meaning(step)), ("outputs", ", ".join(o.name for o in outputs_with(step.extra_outputs)))]
    return [*facts, ("next", f"vmdepth-export {path} -o {path.stem}.onnx")]


def _size_of(path: Path) -> str:
    return f"{path}, {path.stat().st_size / 1e6:.1f} MB"
