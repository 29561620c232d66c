"""What a verification saw, as JSON holds it and as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from vmdepth_export.verify.outcome import Outcome

_NAMED = ("board", "JetPack", "power mode", "GPU", "CUDA driver", "TensorRT", "TensorRT-RTX", "ONNX Runtime", "Python")
_HEAD = "| what | promised | measured | by |"
_NOT_HERE = ("not installed", "none that can be used")


@dataclass(frozen=True)
class Verification:
    """All that was seen.

    Attributes:
        facts: name and value of what the machine is; a name is empty where the one before goes on.
        outcomes: of every check, in their order.
        quick: whether it was looked at for a short time only.
        seconds: that it took.
    """

    facts: Sequence[Sequence[str]]
    outcomes: Sequence[Outcome]
    quick: bool
    seconds: float

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "fails"]

    @property
    def agrees(self) -> bool:
        """Whether nothing that could be checked is wrong."""
        return not self.failures

    @property
    def bug_report(self) -> str:
        """The line to put into a bug report: what failed, and on what; empty where nothing did."""
        if self.agrees:
            return ""
        failed = "; ".join(f"{outcome.name}: {outcome.told}" for outcome in self.failures)
        return f"vmdepth {version('vmdepth')}, {_machine(self.facts)}: {failed}"

    @property
    def summary(self) -> str:
        """How many checks ended how."""
        counts: Counter[str] = Counter(outcome.status for outcome in self.outcomes)
        return ", ".join(
            f"{counts[status]} {told}"
            for status, told in (
                ("passes", "pass"),
                ("fails", "FAIL"),
                ("no device", "no device"),
                ("left out", "left out"),
            )
            if counts[status]
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "vmdepth": version("vmdepth"),
            "agrees": self.agrees,
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "machine": [list(fact) for fact in self.facts],
            "checks": [asdict(outcome) for outcome in self.outcomes],
            "bug_report": self.bug_report,
        }


def markdown(seen: Verification) -> str:
    """The table, in the form of docs/verified.md: what can be put there as it is."""
    command = "vmdepth-verify --quick" if seen.quick else "vmdepth-verify"
    lines = [f"{_machine(seen.facts)}; {seen.summary}.", "", _HEAD, "|---|---|---|---|"]
    for outcome in seen.outcomes:
        told = {"passes": outcome.told, "fails": f"**fails**: {outcome.told}"}.get(
            outcome.status, f"{outcome.status}: {outcome.told}"
        )
        cells = (outcome.what, outcome.promised, told, f"`{command}`")
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    if seen.bug_report:
        lines += ["", "For a bug report:", "", "```text", seen.bug_report, "```"]
    return "\n".join(lines) + "\n"


def is_table(text: str) -> bool:
    """Whether a file begins as `markdown` does."""
    lines = text.splitlines()[:3]
    return len(lines) == 3 and bool(lines[0]) and lines[1:] == ["", _HEAD]


def _machine(facts: Sequence[Sequence[str]]) -> str:
    """What decides how things run, in a line."""
    known = {name: value for name, value in facts if name}
    named = [name for name in _NAMED if name in known and not known[name].startswith(_NOT_HERE)]
    own_words = ("board", "GPU")
    told = [known[name] if name in own_words else f"{name} {known[name]}" for name in named]
    return ", ".join(told if "GPU" in named else [known.get("CPU", "an unknown machine"), "no GPU", *told])
