"""What the networks of Depth Anything 3 are made of, and the published sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from vmdepth.networks.encoder import ENCODERS, PATCH

WINDOW = 8  # frames that a causal network of views sees, where nobody says another


@dataclass(frozen=True)
class AnyViewConfig:
    """encoder: a name of `ENCODERS`. features, out_channels: widths of the decoder (fused maps; projected taps).

    taps: the four blocks whose output the decoder reads; each sees all views, so it is odd and not before `start`.
    start: the first block with rotary positions and normalised queries and keys. camera_encoder, camera_decoder:
    whether the network can be given cameras, and whether it tells them. Raises ValueError where this does not fit.
    """

    encoder: str
    features: int
    out_channels: tuple[int, int, int, int]
    taps: tuple[int, int, int, int]
    start: int
    camera_encoder: bool = True
    camera_decoder: bool = True

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"encoder '{self.encoder}': there are {', '.join(ENCODERS)}")
        depth = ENCODERS[self.encoder].depth
        wrong = [tap for tap in self.taps if tap % 2 == 0 or not self.start <= tap < depth]
        if wrong:
            raise ValueError(
                f"tap {wrong[0]} does not see all views: it has to be odd, from {self.start} to {depth - 1}"
            )


@dataclass(frozen=True)
class CausalViewsConfig(AnyViewConfig):
    """An any-view network over a video. window: frames that a frame sees besides the first one, itself among them.

    Raises ValueError for a window of less than two frames, too.
    """

    camera_encoder: bool = False
    window: int = WINDOW

    kind: ClassVar = "causal views"  # its name in checkpoints
    stride: ClassVar = PATCH
    usual_size: ClassVar = (252, 336)
    recurrent: ClassVar = False  # these three are what training asks of any network of videos
    random_starts: ClassVar = 1
    longest_clip: ClassVar = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 2:
            raise ValueError(f"window {self.window}: is 2 frames or more, of which the frame itself is one")

    @classmethod
    def of(cls, views: AnyViewConfig, window: int) -> CausalViewsConfig:
        """Of a network of views, over a video."""
        return cls(**{**_values(views), "camera_encoder": False, "window": window})

    @property
    def views(self) -> AnyViewConfig:
        """Of the same network, all of whose views see each other."""
        return AnyViewConfig(**_values(self))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> CausalViewsConfig:
        """The inverse of `to_dict`, also after a round trip through JSON.

        Raises ValueError for values that cannot be, TypeError for unknown keys and where one is missing.
        """
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
        values.pop("kind")
        return cls(**values)


def _values(config: AnyViewConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(AnyViewConfig)}


@dataclass(frozen=True)
class MonoConfig:
    """The network for single images, with sky. metric: its depth times focal length / 300 is in metres."""

    encoder: str = "large"
    features: int = 256
    out_channels: tuple[int, int, int, int] = (256, 512, 1024, 1024)
    metric: bool = False


@dataclass(frozen=True)
class NestedConfig:
    """An any-view network and the metric one that gives it its scale."""

    views: AnyViewConfig
    metric: MonoConfig


VIEW_PRESETS = {
    "small": AnyViewConfig("small", 64, (48, 96, 192, 384), (5, 7, 9, 11), 4),
    "base": AnyViewConfig("base", 128, (96, 192, 384, 768), (5, 7, 9, 11), 4),
    "large": AnyViewConfig("large", 256, (256, 512, 1024, 1024), (11, 15, 19, 23), 8),
    "giant": AnyViewConfig("giant", 256, (256, 512, 1024, 1024), (19, 27, 33, 39), 13),
}
CAUSAL_VIEW_PRESETS = {"da3-small-causal": CausalViewsConfig.of(VIEW_PRESETS["small"], WINDOW)}
MONO = MonoConfig()
METRIC = MonoConfig(metric=True)
NESTED = NestedConfig(VIEW_PRESETS["giant"], METRIC)
