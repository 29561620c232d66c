"""What every output is: takes frames with their depth, and knows what `-o` has to know of its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.camera.lens import Lens
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.depth_encodings import DepthEncoding
from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.outputs import EXTRA_OUTPUTS
from vmdepth_runtime.sessions.base import StepOutputs
from vmdepth_runtime.sources.base import FRAME_ID, SourceFrame, VideoInfo
from vmdepth_runtime.sources.sound import Sound

_NOT_ALWAYS = {output.name for output in EXTRA_OUTPUTS}


@dataclass(frozen=True)
class SinkFacts:
    """What an output may have to know of the run.

    ```python
    from vmdepth_runtime import SinkFacts, open_source

    with open_source("demo") as source:
        facts = SinkFacts(source.info, depth_kind="metric")
    ```

    Attributes:
        info: of the source.
        depth_kind: what the model's depth means, a name of `vmdepth_runtime.depth_kinds.DEPTH_KINDS`.
        extra_outputs: what the model gives besides, names of `vmdepth_runtime.outputs.EXTRA_OUTPUTS`.
        near: a depth that is about as large as any to come; None where that is not known.
        side_by_side: whether pictures show the source beside its depth.
        colour: whether pictures that could hold depth itself show it in colours instead.
        max_height: rows that videos, windows and pages have at most; 0: as many as the source.
        lens: of the source's camera; None where it is not known.
        cloud: which points of a frame go into a cloud.
        heed_moving: whether what the network says moves is left out of clouds.
        compress: whether archives and recordings are compressed.
        depth_encoding: of depth in recordings.
        points: whether recordings have a cloud of each frame.
        status: gives the run's figures at any time, for pages.
        sound: of the source; None where it has none.
        frame_id: what the source's camera is called in a robot.
        began: nanoseconds since 1970 at time 0 of a source whose frames have no `stamp`.
    """

    info: VideoInfo
    depth_kind: Literal["relative", "scaled", "metric"] | str = "relative"
    extra_outputs: tuple[str, ...] = ()
    near: float | None = None
    side_by_side: bool = True
    colour: bool = False
    max_height: int = 0
    lens: Lens | None = None
    cloud: CloudSettings = field(default_factory=CloudSettings)
    heed_moving: bool = True
    compress: bool = False
    depth_encoding: DepthEncoding = "32FC1"
    points: bool = False
    status: Callable[[], dict[str, Any]] = dict
    sound: Sound | None = None
    frame_id: str = FRAME_ID
    began: int = 0

    @property
    def depth_meaning(self) -> DepthKind:
        """What `depth_kind` stands for."""
        return DEPTH_KINDS[self.depth_kind]

    def stamp(self, frame: SourceFrame) -> int:
        """When the camera took a frame: nanoseconds since 1970."""
        return frame.stamp if frame.stamp is not None else self.began + round(frame.time * 1e9)


class Sink(ABC):
    """Takes frames with their depth. `close` finishes the output; leaving the `with` block by an exception aborts it.

    Args:
        target: as `-o` names it; one that `check` lets pass.
        facts: of the run.

    Attributes:
        example: how `--help` and errors write a target of this kind; empty for files, which have an ending.
        remark: what `--help` adds to that in brackets; may be empty.
        address: of a kind that is meant by an address, what those look like; else empty.
        needs_camera: whether it can do nothing without `SinkFacts.lens`.
        takes_camera: whether it has a use for `SinkFacts.lens`, though it can do without.
        has_clouds: whether it has clouds of points wherever that is known.
        records: whether it is a recording of a robot: `SinkFacts.depth_encoding` and `points` are about those.
        needs_range: whether it shows depth on a scale of its own, so that it is worth knowing what depth there will be;
            where that depends on what depth means, `scales` tells.
        wants_depth: whether `write` reads its `depth`; a kind may leave it to the facts of each, as the next.
        wants_colour: whether `write` reads its `colour`.
        may_colour: whether it does so where the run wants colours, and is depth itself otherwise.
        for_eyes: whether it is a picture to look at, which `SinkFacts.max_height` limits.
        draws: which outputs of the network it shows, by the names of `contract.own_outputs`, those that a network need
            not have only where it has them; `depth` among them is the network's own, at the model's size and not
            anchored to key frames.
        name: what it is called now, safe to print.
        invitation: what people have to be told once it is open; empty of most.
        notes: what about the output is not as the source was, a line each.
        encoder: what encodes it, of a video; else empty.
        frames: how many it took.
        outputs: those that it `draws`, by name, of the frame that is being written, without the stream axis.
        moves: called by what takes long in `close`, again and again, so that it is not taken to stand still.
    """

    example: ClassVar[str] = ""
    remark: ClassVar[str] = ""
    address: ClassVar[str] = ""
    needs_camera: ClassVar[bool] = False
    takes_camera: ClassVar[bool] = False
    has_clouds: ClassVar[bool] = False
    records: ClassVar[bool] = False
    needs_range: ClassVar[bool] = False
    wants_depth: bool = True
    wants_colour: bool = False
    may_colour: ClassVar[bool] = False
    for_eyes: bool = False
    draws: tuple[str, ...] = ()

    def __init__(self, target: str | Path, facts: SinkFacts) -> None:
        self.name = str(target)
        self.facts = facts
        self.draws = tuple(name for name in self.draws if name not in _NOT_ALWAYS or name in facts.extra_outputs)
        self.invitation = ""
        self.notes: list[str] = []
        self.encoder = ""
        self.frames = 0
        self.outputs: StepOutputs = {}
        self.moves: Callable[[], None] = _keep_quiet

    @property
    def watched(self) -> bool:
        """Whether anybody will see the next frame; where not, neither its depth nor its colours need be made."""
        return True

    def colour_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the `colour` that `write` takes with a frame of that size: the same, or of a picture for
        eyes no more rows than `SinkFacts.max_height`, and then both even, as videos have to be."""
        limit = self.facts.max_height
        if not self.for_eyes or limit == 0 or height <= limit:
            return height, width
        rows = max(2, limit // 2 * 2)
        return rows, max(2, round(width * rows / height / 2) * 2)

    @classmethod
    def shows_colour(cls, colour: bool, kind: DepthKind | None = None) -> bool:
        """Whether one of this kind reads its `colour`. colour: whether the run wants colours. kind: of the depth; None:
        that is not known, and any may come."""
        return cls.wants_colour or (colour and cls.may_colour)

    @classmethod
    def scales(cls, kind: DepthKind) -> bool:
        """Whether one of this kind `needs_range` of a kind of depth."""
        return cls.needs_range

    @classmethod
    @abstractmethod
    def accepts(cls, target: str) -> bool:
        """Whether a target means this kind of output. At most one kind accepts it."""

    @classmethod
    def check(cls, target: str, sources: Sequence[Path], *, has_camera: bool) -> None:
        """Look, before any work and without touching anything, whether an output can be made.

        Args:
            target: one that the class accepts.
            sources: files, folders and patterns that must not be harmed.
            has_camera: whether the run knows its camera.

        Raises:
            InputError: it cannot; says what to do.
        """
        if cls.needs_camera and not has_camera:
            raise InputError(f"{target}: points need the camera; give --fov DEGREES or --intrinsics FX,FY,CX,CY|FILE")

    @classmethod
    def foretell(cls, target: str, facts: SinkFacts) -> str | None:
        """Look, before anything is written, how large the output will be.

        Args:
            target: one that the class accepts.
            facts: of the run.

        Returns:
            A line that is worth telling; None for what is not large, or not known.

        Raises:
            InputError: there is no room for it; says what to do.
        """
        return None

    def write(
        self,
        frame: SourceFrame,
        depth: NDArray[np.float32],
        colour: NDArray[np.uint8],
        outputs: StepOutputs | None = None,
    ) -> None:
        """Take one frame.

        Args:
            frame: of the size that the source's info says.
            depth: float32 `[H, W]`, all NaN where there is none; read only where the sink `wants_depth`.
            colour: uint8 `[h, w, 3]` RGB of `colour_size`, read only where the sink `wants_colour`.
            outputs: what the network gave for the frame, at least what the sink `draws`.

        Raises:
            WorkError: it cannot be written.
            KeyError: an output that the sink `draws` is not given.
        """
        given = outputs or {}
        self.outputs = {name: given[name] for name in self.draws}
        with writing(self.name):
            self._write(frame, depth, colour)
        self.frames += 1

    def pass_by(self, frame: SourceFrame) -> None:
        """In place of `write`, of a frame that nobody sees."""
        self.frames += 1

    @abstractmethod
    def close(self) -> None:
        """Finish. Raises WorkError."""

    def abort(self) -> None:
        """Give up."""
        self.close()

    @abstractmethod
    def _write(self, frame: SourceFrame, depth: NDArray[np.float32], colour: NDArray[np.uint8]) -> None: ...

    def _beside_source(self, frame: SourceFrame, colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The source's picture at the colour's size, and the colour to its right; the colour alone where the run says
        so. A copy."""
        if not self.facts.side_by_side:
            return colour.copy()
        image = frame.image
        if image.shape != colour.shape:
            image = np.asarray(cv2.resize(image, colour.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
        return np.hstack([image, colour])

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


def _keep_quiet() -> None:
    return


@contextmanager
def writing(name: str | Path) -> Iterator[None]:
    """A block in which what goes wrong with a file or pipe becomes a WorkError that names it."""
    try:
        yield
    except BrokenPipeError:
        raise WorkError(f"{name}: whoever read it has gone away") from None
    except (OSError, av.FFmpegError) as error:
        raise WorkError(f"{name}: cannot be written ({error.strerror or error}); is the disk full?") from None
