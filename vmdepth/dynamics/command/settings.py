"""Every setting of `vmdepth-masks`, its default in sight. Imports nothing heavy: the command's help reads it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from vmdepth.dynamics.mask_stages import EXTENTS, METHODS, WINDOWED, Extent, MaskStages, Method
from vmdepth.dynamics.refinement.options import RefineOptions
from vmdepth.views.settings import DEVICES, REFERENCES, RESIZE_METHODS
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.sources.settings import ReadSettings

REFINEMENTS = ("residual", "gradient", "none")
NO_PASS = "none"

_OF_THE_NETWORK = ("leave_out", "memory_budget", "window", "reference", "device")
_OF_READING = ("process_res", "process_res_method", "read")
# Fields of `MaskStages` that only some methods have a use for, and the option that sets them.
_OF_METHODS: dict[str, tuple[tuple[Method, ...], str]] = {
    "clusters": (WINDOWED, "--clusters"),
    "high": (("guided",), "--hysteresis"),
    "low": (("guided",), "--hysteresis"),
    "guide_radius": (("guided",), "--guide-radius"),
    "smooth_frames": (("guided",), "--smooth-frames"),
}


@dataclass(frozen=True)
class MasksSettings:
    """In which frames what moves is looked for, and how.

    Attributes:
        output: The folder that is made.
        source: A video, or a folder or pattern of its frames; None: those of `arrays`.
        model: A checkpoint of a network with attention, or the name of one on Hugging Face; None with `arrays`.
        arrays: A file of `out_arrays`, which takes the network's place: masks are made anew of what it found then.
        out_arrays: An .npz that gets what the network found, masks and maps.
        read: Which of the source's frames are taken.
        method: How masks are made.
        layers: The blocks whose queries and keys are asked: a name or the bands, as `layers.choose_layers` reads them.
        stages: By which numbers maps become masks.
        refine: How masks are checked against depth and cameras, one of `REFINEMENTS`; None: "residual" with the method
            "full", else not at all.
        refinement: By which numbers they are checked.
        refine_scale: The depth that counts as 1 in those; None: the median of the video's.
        leave_out: Where the second pass leaves out what moves: one of `EXTENTS`, a number of the first blocks that see
            all views, or `NO_PASS`: there is none.
        process_res: Pixels of the side that `process_res_method` names.
        process_res_method: How frames become the network's size; see `ViewsSettings`.
        reference: How the view is chosen that the others refer to.
        memory_budget: What one pass of the network may take beside weights and input, as 4GiB; None: all it wants.
        window: Frames that see each other at once; more of them go in windows of so many. 0: all at once.
        device: One of `DEVICES`; "auto" takes a GPU where there is one.

    Raises:
        InputError: Values that cannot be meant.
    """

    output: Path
    source: str | None = None
    model: Path | None = None
    arrays: Path | None = None
    out_arrays: Path | None = None
    read: ReadSettings = field(default_factory=ReadSettings)
    method: Method = METHODS[0]
    layers: str = "relative"
    stages: MaskStages = field(default_factory=MaskStages)
    refine: str | None = None
    refinement: RefineOptions = field(default_factory=RefineOptions)
    refine_scale: float | None = None
    leave_out: str = EXTENTS[0]
    process_res: int = 504
    process_res_method: str = RESIZE_METHODS[0]
    reference: str = REFERENCES[0]
    memory_budget: str | None = None
    window: int = 64
    device: str = DEVICES[0]

    def __post_init__(self) -> None:
        self._check_input()
        self._check_stages()
        if self.method == "full" and self.refined_by is None:
            raise InputError("--refine none: the method full without its refinement is --method published")
        if self.refined_by is None and (self.refinement != RefineOptions() or self.refine_scale is not None):
            raise InputError("--refine-…: nothing is refined; --refine residual does, and --method full")
        if self.out_arrays is not None and self.out_arrays.suffix.lower() != ".npz":
            raise InputError(f"{self.out_arrays}: arrays are written as .npz; give it that ending")
        if self.refine_scale is not None and not self.refine_scale > 0:
            raise InputError(f"--refine-scale {self.refine_scale:g}: is a depth, above 0")
        if self.leave_out not in (*EXTENTS, NO_PASS) and not self.leave_out.isdecimal():
            names = ", ".join((*EXTENTS, NO_PASS))
            raise InputError(f"--leave-out {self.leave_out}: it can be {names}, or a number of blocks")
        if self.process_res < 14:
            raise InputError(f"--process-res {self.process_res}: it is 14 pixels at least")
        if self.window < 0 or self.window == 1:
            raise InputError(f"--window {self.window}: is 2 frames or more, or 0 for all of them at once")

    def _check_input(self) -> None:
        if self.arrays is None:
            if self.source is None or self.model is None:
                missing = "SOURCE" if self.source is None else "--model"
                raise InputError(f"{missing} is missing; or --from takes the arrays of an earlier run")
            return
        untouched = {one.name: one.default for one in fields(self)} | {"read": ReadSettings()}
        for name in ("model", *_OF_THE_NETWORK, *(_OF_READING if self.source is None else ())):
            if getattr(self, name) != untouched[name]:
                option = "--start, --frames, --every" if name == "read" else f"--{name.replace('_', '-')}"
                raise InputError(
                    f"{option}: frames and what a network makes of them are those of --from {self.arrays}; leave one "
                    "of both out"
                )

    def _check_stages(self) -> None:
        for name, (methods, option) in _OF_METHODS.items():
            if self.method not in methods and getattr(self.stages, name) != getattr(MaskStages, name):
                raise InputError(f"{option}: is for --method {' and '.join(methods)}; leave it out of {self.method}")

    @property
    def sources(self) -> tuple[str, ...]:
        """What is read."""
        return () if self.source is None else (self.source,)

    @property
    def refined_by(self) -> str | None:
        """How masks are checked against depth and cameras; None: they are not."""
        how = self.refine or (REFINEMENTS[0] if self.method == "full" else REFINEMENTS[-1])
        return None if how == REFINEMENTS[-1] else how

    @property
    def unrefined_option(self) -> str:
        """What makes the same masks, not checked."""
        return "--method published" if self.method == "full" else "--refine none"

    @property
    def extent(self) -> Extent | int | None:
        """Where the second pass leaves out what moves, as `second_pass` takes it; None: there is none."""
        if self.leave_out == NO_PASS:
            return None
        return int(self.leave_out) if self.leave_out.isdecimal() else cast("Extent", self.leave_out)
