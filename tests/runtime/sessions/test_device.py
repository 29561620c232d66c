"""What a model is to run on: the names of devices, the GPUs that are there, and one line for all that are not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from vmdepth_export.engine import find_builder
from vmdepth_runtime import predict
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions import gpu as gpus
from vmdepth_runtime.sessions.device import Device
from vmdepth_runtime.sessions.given_model import open_model
from vmdepth_runtime.sessions.gpu import find_gpu, find_gpus, wanted_gpu, why_no_gpu
from vmdepth_runtime.sessions.load import check_device, load_session


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("cpu", "cpu", 0),
        ("cuda", "cuda", 0),
        ("cuda:0", "cuda", 0),
        ("cuda:3", "cuda", 3),
        ("tensorrt:1", "tensorrt", 1),
    ],
)
def test_devices_by_their_names(text, kind, number):
    device = Device.named(text)
    assert device == Device(kind, number)
    assert Device.named(str(device)) == device


@pytest.mark.parametrize(
    "text", ["", "gpu:0", "cpu:0", "cuda:", "cuda:-1", "cuda:1.5", "CUDA", "tensorrt-rtx", "cuda:1 "]
)
def test_what_is_no_device_is_named_before_anything_is_opened(text, tmp_path):
    with pytest.raises(InputError, match=r"^--device .*: no such device; cpu, cuda, cuda:1, tensorrt are"):
        open_model(tmp_path / "missing.onnx", device=text)


def test_the_gpus_of_a_machine(standing_in):
    with standing_in(gpus="2", capability="8.7", cuda="12060", memory=str(8 << 30)):
        first, second = find_gpus()
        assert (first.name, first.capability, first.cuda, first.number, first.memory) == (
            "Stand-in 0", "8.7", "12.6", 0, 8 << 30,
        )  # fmt: skip
        assert find_gpu() == first
        assert find_gpu(1) == wanted_gpu(1) == second
        assert find_gpu(3) is None
        with pytest.raises(InputError, match=r"^GPU 3: is not here; there are 0 \(Stand-in 0\), 1 \(Stand-in 1\)$"):
            wanted_gpu(3)


def test_an_engine_asks_for_a_gpu(tmp_path):
    for device in ("cpu", "tensorrt:1"):
        with pytest.raises(InputError, match=rf"--device {device}: .*model\.engine is an engine, which runs on a GPU"):
            load_session(tmp_path / "model.engine", device=device)


def test_a_device_is_for_graphs_and_engines():
    checkpoint, graph = Path("a.safetensors"), Path("a.onnx")
    check_device(None, [checkpoint])
    check_device("cuda:1", [checkpoint, graph])
    with pytest.raises(InputError, match=r"^--device cuda: is for step graphs and engines; a\.safetensors is neither"):
        check_device("cuda", [checkpoint])
    with pytest.raises(InputError, match=r"^--device gpu: no such device"):
        check_device("gpu", [graph])


def test_a_picture_asks_for_the_device_that_it_is_told():
    picture = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)
    np.testing.assert_array_equal(predict(picture, device="cpu").depth, predict(picture).depth)
    with pytest.raises(InputError, match=r"^--device gpu: no such device"):
        predict(picture, device="gpu")


def test_why_there_is_no_gpu(standing_in, monkeypatch, tmp_path):
    with standing_in(gpus="0"):
        assert why_no_gpu() == "NVIDIA's driver finds none (CUDA_ERROR_NO_DEVICE); 'nvidia-smi' says more"
    node = tmp_path / "nvgpu/igpu0/channel"
    for name in ("nvhost-dbg-gpu", "nvhost-prof-gpu", "nvidia-modeset", "nvgpu/igpu0/dbg", "nvgpu/igpu0/prof", node):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch(mode=0)
    monkeypatch.setattr(gpus, "_DEV", tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: not Path(path).is_relative_to(tmp_path))  # root may open all
    reason = f"no permission to use {node}; add yourself to its group"
    assert why_no_gpu().startswith(reason)
    node.unlink()
    with standing_in(gpus="0"):
        assert why_no_gpu().startswith("NVIDIA's driver finds none")
    node = tmp_path / "nvidia0"
    node.touch(mode=0)
    reason = f"no permission to use {node}; add yourself to its group"
    assert why_no_gpu().startswith(reason)
    monkeypatch.setattr(gpus, "find_gpus", tuple)
    with pytest.raises(InputError, match=f"^GPU 1: {reason}"):
        wanted_gpu(1)
    with pytest.raises(InputError, match=f"^--target tensorrt: builds only on the GPU .*; {reason}"):
        find_builder("tensorrt")
