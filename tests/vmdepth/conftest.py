"""Commands of this room, as a user types them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from subprocess import CompletedProcess
from typing import Any

import pytest

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.errors import InputError


@pytest.fixture
def type_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Any]]:
    """`type_command("vmdepth.views", "vmdepth-views", words)`: the exit code and what was said, of the command whose
    `cli` is in that folder."""

    def run(folder: str, name: str, words: list[Any]) -> tuple[int, Any]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        with pytest.raises(SystemExit) as end:
            import_module(f"{folder}.cli").main()
        return end.value.code, capsys.readouterr()

    return run


@pytest.fixture
def call_command(capfd: pytest.CaptureFixture[str]) -> Callable[..., CompletedProcess[str]]:
    """`call_command("vmdepth.train", *words)`: what a process of its own would end with, and import torch for."""

    def call(module: str, *words: Any) -> CompletedProcess[str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            run_command(import_module(module).command, [str(word) for word in words])
        told = capfd.readouterr()
        return CompletedProcess(words, int(end.value.code or 0), told.out, told.err)

    return call


@pytest.fixture
def settings_given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """`settings_given("vmdepth.views.reconstruct.reconstruct")`: a list that gets the settings with which a command
    calls that function, which does no more."""

    def stand_in_for(function: str) -> list[Any]:
        given: list[Any] = []

        def stand_in(settings: Any, progress: Any) -> None:
            given.append(settings)
            raise InputError("enough")

        monkeypatch.setattr(function, stand_in)
        return given

    return stand_in_for
