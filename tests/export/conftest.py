"""One small network and its step graph, exported once for the whole folder."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from vmdepth.networks import encoder
from vmdepth.networks.heads.base import NoHead
from vmdepth.networks.presets import PRESETS
from vmdepth.networks.video_depth import VideoDepth
from vmdepth_export import engine
from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_runtime.cli import run_command
from vmdepth_runtime.sessions.engine_sidecar import load_library
from vmdepth_runtime.sessions.gpu import find_gpu

SIZE = (42, 56)


@pytest.fixture(scope="session")
def narrowed():
    """`with narrowed("large") as config:` a preset, the large ones a quarter as wide while it lasts. few: with four
    blocks in the encoder."""

    @contextmanager
    def narrow(name, *, few=False):
        config = PRESETS[name]
        if config.encoder not in encoder.ENCODERS:
            yield config
            return
        full = encoder.ENCODERS[config.encoder]
        share = 1 if full.width < 512 else 4
        small = replace(full, width=full.width // share)
        small = replace(small, depth=4, taps=(0, 1, 2, 3)) if few else small
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(encoder.ENCODERS, config.encoder, small)
            channels = tuple(c // share for c in config.out_channels)
            yield replace(config, features=config.features // share, out_channels=channels)

    return narrow


@pytest.fixture(scope="session")
def elsewhere():
    """A compute capability that TensorRT-RTX builds for and the GPU here has not: what could run here would be run."""
    gpu = find_gpu()
    return "12.0" if gpu and gpu.capability == "8.9" else "8.9"


class Watched:
    """A library that builds engines; keeps whether each was built with TF32 allowed."""

    def __init__(self, library):
        self.library, self.tf32 = library, []

    def __getattr__(self, name):
        return getattr(self.library, name)

    def Builder(self, logger):  # as the library calls it
        library, seen = self.library, self.tf32

        class Builder(library.Builder):
            def build_serialized_network(self, network, config):
                seen.append(config.get_flag(library.BuilderFlag.TF32))
                return super().build_serialized_network(network, config)

        return Builder(logger)


@pytest.fixture
def watched(monkeypatch):
    """`watched("tensorrt")`: the library that engines are built with from here on, with `tf32` of every one."""

    def watch(target):
        library = Watched(load_library(target))
        monkeypatch.setattr(engine, "load_library", lambda _: library)
        return library

    return watch


@pytest.fixture(scope="session")
def remembering():
    """A network with heads that matter: fresh ones are the identity, and any graph would agree on states."""

    def build(preset):
        torch.manual_seed(0)
        model = VideoDepth(PRESETS[preset] if isinstance(preset, str) else preset).eval()
        with torch.no_grad():
            for head in model.heads.values():
                torch.nn.init.normal_(head.proj_out.weight, std=0.3)
        return model

    return build


@pytest.fixture(scope="session")
def network(remembering):
    return remembering("tiny")


@pytest.fixture(scope="session")
def step_graph(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("graphs") / "tiny.onnx"
    export_step_graph(network, path, *SIZE, frames=20)
    return path


@pytest.fixture(scope="session")
def per_frame_network():
    torch.manual_seed(0)
    return VideoDepth(replace(PRESETS["tiny"], head=NoHead())).eval()


@pytest.fixture
def building(stand_in_gpu, tmp_path_factory, monkeypatch):
    """A GPU and TensorRT, by stand-ins; the folder where the builder's timings are kept."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "vmdepth"


@pytest.fixture
def run(capfd):
    """Run a command as a shell does; its exit code, and what it printed."""

    def call(command, *arguments):
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command(command, [str(argument) for argument in arguments])
        told = capfd.readouterr()
        return int(end.value.code or 0), told.out + told.err

    return call
