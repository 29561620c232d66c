"""Versions of TensorRT that compute wrong depth are known, each on the GPUs it is reported of."""

from pathlib import Path

import pytest

from vmdepth_runtime.sessions.known_faults import KNOWN_FAULTS, known_bad

DOCS = Path(__file__).parents[3] / "docs" / "engines.md"


@pytest.mark.parametrize("version", ["10.3.0.30", "10.4.0", "10.5.0.18", "10.7.0.23"])
@pytest.mark.parametrize("capability", [None, "8.7", "12.0"])
def test_wrong_everywhere(version, capability):
    told = str(known_bad("tensorrt", version, capability))
    assert "run and are wrong" in told
    assert "take 10.16 or later" in told


@pytest.mark.parametrize(
    ("version", "capability", "told"),
    [
        ("10.16.1.11", "12.0", "--attention explicit"),
        ("10.8.0", "12.0", "--attention explicit"),
        ("10.13.3.9", "11.0", "__LUNOWUD=-peep:fc_h_fusion=off"),
    ],
)
def test_wrong_on_one_kind_of_gpu(version, capability, told):
    assert told in str(known_bad("tensorrt", version, capability))
    assert known_bad("tensorrt", version, "8.7") is None
    assert known_bad("tensorrt", version, None) is None


@pytest.mark.parametrize(
    ("target", "version", "capability"),
    [
        ("tensorrt", "10.2.0", "8.7"),
        ("tensorrt", "10.6.0", "8.7"),
        ("tensorrt", "10.30.0", "8.7"),
        ("tensorrt", "10.16.2", "12.0"),
        ("tensorrt", "11.4.1", "12.0"),
        ("tensorrt", "10.14.1", "11.0"),
        ("tensorrt-rtx", "10.3", None),
    ],
)
def test_nothing_is_said_of_the_others(target, version, capability):
    assert known_bad(target, version, capability) is None


def test_the_docs_have_a_row_for_each():
    table = DOCS.read_text().partition("### Known faults")[2].partition("\n\nExplicit")[0]
    rows = [row for row in table.splitlines() if row.startswith(("| 10.", "| up to 10."))]
    assert len(rows) == len(KNOWN_FAULTS)
    for fault, row in zip(KNOWN_FAULTS, rows, strict=True):
        assert ".".join(map(str, fault.last)) in row.split("|")[1]
