"""An engine that does not belong here is refused, with the command that rebuilds it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from vmdepth_runtime import bundled
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.integrity import file_hash
from vmdepth_runtime.sessions.engine_sidecar import (
    EngineFacts,
    check_engine,
    least_capability,
    read_sidecar,
    sidecar_of,
    to_sidecar,
)
from vmdepth_runtime.sessions.gpu import Gpu
from vmdepth_runtime.sessions.onnx import OnnxSession
from vmdepth_runtime.sessions.tensorrt import TensorrtSession

ORIN = Gpu("Orin", "8.7", "12.6")


@pytest.fixture
def engine(tmp_path):
    """A file that stands for an engine, with a sidecar that is right for it; nothing here looks inside."""
    path = tmp_path / "model.engine"
    path.write_bytes(b"engine" * 1000)
    facts = EngineFacts("tensorrt", "10.16.1", ("8.7",), "12.6", None, "model.onnx", "sha256:0", file_hash(path))
    with OnnxSession(bundled.MODEL) as session:
        sidecar_of(path).write_text(to_sidecar(session.contract, facts))
    return path


def test_a_sidecar_keeps_the_kind_of_depth_and_what_else_the_engine_gives(engine):
    contract, facts = read_sidecar(engine)
    named = ("confidence", "sky", "pose")
    more = replace(contract, depth_kind="metric", metric_focal=300.0, extra_outputs=named)
    sidecar_of(engine).write_text(to_sidecar(more, facts))
    again, _ = read_sidecar(engine)
    assert again == more
    assert [output.name for output in again.own_outputs][-3:] == list(named)


def test_the_sidecar_brings_contract_and_facts_back(engine):
    contract, facts = read_sidecar(engine)
    with OnnxSession(bundled.MODEL) as session:
        assert contract == session.contract
    assert facts.capabilities == ("8.7",)
    check_engine(engine, facts, "10.16.1", ORIN)


@pytest.mark.parametrize(
    ("version", "gpu", "told"),
    [
        ("10.16.2", ORIN, "built with tensorrt 10.16.1, here is 10.16.2"),
        ("10.16.1", replace(ORIN, name="Thor", capability="11.0"), "for compute capability 8.7, this Thor has 11.0"),
    ],
)
def test_another_version_or_gpu(engine, version, gpu, told):
    _, facts = read_sidecar(engine)
    with pytest.raises(InputError, match=told) as refused:
        check_engine(engine, facts, version, gpu)
    assert f"'vmdepth-export model.onnx -o {engine} --target tensorrt'" in str(refused.value)


def test_a_machine_without_a_gpu(engine):
    _, facts = read_sidecar(engine)
    with pytest.raises(InputError, match=r"needs an NVIDIA GPU of compute capability 8.7"):
        check_engine(engine, facts, "10.16.1", None)


def test_an_engine_that_is_cut_off(engine):
    engine.write_bytes(engine.read_bytes()[:-10])
    _, facts = read_sidecar(engine)
    with pytest.raises(InputError, match=r"changed or cut off.*vmdepth-export model.onnx"):
        check_engine(engine, facts, "10.16.1", ORIN)


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", '{"engine": {"target": "tensorrt"}}'])
def test_a_sidecar_that_is_missing_or_broken(engine, text):
    sidecar = sidecar_of(engine)
    sidecar.unlink() if text is None else sidecar.write_text(text)
    with pytest.raises(InputError, match=r"sidecar.*vmdepth-export model.onnx -o"):
        TensorrtSession(engine)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"counter"', '"countes"'), ('"initial": 0.0', '"initial": 8.0'), ('"tensorrt"', '"tensorrt-rtx"')],
)
def test_a_sidecar_whose_words_changed(engine, old, new):
    sidecar = sidecar_of(engine)
    text = sidecar.read_text()
    assert old in text
    sidecar.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=r"model\.engine\.json: .*or damaged; build it again with 'vmdepth-export"):
        read_sidecar(engine)


def test_a_contract_that_an_engine_breaks_is_mended_by_building_it_again(engine):
    contract, facts = read_sidecar(engine)
    sidecar_of(engine).write_text(to_sidecar(replace(contract, resize="crop"), facts))
    with pytest.raises(InputError, match=r"breaks the contract .*; build it again with 'vmdepth-export model.onnx -o"):
        read_sidecar(engine)


def test_any_byte_of_a_sidecar_that_is_lost(engine):
    sidecar = sidecar_of(engine)
    content = sidecar.read_bytes()
    right = read_sidecar(engine)
    for place in np.random.default_rng(0).choice(len(content), 100, replace=False):
        sidecar.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        with pytest.raises(InputError, match=r"vmdepth-export model.onnx -o"):
            read_sidecar(engine)
    sidecar.write_bytes(content)
    assert read_sidecar(engine) == right


def test_a_sidecar_from_before_there_were_digests(engine):
    sidecar = sidecar_of(engine)
    right = read_sidecar(engine)
    sidecar.write_text(json.dumps({k: v for k, v in json.loads(sidecar.read_text()).items() if k != "digest"}))
    assert read_sidecar(engine) == right


def test_an_engine_is_not_compared_where_that_is_not_wanted(engine):
    engine.write_bytes(engine.read_bytes()[:-10])
    _, facts = read_sidecar(engine)
    check_engine(engine, facts, "10.16.1", ORIN, verify=False)


def test_types_ask_for_capabilities(engine):
    contract, _ = read_sidecar(engine)
    assert least_capability(replace(contract, precision={"encoder": "float8", "heads": "float32"})) == 8.9


def test_a_sidecar_of_another_vmdepth_says_how_the_engine_is_built_again(engine):
    contract, facts = read_sidecar(engine)
    sidecar_of(engine).write_text(to_sidecar(replace(contract, version=999), facts))
    with pytest.raises(InputError, match=r"for contract version 999.*'vmdepth-export model\.onnx -o .*model\.engine'"):
        read_sidecar(engine)
