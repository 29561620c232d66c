"""Fixtures and marks for all rooms."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes; run with --slow"))
        if "gpu" in item.keywords and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
        if "tensorrt" in item.keywords and not (find_spec("tensorrt") or find_spec("tensorrt_rtx")):
            item.add_marker(pytest.mark.skip(reason="neither tensorrt nor tensorrt_rtx is installed"))


def _has_gpu() -> bool:
    if find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real videos and pictures, where they are at hand: they are not part of the repository."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Arrays and tables that pin the official networks."""
    return _folder("reference")
