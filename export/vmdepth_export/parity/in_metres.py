"""Sessions of one network, one of which gives metres, made comparable."""

from __future__ import annotations

from collections.abc import Collection

from vmdepth_runtime.depth.metres import scale_pose
from vmdepth_runtime.depth.scale.metres import Metres, in_metres, metres_of
from vmdepth_runtime.sessions.base import StepOutputs, StepSession


class InMetres(StepSession):
    """A session of a network without a unit, whose depth is made metres.

    Args:
        session: of depth of the kind that `metres` is for; closed with this one.
        metres: what makes them.
    """

    def __init__(self, session: StepSession, metres: Metres) -> None:
        self.contract, self.path, self.backend = in_metres(session.contract), session.path, session.backend
        self.frame, self.memory, self._states = session.frame, session.memory, session._states
        self._session, self._metres = session, metres

    @property
    def runs_on(self) -> str:
        return self._session.runs_on

    def step(self, idle: Collection[int] = ()) -> StepOutputs:
        outputs = dict(self._session.step(idle))
        outputs["depth"] = outputs["depth"].copy()
        self._metres.apply(outputs["depth"])
        return scale_pose(self._session.contract, outputs, self._metres.scale)

    def close(self) -> None:
        self._session.close()


def in_one_unit(reference: StepSession, candidate: StepSession) -> tuple[StepSession, StepSession]:
    """The two, of which the one without a unit has its depth made metres as the other makes it, where that does."""
    made = metres_of(reference.contract), metres_of(candidate.contract)
    if made[1] and reference.contract.depth_unit is None:
        return InMetres(reference, made[1]), candidate
    if made[0] and candidate.contract.depth_unit is None:
        return reference, InMetres(candidate, made[0])
    return reference, candidate
