"""What ships with the runtime: the model that everyone meets first, and a clip to try it on."""

from pathlib import Path

MODEL = Path(__file__).with_name("edge.onnx")
"""Step graph, 192×272, relative depth; docs/models/edge.md is its card."""

CLIP = Path(__file__).with_name("demo.mp4")
"""A few seconds of a rendered world; `vmdepth-run demo` takes it as its source."""
