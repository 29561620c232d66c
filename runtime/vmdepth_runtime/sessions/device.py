"""What a model is to run on, as people write it: `cpu`, `cuda`, `cuda:1`, `tensorrt`, `tensorrt:1`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from vmdepth_runtime.errors import InputError

DEVICES = "cpu, cuda, cuda:1, tensorrt"
"""Examples of all forms, for people."""


Kind = Literal["cpu", "cuda", "tensorrt"]


@dataclass(frozen=True)
class Device:
    """kind: "cpu"; "cuda", a GPU by CUDA; "tensorrt", one by ONNX Runtime's TensorRT provider. number: of the GPU, from
    0, in the order of the CUDA driver (CUDA_VISIBLE_DEVICES counts)."""

    kind: Kind
    number: int = 0

    @classmethod
    def named(cls, text: str) -> Device:
        """The device of a text. Raises InputError for any other text."""
        found = re.fullmatch(r"(cpu)|(cuda|tensorrt)(?::(\d{1,4}))?", text)
        if not found:
            raise InputError(f"--device {text}: no such device; {DEVICES} are, with the number of any GPU")
        return cls(cast(Kind, found[1] or found[2]), int(found[3] or 0))

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.number else self.kind
