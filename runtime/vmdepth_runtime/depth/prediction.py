"""The depth of one picture, and what people do with it: look, save, turn into points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vmdepth_runtime.atomic_files import check_target, write_whole
from vmdepth_runtime.depth.colour_map import NO_DEPTH, FixedRange, colourise, palette
from vmdepth_runtime.encoding import pictures
from vmdepth_runtime.encoding.cloud_settings import CloudSettings
from vmdepth_runtime.encoding.points import PinholeCamera, PointCloud, back_project, near_of, ply
from vmdepth_runtime.errors import InputError
from vmdepth_runtime.palettes import PALETTE

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
        kind: "relative": inverse depth without a unit, larger is nearer; "metric": metres, larger is farther.
    """

    depth: NDArray[np.float32]
    image: NDArray[np.uint8]
    kind: Literal["relative", "metric"] | str

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
        intrinsics: tuple[float, float, float, float] | None = None,
        settings: CloudSettings | None = None,
    ) -> PointCloud:
        """The picture as coloured points.

        Args:
            fov: degrees that the picture is wide.
            intrinsics: fx, fy, cx, cy in pixels, in place of `fov`.
            settings: how many points, how far, and whether edges are cut; None: the defaults of `CloudSettings`.

        Returns:
            `points` float32 `[N, 3]`, x right, y down, z forward, in metres for metric depth, with z = 1 where it is
            nearest for relative depth; and `colours` uint8 `[N, 3]` RGB.

        Raises:
            InputError: neither or both of `fov` and `intrinsics` are given, or they cannot be meant.
        """
        camera = _camera(self.depth.shape, fov, intrinsics)
        near = None if self.kind == "metric" else near_of(self.depth) or 1.0
        return back_project(self.depth, self.image, camera, near, settings or CloudSettings())

    def save(self, path: str | Path, *, colour: bool = False, palette: str = PALETTE, fov: float | None = None) -> None:
        """Write depth to a file, in the form that its ending names.

        `.png`: 16 bit, metric depth in millimetres, up to 65.5 m; relative depth with the largest value at 65535; 0
        is none; or coloured. `.jpg`: coloured. `.npy`, `.exr`: float32. `.npz`: `depth` and `image`. `.ply`: coloured
        points.

        Args:
            path: of the file, which is replaced where it is there; its folder is made.
            colour: a `.png` is coloured.
            palette: of a coloured picture.
            fov: degrees that the picture is wide, for `.ply`.

        Raises:
            InputError: for another ending, no `fov` for `.ply`, a palette without colours, or a place where no file
                can be.
            WorkError: the disk does not take it.
        """
        path = Path(path)
        write = _WRITERS.get(path.suffix.lower())
        if write is None:
            raise InputError(f"{path}: unknown ending '{path.suffix}'; depth is saved as {', '.join(_WRITERS)}")
        if path.suffix.lower() == ".ply" and fov is None:
            raise InputError(f"{path}: points need the camera; give fov=DEGREES that the picture is wide, such as 60")
        if palette != PALETTE and write is not _jpg and not (write is _png and colour):
            raise InputError(
                f"{path}: has no colours for palette='{palette}'; colour=True gives .png some, .jpg has them"
            )
        content = write(self, colour, palette, fov)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{path}: its folder cannot be made ({error.strerror}); choose another place") from None
        check_target(path)
        write_whole(path, content)

    def _range(self) -> tuple[float, float]:
        colours = FixedRange.of([self.depth], larger_is_nearer=self.kind == "relative")
        return colours.low, colours.high


def _camera(
    shape: tuple[int, ...], fov: float | None, intrinsics: tuple[float, float, float, float] | None
) -> PinholeCamera:
    if (fov is None) == (intrinsics is None):
        raise InputError("points need the camera: give fov, degrees that the picture is wide, or intrinsics")
    if intrinsics is not None:
        if len(intrinsics) != 4 or not min(intrinsics[:2]) > 0 or not np.isfinite(intrinsics).all():
            raise InputError(f"intrinsics are fx, fy, cx, cy in pixels, fx and fy above 0, not {intrinsics}")
        return PinholeCamera(*intrinsics)
    assert fov is not None
    if not 0 < fov < 180:
        raise InputError(f"fov is in degrees, between 0 and 180, not {fov:g}")
    return PinholeCamera.of_fov(fov, shape[1], shape[0])


def _draw(prediction: Prediction, axes: Axes | None, name: str) -> Axes:
    colours = palette(name) / 255.0
    try:
        from matplotlib import pyplot
        from matplotlib.colors import ListedColormap
    except ModuleNotFoundError:
        raise InputError("plot() needs Matplotlib: pip install matplotlib") from None
    if axes is None:
        axes = pyplot.subplots(layout="constrained")[1]
    low, high = prediction._range()
    metric = prediction.kind == "metric"
    table = ListedColormap((colours[::-1] if metric else colours).tolist()).with_extremes(bad=(NO_DEPTH / 255,) * 3)
    shown = axes.imshow(prediction.depth, cmap=table, vmin=min(low, high), vmax=max(low, high))
    axes.set_axis_off()
    axes.figure.colorbar(shown, ax=axes, shrink=0.8, label="depth, m" if metric else "relative depth, larger is nearer")
    return axes


def _png(prediction: Prediction, colour: bool, palette: str, fov: float | None) -> bytes:
    if colour:
        return pictures.picture(prediction.coloured(palette), ".png")
    finite = prediction.depth[np.isfinite(prediction.depth)]
    largest = float(finite.max()) if finite.size else 0.0
    steps = pictures.PER_METRE if prediction.kind == "metric" else pictures.DEEPEST / (largest or 1.0)
    return pictures.picture(pictures.sixteen_bits(prediction.depth, steps)[0], ".png")


def _jpg(prediction: Prediction, colour: bool, palette: str, fov: float | None) -> bytes:
    return pictures.picture(prediction.coloured(palette), ".jpg")


def _ply(prediction: Prediction, colour: bool, palette: str, fov: float | None) -> bytes:
    return ply(prediction.points(fov))


_WRITERS: dict[str, Callable[[Prediction, bool, str, float | None], Any]] = {
    ".png": _png,
    ".jpg": _jpg,
    ".jpeg": _jpg,
    ".npy": lambda prediction, *_: pictures.npy(prediction.depth),
    ".npz": lambda prediction, *_: pictures.npz(depth=prediction.depth, image=prediction.image),
    ".exr": lambda prediction, *_: pictures.exr(prediction.depth),
    ".ply": _ply,
}
