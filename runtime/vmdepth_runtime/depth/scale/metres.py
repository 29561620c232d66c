"""What makes metres of depth without a unit: a scale, and of inverse depth a shift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.contract import StepContract
from vmdepth_runtime.errors import InputError

FARTHEST = 100.0
"""Metres that inverse depth is given as at most where nobody says: what it says of farther things is noise."""
_LARGEST = 1e30  # that a number may be, and 1 over it the smallest of a factor: metres are made in float32
_FORMS = "SCALE,SHIFT[,FARTHEST] for relative depth, metres = 1 / (SCALE x depth + SHIFT), and SCALE for scaled depth"


@dataclass(frozen=True)
class Metres:
    """What makes metres of depth without a unit.

    ```python
    import numpy as np
    from vmdepth_runtime import Metres

    depth = np.array([[0.0, 1.0, 2.0]], np.float32)  # relative: inverse, larger is nearer
    Metres(0.5, 0.1).apply(depth)
    print(depth)  # [[10.0, 1.67, 0.91]]
    ```

    Attributes:
        scale: of relative depth, 1/m to its unit, above 0; of scaled depth, metres to its unit.
        shift: of relative depth, 1/m; None for scaled depth, whose zero is known.
        farthest: metres that relative depth becomes at most, also where scale × depth + shift is not above 0.
    """

    scale: float
    shift: float | None = None
    farthest: float = FARTHEST

    def __post_init__(self) -> None:
        factors = self.scale, self.farthest
        if not (all(1 / _LARGEST <= number <= _LARGEST for number in factors) and abs(self.shift or 0.0) <= _LARGEST):
            raise InputError(
                f"--metres {self}: scale and farthest are above 0, and no number is beyond {_LARGEST:g}, or nearer "
                f"to 0 than one over that; it is {_FORMS}"
            )

    def __str__(self) -> str:
        """As `--metres` takes it."""
        numbers = [self.scale, *([] if self.shift is None else [self.shift])]
        if self.shift is not None and self.farthest != FARTHEST:
            numbers.append(self.farthest)
        return ",".join(f"{number:.6g}" for number in numbers)

    @property
    def inverse(self) -> bool:
        """Whether it is for relative depth, which is inverse."""
        return self.shift is not None

    @classmethod
    def of(cls, given: MetresGiven | None) -> Metres | None:
        """What is given, as it is, as numbers or as text; None of None.

        Raises:
            InputError: it cannot be meant.
        """
        if given is None or isinstance(given, Metres):
            return given
        parts = given.split(",") if isinstance(given, str) else given
        try:
            numbers = [float(part) for part in parts]
        except (TypeError, ValueError):
            numbers = []
        if not 1 <= len(numbers) <= 3:
            raise InputError(f"--metres {given!r}: is {_FORMS}")
        return cls(*numbers)

    def apply(self, depth: NDArray[np.float32]) -> None:
        """Make metres of a map. depth: float32, any shape, changed in place; what is NaN stays so."""
        depth *= np.float32(self.scale)
        if self.shift is not None:
            depth += np.float32(self.shift)
            np.maximum(depth, np.float32(1 / self.farthest), out=depth)
            np.reciprocal(depth, out=depth)


MetresGiven: TypeAlias = Metres | Sequence[float] | str
"""Metres; scale and, of relative depth, shift and perhaps the farthest; or the same as text, with commas."""


def check_metres(metres: Metres | None, contract: StepContract, model: object) -> None:
    """Raise InputError where depth of a contract does not become metres so. model: whose it is, for errors."""
    if metres is None:
        return
    kind = contract.depth_meaning
    if kind.unit is not None:
        raise InputError(f"--metres {metres}: {model} gives {kind.meaning} already; leave it out")
    if kind.shifted != (metres.shift is not None):
        wanted = "SCALE,SHIFT" if kind.shifted else "SCALE alone"
        raise InputError(f"--metres {metres}: {model} gives {kind.meaning}; it takes {wanted}")


def metres_of(contract: StepContract) -> Metres | None:
    """What a graph makes metres with; None of one that does not, or whose network gives them itself."""
    made = contract.metres
    return Metres(made["scale"], made["shift"], made["farthest"]) if made else None


def in_metres(contract: StepContract) -> StepContract:
    """The contract of a network whose depth is made metres."""
    return replace(contract, depth_kind="metric")
