"""The depth of one picture, and what people do with it: look, save, turn into points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import check_target, write_whole
from vmdepth_runtime.camera.distortion import Distortion
from vmdepth_runtime.camera.lens import Intrinsics, Lens
from vmdepth_runtime.camera.pinhole import PinholeCamera
from vmdepth_runtime.depth.colour_map import NO_DEPTH, FixedRange, colourise, palette
from vmdepth_runtime.depth_kinds import DEPTH_KINDS, DepthKind
from vmdepth_runtime.encoding import pictures
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.points import PointCloud, back_project, near_for, ply
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.outputs import DYNAMIC
from vmdepth_runtime.palettes import PALETTE

_MARKS = 5  # on the scale beside a plot, even in its colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False, eq=False)
class Prediction:
    """The depth of one picture. Its arrays are its own: nothing overwrites them.

    ```python
    from vmdepth_runtime import open_source, predict

    with open_source("demo") as source:
        frame = next(iter(source))
    prediction = predict(frame.image)
    prediction.save("depth.png")  # 16 bit; colour=True, or .jpg: in colours
    prediction.save("cloud.ply", fov=60)
    points, colours = prediction.points(fov=60)
    ```

    Attributes:
        depth: float32 `[H, W]`, at the picture's size; all NaN where the network failed.
        image: uint8 `[H, W, 3]` RGB: the picture, upright.
        kind: what depth means, a name of `vmdepth_runtime.depth_kinds.DEPTH_KINDS`: "relative" (inverse depth, larger
            is nearer), "scaled" (depth up to one scale, larger is farther) or "metric" (metres, larger is farther).
        camera: of the picture; None where nobody said it.
        distortion: how that bends straight lines, which `points` undoes; None: not at all.
        confidence: float32 `[H, W]`, ≥ 1: how sure the network is; None of one that does not say.
        sky: float32 `[H, W]`, ≥ 0: from 0.3 on a pixel is sky; None of a network that does not say.
        dynamic: float32 `[H, W]`, 0..1: from 0.5 on a pixel moves by itself, which a network that judges by earlier
            pictures says of none; None of one that does not say.
        pose: float32 `[9]`, the camera as the network takes it to be: translation in the unit of `depth`, quaternion
            x y z w, field of view in radians, the height's first; None of a network that does not say.
    """

    depth: NDArray[np.float32]
    image: NDArray[np.uint8]
    kind: Literal["relative", "scaled", "metric"] | str
    camera: PinholeCamera | None = None
    confidence: NDArray[np.float32] | None = None
    sky: NDArray[np.float32] | None = None
    dynamic: NDArray[np.float32] | None = None
    pose: NDArray[np.float32] | None = None
    distortion: Distortion | None = None

    @property
    def meaning(self) -> DepthKind:
        """What `kind` stands for: whether larger is nearer, and the unit."""
        return DEPTH_KINDS[self.kind]

    def __repr__(self) -> str:
        height, width = self.depth.shape
        finite = self.depth[np.isfinite(self.depth)]
        span = f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "none"
        return f"Prediction({self.kind} depth of {width}x{height}, {span})"

    def coloured(self, palette: str = PALETTE) -> NDArray[np.uint8]:
        """Depth in colours, from the 1st to the 99th percentile of it.

        Args:
            palette: one of `vmdepth_runtime.palettes.PALETTES`.

        Returns:
            uint8 `[H, W, 3]` RGB, near ones at the palette's upper end.

        Raises:
            InputError: there is no such palette.
        """
        return colourise(self.depth, *self._range(), palette=palette)

    def plot(self, axes: Axes | None = None, *, palette: str = PALETTE) -> Axes:
        """Draw depth with Matplotlib, with a scale beside it.

        Args:
            axes: to draw into; None makes a figure.
            palette: one of `vmdepth_runtime.palettes.PALETTES`.

        Returns:
            The axes; `matplotlib.pyplot.show()` opens a window.

        Raises:
            InputError: Matplotlib is missing, or there is no such palette.
        """
        return _draw(self, axes, palette)

    def points(
        self,
        fov: float | None = None,
        *,
        intrinsics: Intrinsics | None = None,
        settings: CloudSettings | None = None,
    ) -> PointCloud:
        """The picture as coloured points; without what the network takes for sky, is least sure of, or sees move.

        Args:
            fov: degrees that the picture is wide; needed where `camera` is None.
            intrinsics: fx, fy, cx, cy in pixels, or a calibration file, in place of `fov`.
            settings: how many points, how far, and which are left out; None: the defaults of `CloudSettings`.

        Returns:
            `points` float32 `[N, 3]`, x right, y down, z forward, in metres for metric depth, in the depth's own unit
            for scaled depth, with z = 1 where it is nearest for relative depth; and `colours` uint8 `[N, 3]` RGB.

        Raises:
            InputError: nobody says what the camera sees, or so that it cannot be meant.
        """
        return self._cloud(Lens.of(fov, intrinsics), settings or CloudSettings())

    def _cloud(self, lens: Lens | None, settings: CloudSettings) -> PointCloud:
        camera, distortion = self.camera, self.distortion
        if lens is not None:
            camera, distortion = lens.camera(self.image.shape[1], self.image.shape[0]), lens.distortion
        if camera is None:
            raise InputError("points need the camera: give fov, degrees that the picture is wide, or intrinsics")
        near = near_for(self.meaning, self.depth)
        return back_project(self.depth, self.image, camera, near, settings, self._maps(), distortion)

    def save(
        self,
        path: str | Path,
        *,
        colour: bool = False,
        palette: str = PALETTE,
        fov: float | None = None,
        intrinsics: Intrinsics | None = None,
    ) -> None:
        """Write depth to a file, in the form that its ending names.

        `.png`: 16 bit, metric depth in millimetres, 0 beyond 65.535 m; depth without a unit with the largest value at
        65535; 0 is none; or coloured. `.jpg`: coloured. `.npy`, `.exr`: float32. `.npz`: `depth`, `image`, `depth_kind`
        and what else the network gave. `.ply`: coloured points.

        Args:
            path: of the file, which is replaced where it is there; its folder is made.
            colour: a `.png` is coloured.
            palette: of a coloured picture.
            fov: degrees that the picture is wide, for `.ply`; needed where `camera` is None.
            intrinsics: fx, fy, cx, cy in pixels, or a calibration file, in place of `fov`.

        Raises:
            InputError: for another ending, no camera for `.ply`, a palette without colours, or a place where no file
                can be.
            WorkError: the disk does not take it.
        """
        path = Path(path)
        write = _WRITERS.get(path.suffix.lower())
        if write is None:
            raise InputError(f"{path}: unknown ending '{path.suffix}'; depth is saved as {', '.join(_WRITERS)}")
        lens = Lens.of(fov, intrinsics)
        if path.suffix.lower() == ".ply" and lens is None and self.camera is None:
            raise InputError(
                f"{path}: points need the camera; give fov=DEGREES that the picture is wide, such as 60, or intrinsics"
            )
        if palette != PALETTE and write is not _jpg and not (write is _png and colour):
            raise InputError(
                f"{path}: has no colours for palette='{palette}'; colour=True gives .png some, .jpg has them"
            )
        content = write(self, colour, palette, lens)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: its folder cannot be made ({error.strerror}); choose another place") from None
        check_target(path)
        write_whole(path, content)

    def _range(self) -> tuple[float, float]:
        colours = FixedRange.of([self.depth], larger_is_nearer=self.meaning.inverse)
        return colours.low, colours.high

    def _maps(self) -> dict[str, NDArray[np.float32]]:
        named = {"confidence": self.confidence, "sky": self.sky, DYNAMIC: self.dynamic}
        return {name: given for name, given in named.items() if given is not None}


def _draw(prediction: Prediction, axes: Axes | None, name: str) -> Axes:
    colours = palette(name) / 255.0
    try:
        from matplotlib import pyplot
        from matplotlib.colors import FuncNorm, ListedColormap, Normalize
    except ModuleNotFoundError:
        raise InputError("plot() needs Matplotlib: pip install matplotlib") from None
    if axes is None:
        axes = pyplot.subplots(layout="constrained")[1]
    low, high = prediction._range()
    meaning, lowest, highest = prediction.meaning, min(low, high), max(low, high)
    even, marks = Normalize(lowest, highest), None
    if not meaning.inverse and lowest > 0:
        even = FuncNorm((_inverse, _inverse), lowest, highest)  # as `colourise` paints it
        marks = _inverse(np.linspace(1 / highest, 1 / lowest, _MARKS))
    ordered = colours if meaning.inverse else colours[::-1]
    table = ListedColormap(ordered.tolist()).with_extremes(bad=(NO_DEPTH / 255,) * 3)
    shown = axes.imshow(prediction.depth, cmap=table, norm=even)
    axes.set_axis_off()
    scale = axes.figure.colorbar(shown, ax=axes, shrink=0.8, label=meaning.meaning, ticks=marks)
    if marks is not None:
        scale.set_ticklabels([f"{mark:.3g}" for mark in marks])
    return axes


def _inverse(values: NDArray[Any]) -> NDArray[Any]:
    return 1 / np.maximum(values, np.finfo(np.float32).tiny)


def _png(prediction: Prediction, colour: bool, palette: str, lens: Lens | None) -> bytes:
    if colour:
        return pictures.picture(prediction.coloured(palette), ".png")
    finite = prediction.depth[np.isfinite(prediction.depth)]
    largest = float(finite.max()) if finite.size else 0.0
    steps = pictures.steps_per_unit(prediction.meaning, largest)
    return pictures.picture(pictures.sixteen_bits(prediction.depth, steps, prediction.meaning)[0], ".png")


def _jpg(prediction: Prediction, colour: bool, palette: str, lens: Lens | None) -> bytes:
    return pictures.picture(prediction.coloured(palette), ".jpg")


def _npz(prediction: Prediction, colour: bool, palette: str, lens: Lens | None) -> memoryview:
    arrays: dict[str, NDArray[Any]] = {"depth": prediction.depth, "image": prediction.image, **prediction._maps()}
    if prediction.pose is not None:
        arrays["pose"] = prediction.pose
    return pictures.npz(**arrays, depth_kind=np.array(prediction.kind))


def _ply(prediction: Prediction, colour: bool, palette: str, lens: Lens | None) -> bytes:
    return ply(prediction._cloud(lens, CloudSettings()))


_WRITERS: dict[str, Callable[[Prediction, bool, str, Lens | None], Any]] = {
    ".png": _png,
    ".jpg": _jpg,
    ".jpeg": _jpg,
    ".npy": lambda prediction, *_: pictures.npy(prediction.depth),
    ".npz": _npz,
    ".exr": lambda prediction, *_: pictures.exr(prediction.depth),
    ".ply": _ply,
}
