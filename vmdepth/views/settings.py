"""Every setting of `vmdepth-views`, its default in sight. Imports nothing heavy: the command's help reads it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from vmdepth_runtime.camera.lens import Intrinsics
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.palettes import PALETTE
from vmdepth_runtime.sources.settings import ReadSettings

RESIZE_METHODS = ("upper_bound_resize", "upper_bound_crop", "lower_bound_resize", "lower_bound_crop")
REFERENCES = ("saddle_balanced", "saddle_sim_range", "first", "middle")

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class ViewsSettings:
    """What is reconstructed, and how.

    Attributes:
        sources: Pictures, folders or patterns of pictures, videos: all of one place.
        model: A checkpoint of Depth Anything 3, or the name of one on Hugging Face.
        output: The folder that is made.
        read: Which of a source's pictures or frames are taken.
        process_res: Pixels of the side that `process_res_method` names.
        process_res_method: How pictures become the network's size, as the official code names it: "upper_bound" makes
            the longer side `process_res`, "lower_bound" the shorter one; "resize" or "crop" then makes both multiples
            of 14.
        poses: Given cameras: a cameras.json of this command, a folder with COLMAP's cameras.txt and images.txt, or a
            trajectory (TUM's .txt) with `intrinsics`.
        intrinsics: fx, fy, cx, cy of all pictures, for a trajectory: in their pixels, counted from the middle of the
            first one; or a calibration file.
        reference: How the view is chosen that the others refer to.
        memory_budget: What one pass of the network may take beside weights and input, as 4GiB; None: all it wants.
        window: Views that see each other at once; more of them go in windows of so many. 0: all at once.
        overlap: Views that two windows share; None: a quarter of the window.
        confidence_percentile: Percent of the pixels that go into no cloud: those the network is least sure of.
        max_points: Of the cloud.
        colour: Whether depth in colours is written, too.
        palette: Of it.
        device: One of `DEVICES`; "auto" takes a GPU where there is one.

    Raises:
        InputError: Values that cannot be meant.
    """

    sources: tuple[str, ...]
    model: Path
    output: Path
    read: ReadSettings = field(default_factory=ReadSettings)
    process_res: int = 504
    process_res_method: str = RESIZE_METHODS[0]
    poses: Path | None = None
    intrinsics: Intrinsics | None = None
    reference: str = REFERENCES[0]
    memory_budget: str | None = None
    window: int = 64
    overlap: int | None = None
    confidence_percentile: float = 40.0
    max_points: int = 1_000_000
    colour: bool = False
    palette: str = PALETTE
    device: str = DEVICES[0]

    def __post_init__(self) -> None:
        if self.process_res < 14:
            raise InputError(f"--process-res {self.process_res}: it is 14 pixels at least")
        if self.window < 0 or self.window == 1:
            raise InputError(f"--window {self.window}: is 2 views or more, or 0 for all of them at once")
        if self.overlap is not None and self.window and not 1 <= self.overlap < self.window:
            raise InputError(f"--overlap {self.overlap}: is 1 or more, and less than the {self.window} of --window")
        if self.overlap is not None and not self.window:
            raise InputError(f"--overlap {self.overlap}: --window 0 takes all views at once; leave one of both out")
        if self.palette != PALETTE and not self.colour:
            raise InputError(f"--palette {self.palette}: no file has colours; --colour writes some")
        if self.reference != REFERENCES[0] and self.poses is not None:
            raise InputError(
                f"--reference {self.reference}: with --poses the views refer to given cameras; leave one of both out"
            )
        if not 0 <= self.confidence_percentile < 100:
            raise InputError(f"--confidence-percentile {self.confidence_percentile:g}: should be from 0 to below 100")
        if self.max_points < 1:
            raise InputError(f"--max-points {self.max_points}: a cloud has at least one")
        if self.intrinsics is not None and self.poses is None:
            raise InputError("--intrinsics go with the trajectory of --poses; without it the network tells cameras")

    def of_several_views(self) -> list[str]:
        """The options that were set and mean nothing to a network that sees each picture alone."""
        names = ("window", "overlap", "reference", "confidence_percentile")
        untouched = {one.name: one.default for one in fields(self)}
        return [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) != untouched[name]]

    @property
    def shared(self) -> int:
        """Views that two windows share."""
        return max(1, self.window // 4) if self.overlap is None else self.overlap
