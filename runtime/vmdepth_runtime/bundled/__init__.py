"""What ships with the runtime: the model that everyone meets first, and a clip to try it on."""

from pathlib import Path

MODEL = Path(__file__).with_name("tiny.onnx")
"""Step graph, 196×252, relative depth; docs/models/tiny.md is its card."""

CLIP = Path(__file__).with_name("demo.mp4")
"""A few seconds of a rendered world; `vmdepth-run demo` takes it as its source."""
