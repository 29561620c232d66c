"""What a verification saw, as JSON holds it and as people read it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import version
from typing import Any

from vmdepth_export.verify.outcome import Outcome, Status

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
        interrupted: whether it was before all was done.
        date: and time of its end, with the offset from UTC.
    """

    facts: Sequence[Sequence[str]]
    outcomes: Sequence[Outcome]
    quick: bool
    seconds: float
    interrupted: bool = False
    date: str = field(default_factory=lambda: datetime.now().astimezone().isoformat(timespec="seconds"))

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "fails"]

    @property
    def agrees(self) -> bool:
        """Whether something could be checked, nothing of it is wrong, and all was looked at."""
        return not self.failures and not self.interrupted and self._passed

    @property
    def _passed(self) -> bool:
        return any(outcome.status == "passes" for outcome in self.outcomes)

    @property
    def nothing_checked(self) -> str:
        """Why nothing could be checked, and what to install; empty where something was."""
        if self._passed or self.failures or self.interrupted:
            return ""
        return f"nothing could be checked: {'; '.join(self.reasons('left out') or self.reasons('no device'))}"

    def reasons(self, status: Status) -> list[str]:
        """What is told of the checks that ended so, each once."""
        return list(dict.fromkeys(outcome.told for outcome in self.outcomes if outcome.status == status))

    @property
    def bug_report(self) -> str:
        """The line to put into a bug report: what failed, and on what; empty where nothing did."""
        if not self.failures:
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
            "date": self.date,
            "agrees": self.agrees,
            "interrupted": self.interrupted,
            "quick": self.quick,
            "seconds": round(self.seconds, 1),
            "machine": _by_name(self.facts),
            "checks": [asdict(outcome) for outcome in self.outcomes],
            "nothing_checked": self.nothing_checked,
            "bug_report": self.bug_report,
        }


def markdown(seen: Verification) -> str:
    """The table, in the form of docs/verified.md: what can be put there as it is."""
    command = "vmdepth-verify --quick" if seen.quick else "vmdepth-verify"
    when = f"vmdepth {version('vmdepth')}, {seen.date.partition('T')[0]}"
    lines = [f"{when}, {_machine(seen.facts)}; {seen.summary}.", "", _HEAD, "|---|---|---|---|"]
    for outcome in seen.outcomes:
        told = {
            "passes": outcome.told,
            "fails": f"**fails**: {outcome.told}",
            "no device": "no device",  # the reason is the same of all, and stands below
            "left out": f"left out: {outcome.told}",
        }[outcome.status]
        cells = (outcome.what, outcome.promised, told, f"`{command}`")
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    for reason in seen.reasons("no device"):
        lines += ["", f"No device: {reason}"]
    if seen.nothing_checked:
        lines += ["", f"**{seen.nothing_checked}**"]
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
    told = [_told(name, known[name]) for name in named]
    return ", ".join(told if "GPU" in named else [known.get("CPU", "an unknown machine"), "no GPU", *told])


def _told(name: str, value: str) -> str:
    if name == "ONNX Runtime" and not value[:1].isdigit():  # why it does not load, which the checks tell
        return "no ONNX Runtime"
    return value if name in ("board", "GPU") else f"{name} {value}"


def _by_name(facts: Sequence[Sequence[str]]) -> dict[str, str]:
    """Facts whose values go on under an empty name, joined."""
    values: dict[str, list[str]] = {}
    current = ""
    for name, value in facts:
        current = name or current
        values.setdefault(current, []).append(value)
    return {name: "; ".join(told) for name, told in values.items()}
