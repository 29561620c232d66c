"""The model repository is one by Triton's own schema."""

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from vmdepth_export.conversion.proven_graph import export_step_graph
from vmdepth_export.triton import write_repository
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sessions.onnx import OnnxSession


@pytest.fixture(scope="module")
def repository(step_graph, tmp_path_factory):
    return write_repository(step_graph, tmp_path_factory.mktemp("triton") / "models")


def test_the_configuration_names_every_tensor(repository, step_graph):
    config = text_format.Parse((repository / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    contract = OnnxSession(step_graph).contract
    assert config.name == repository.name == "tiny"
    assert [(t.name, list(t.dims)) for t in config.input] == [("frame", [1, 42, 56, 3])]
    assert [t.name for t in config.output] == ["depth", "descriptor", "state_change"]
    assert list(config.output[1].dims) == [1, 192]
    assert config.sequence_batching.oldest.max_candidate_sequences == 64  # cameras that one instance serves by turns
    states = config.sequence_batching.state
    assert [s.input_name for s in states] == [f"state.{s.name}" for s in contract.states]
    assert [s.output_name for s in states] == [f"next.{s.name}" for s in contract.states]
    for state, spec in zip(states, contract.states, strict=True):
        assert tuple(state.dims) == tuple(state.initial_state[0].dims) == spec.shape
        assert state.data_type == state.initial_state[0].data_type == model_config_pb2.TYPE_FP32
        assert state.initial_state[0].zero_data


def test_the_graph_in_it_is_the_step_graph(repository, step_graph):
    assert (repository / "1" / "model.onnx").read_bytes() == step_graph.read_bytes()


def test_a_network_without_states_has_no_sequences(per_frame_network, tmp_path):
    export_step_graph(per_frame_network, tmp_path / "none.onnx", 28, 28, frames=2)
    folder = write_repository(tmp_path / "none.onnx", tmp_path / "models")
    config = text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())
    assert not config.HasField("sequence_batching")


def test_a_folder_that_is_there_is_left_alone(repository, step_graph):
    with pytest.raises(InputError, match="is there already"):
        write_repository(step_graph, repository.parent)
