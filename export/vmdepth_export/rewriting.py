"""The exporter's rewriting of a graph, without reading all of it again at each of its nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quick_rewriting() -> Iterator[None]:
    """While it is open, onnxscript asks whether a pattern of several last nodes is there only where its first can be.

    Otherwise it sorts all nodes of the graph by kind for every single one, and then finds that this one is of another
    kind: a third of the time that an export takes. What it finds, and the graph that comes of it, stay the same. Where
    onnxscript is built otherwise (this is its `rewriter/_matcher.py` of 0.5 to 0.7) nothing happens.
    """
    try:
        from onnxscript.rewriter._basics import MatchResult
        from onnxscript.rewriter._matcher import SimplePatternMatcher

        kind: Any = SimplePatternMatcher
        match = kind.match
    except (ImportError, AttributeError):
        yield
        return

    def quick(matcher: Any, model: Any, graph: Any, node: Any, **how: Any) -> Any:
        pattern = matcher.pattern
        if not pattern.has_single_output_node:
            first = pattern.output_nodes[0].op_identifier()  # domain, kind, overload; None: of any kind
            if first is not None and first[1] != node.op_type:
                return MatchResult().fail("of another kind")
        return match(matcher, model, graph, node, **how)

    kind.match = quick
    try:
        yield
    finally:
        kind.match = match
