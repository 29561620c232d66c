"""What predictions are compared with: measured or rendered depth, or what a teacher says where there is neither."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vmdepth.evaluation.alignment import METRES
from vmdepth_runtime.depth_kinds import DepthKind


@dataclass(frozen=True)
class Truth:
    """kind: of the depth that is taken for true. teacher: the checkpoint that it is from; empty where it was
    measured."""

    kind: DepthKind = METRES
    teacher: str = ""

    @property
    def unit(self) -> str:
        """Of depth and of all figures: "m", or "u", a teacher's median depth of the sequence."""
        return "m" if self.kind.unit else "u"

    @property
    def measure(self) -> str:
        """What δ1 and its like are a measure of."""
        return "agreement with the teacher" if self.teacher else "accuracy"

    def in_its_unit(self, title: str) -> str:
        """A figure's title for metres, in the unit that it has; what stands still only measured depth knows."""
        if self.teacher:
            title = title.replace("of what stands still", "along the flow")
        return re.sub(r"\bm\b", self.unit, title)

    def to_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"measure": self.measure, "teacher": self.teacher, "depth_kind": self.kind.name, "unit": self.unit}


MEASURED = Truth()
