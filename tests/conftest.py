"""Fixtures and marks for all rooms."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from functools import cache, partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, cast

import pytest

from vmdepth_runtime.sessions.gpu import find_gpu

SHARED = Path(__file__).resolve().parents[2] / "shared"
_STAND_INS = Path(__file__).with_name("stand_ins")
_DRIVER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests that take minutes")
    parser.addoption(
        "--stand-ins", action="store_true", help="as on a machine with a GPU and TensorRT: by stand-ins, see stand_ins/"
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--stand-ins"):
        folder = TemporaryDirectory(prefix="stand-ins-")
        config.add_cleanup(folder.cleanup)
        config.stash[_DRIVER] = _module(_STAND_INS / "gpu.py").stand_in_everywhere(Path(folder.name))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(0))
            if not config.getoption("--slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="PyTorch finds no CUDA device here"))
        if item.get_closest_marker("tensorrt") and (lacking := _lacking_for_engines()):
            item.add_marker(pytest.mark.skip(reason=lacking))
        if item.get_closest_marker("no_gpu") and (gpu := find_gpu()) is not None:
            item.add_marker(pytest.mark.skip(reason=f"states what happens without a GPU, and here is {gpu.name}"))
        if item.get_closest_marker("tensorrt_rtx") and not find_spec("tensorrt_rtx"):
            item.add_marker(pytest.mark.skip(reason="tensorrt_rtx is not installed"))


def _has_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@cache
def _lacking_for_engines() -> str:
    """What this machine lacks to build engines of TensorRT and to run them."""
    lacking = [] if find_gpu() else ["an NVIDIA GPU"]
    lacking += [] if find_spec("tensorrt") else ["tensorrt"]
    lacking += [] if find_spec("cuda") and find_spec("cuda.bindings") else ["cuda-bindings"]
    return f"needs {' and '.join(lacking)}" if lacking else ""


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="session")
def stand_in_driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stand-in for NVIDIA's driver library, compiled."""
    if driver := request.config.stash.get(_DRIVER, None):
        return driver
    with suppress(OSError):
        ctypes.CDLL("libcuda.so.1")
        pytest.skip("a process has one driver, and NVIDIA's own is here: run it with --stand-ins")
    if not which("cc") and not which("gcc"):
        pytest.skip("needs a C compiler")
    return _module(_STAND_INS / "gpu.py").build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def standing_in(stand_in_driver: Path) -> Callable[..., AbstractContextManager[Any]]:
    """`with standing_in(gpus="2") as gpu:` GPUs made of host memory and a TensorRT on them, see `stand_ins/gpu.py`."""
    return partial(_module(_STAND_INS / "gpu.py").standing_in, stand_in_driver)


@pytest.fixture
def stand_in_gpu(standing_in: Callable[..., AbstractContextManager[Any]]) -> Iterator[Any]:
    """One of them."""
    with standing_in() as gpu:
        yield gpu


@pytest.fixture
def stand_in_onnxruntime() -> Callable[..., AbstractContextManager[Any]]:
    """`with stand_in_onnxruntime() as onnxruntime:` its GPU build, on such GPUs, see `stand_ins/onnxruntime_gpu.py`."""
    return cast(Callable[..., AbstractContextManager[Any]], _module(_STAND_INS / "onnxruntime_gpu.py").stand_in)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos and pictures, where they are at hand: they are not part of the repository."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Public weights to start from."""
    return _folder("models")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Arrays and tables that pin the official networks."""
    return _folder("reference")


@pytest.fixture(scope="session")
def recipe(shared_reference: Path) -> ModuleType:
    """The functions that make the weights and inputs the official outputs were computed with."""
    return _module(shared_reference / "weights_recipe.py")


@pytest.fixture(scope="session")
def serving_hub() -> Callable[[], AbstractContextManager[Any]]:
    """Opens a hub of Hugging Face on this machine, which answers its client: see `local_hub.LocalHub`."""
    return _module(Path(__file__).with_name("local_hub.py")).serving


@pytest.fixture
def hub(serving_hub: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    """One for a test of its own."""
    with serving_hub() as serving:
        yield serving


def _module(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def official_weights(shared_reference: Path, recipe: ModuleType) -> Callable[[str], dict[str, Any]]:
    """`official_weights("da2_vits")`: the state dict of an official model, filled by the recipe."""
    import torch

    def weights(model: str) -> dict[str, Any]:
        table = json.loads((shared_reference / f"keys_{model}.json").read_text())
        return {k: torch.from_numpy(recipe.weight(k, v["shape"], table["seed"])) for k, v in table["keys"].items()}

    return weights


@pytest.fixture(scope="session")
def small_views() -> Callable[[str], Any]:
    """`small_views("any-view")`, "mono" or "metric": a narrow network of Depth Anything 3, with weights that matter.

    A part of what mono and metric see is sky to them.
    """
    import torch

    from vmdepth.networks.multiview.any_view import AnyViewDepth
    from vmdepth.networks.multiview.mono_depth import MonoDepth
    from vmdepth.networks.multiview.presets import AnyViewConfig, MonoConfig

    def make(kind: str) -> Any:
        widths = 32, (24, 48, 96, 192)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            network = (
                AnyViewDepth(AnyViewConfig("tiny", *widths, (5, 7, 9, 11), 4))
                if kind == "any-view"
                else MonoDepth(MonoConfig("tiny", *widths, metric=kind == "metric"))
            )
            for weight in network.parameters():
                if weight.ndim > 1:
                    torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
            if kind != "any-view":
                network.decoder.scratch.sky_output_conv2[2].bias.fill_(0.15)
        return network.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def view_graph(small_views: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`view_graph("metric")`: the float32 step graph of one of `small_views`, 28×42, made once."""

    @cache
    def make(kind: str) -> Path:
        from vmdepth.networks.multiview.single_view import SingleView
        from vmdepth_export.conversion.proven_graph import export_step_graph

        path = tmp_path_factory.mktemp("views") / f"{kind}.onnx"
        export_step_graph(SingleView(small_views(kind)), path, 28, 42, frames=5)
        return path

    return make


@pytest.fixture(scope="session")
def transformers_network() -> Callable[[], Any]:
    """Makes an untrained Depth Anything small as the transformers library builds it: an independent witness."""
    import transformers

    def make() -> Any:
        backbone = transformers.Dinov2Config(
            image_size=518,
            patch_size=14,
            hidden_size=384,
            num_attention_heads=6,
            num_hidden_layers=12,
            out_features=["stage3", "stage6", "stage9", "stage12"],
            reshape_hidden_states=False,
        )
        settings = transformers.DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=384,
            neck_hidden_sizes=[48, 96, 192, 384],
            fusion_hidden_size=64,
        )
        return transformers.DepthAnythingForDepthEstimation(settings).eval()

    return make
