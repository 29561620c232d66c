"""`vmdepth-info`: what this machine can run, or what a model is and where it runs.

Works with the runtime's libraries alone; torch and onnx are asked only where a model needs them.
"""

from __future__ import annotations

import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import check_digest

if TYPE_CHECKING:
    from vmdepth_runtime.contract import StepContract

Facts = list[tuple[str, str]]

_PACKAGES = ("vmdepth", "numpy", "opencv-python-headless", "av", "onnx", "torch", "mamba-ssm", "pycuda")
_L4T = Path("/etc/nv_tegra_release")
_JETPACKS = {"36.3": "6.0", "36.4": "6.1 or 6.2", "38.2": "7.0", "38.4": "7.1"}  # Linux for Tegra → JetPack
_CHECKPOINTS = (".safetensors", ".pth", ".pt")


@click.command("vmdepth-info")
@click.argument("model", required=False, type=click.Path(path_type=Path))
def info(model: Path | None) -> None:
    """This machine: versions, GPU, and what can run. With MODEL (checkpoint, .onnx or .engine): what it is, and
    whether it runs here."""
    facts = machine_facts() if model is None else model_facts(model)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        click.echo(f"{name:<{width}}  {value}")


def main() -> NoReturn:
    """The console script."""
    run_command(info)


def machine_facts() -> Facts:
    """Name and value of everything here that decides what runs."""
    from vmdepth_runtime.sessions.gpu import find_gpu

    gpu = find_gpu()
    facts = [("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}")]
    if jetpack := find_jetpack():
        facts.append(("JetPack", jetpack))
    facts += [(package, _installed(package)) for package in _PACKAGES]
    facts += _providers()
    facts.append(("GPU", f"{gpu.name}, compute capability {gpu.capability}" if gpu else "no NVIDIA GPU or no driver"))
    if gpu:
        facts.append(("CUDA driver", f"up to CUDA {gpu.cuda}"))
    return facts + _tensorrt(gpu.capability if gpu else None)


def model_facts(path: Path) -> Facts:
    """The same of a model. Raises InputError, naming the file, for anything that is none."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; name a checkpoint, an .onnx step graph or an .engine")
    if path.suffix == ".onnx":
        contract = _graph_contract(path)
        digest = "as written" if check_digest(path) else "has none, so damage would not be noticed"
        facts = [("step graph", _size_of(path)), ("digest", digest)]
        return [*facts, *_contract_facts(contract), ("runs on", _where(contract))]
    if path.suffix == ".engine":
        return _engine_facts(path)
    if path.suffix in _CHECKPOINTS:
        return _checkpoint_facts(path)
    raise InputError(
        f"{path}: should be a checkpoint (.safetensors, .pth), a step graph (.onnx) or an engine (.engine)"
    )


def find_jetpack() -> str | None:
    """Release of Linux for Tegra and the JetPack that brings it; None on other machines."""
    if not _L4T.is_file():
        return None
    found = re.search(r"R(\d+).*?REVISION:\s*(\d+)(\.\d+)?", _L4T.read_text())
    if not found:
        return "unknown release"
    release = f"{found[1]}.{found[2]}"
    return f"{_JETPACKS.get(release, 'unknown')} (Linux for Tegra {release}{found[3] or ''})"


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _providers() -> Facts:
    """ONNX Runtime, and which of its providers really load: a listed one may lack its libraries."""
    import onnxruntime

    from vmdepth_runtime import bundled

    facts = [("ONNX Runtime", onnxruntime.__version__)]
    for provider in onnxruntime.get_available_providers():
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = onnxruntime.InferenceSession(str(bundled.MODEL), options, providers=[provider])
            works = provider in session.get_providers()
        except Exception:  # its exception classes share no base but Exception
            works = False
        facts.append(("", f"{provider}: {'loads' if works else 'listed, but does not load'}"))
    return facts


def _tensorrt(capability: str | None) -> Facts:
    from vmdepth_runtime.sessions.engine_sidecar import load_library
    from vmdepth_runtime.sessions.known_faults import known_bad

    facts = []
    for target, name in (("tensorrt", "TensorRT"), ("tensorrt-rtx", "TensorRT-RTX")):
        try:
            found = load_library(target).__version__  # type: ignore[arg-type]  # mypy widens the literals of a tuple
        except InputError:
            facts.append((name, "not installed"))
            continue
        bad = known_bad(target, found, capability)
        facts.append((name, f"{found}; {bad}" if bad else found))
    return facts


def _graph_contract(path: Path) -> StepContract:
    """The contract of a graph, also of one that ONNX Runtime cannot run here."""
    from vmdepth_runtime.contract import METADATA_KEY, StepContract
    from vmdepth_runtime.sessions.onnx import OnnxSession

    try:
        import onnx
    except ImportError:
        with OnnxSession(path) as session:
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
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "none"
    facts = [
        ("model", f"{contract.model}, {contract.producer or 'unknown producer'}"),
        ("frames", f"{contract.height}x{contract.width}, {contract.streams} at once"),
        ("depth", "metres" if contract.depth_kind == "metric" else "relative inverse depth"),
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
    try:
        from vmdepth.checkpoint import load
    except ImportError:
        raise InputError(f"{path}: reading a checkpoint needs torch: pip install 'vmdepth[train]'") from None
    model = load(path)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    facts = [
        ("checkpoint", _size_of(path)),
        ("network", type(model).__name__),
        ("parameters", f"{parameters / 1e6:.1f} M"),
    ]
    config = getattr(model, "config", None)
    if config is not None:
        facts += [(name, str(value)) for name, value in vars(config).items()]
    return [*facts, ("next", f"vmdepth-export {path} -o {path.stem}.onnx")]


def _size_of(path: Path) -> str:
    return f"{path}, {path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    main()
