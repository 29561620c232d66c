"""What a network is made of, and the presets with a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from vmdepth.networks import mobilenet
from vmdepth.networks.decoder import TAPS, Output
from vmdepth.networks.encoder_kinds import ENCODER_KINDS, EncoderKind
from vmdepth.networks.heads.attention_head import AttentionSettings
from vmdepth.networks.heads.base import HeadSettings
from vmdepth.networks.heads.kinds import head_from_dict, setting_types
from vmdepth.networks.heads.mamba_head import MambaSettings
from vmdepth.networks.motion.motion_head import MotionSettings


@dataclass(frozen=True)
class NetworkConfig:
    """encoder: a name of `ENCODER_KINDS`. features, out_channels: widths of the decoder (fused maps;
    reassembled maps, which of "mobilenet" are the encoder's own).

    output: the last activation. depth: "relative" inverse depth or "metric", metres; max_depth: metres that a sigmoid
    output reaches. head: temporal head at every one of `taps`; `NoHead` has no states. motion: the head that tells what
    moves by itself; None: there is none. Raises ValueError for a name that does not exist and for a head that does not
    fit the taps.
    """

    encoder: str
    features: int
    out_channels: tuple[int, int, int, int]
    output: Output = "softplus"
    depth: Literal["relative", "metric"] = "relative"
    max_depth: float = 1.0
    head: HeadSettings = field(default_factory=MambaSettings)
    taps: tuple[str, ...] = ("layer_2", "layer_3", "layer_4")
    motion: MotionSettings | None = None

    def __post_init__(self) -> None:
        if self.encoder not in ENCODER_KINDS:
            raise ValueError(f"encoder '{self.encoder}': there are {', '.join(ENCODER_KINDS)}")
        unknown = [tap for tap in self.taps if tap not in TAPS]
        if unknown:
            raise ValueError(f"tap '{unknown[0]}': there are {', '.join(TAPS)}")
        self.head.check_taps(self.taps)

    @property
    def encoder_kind(self) -> EncoderKind:
        """What the encoder needs of frames, and which decoder goes with it."""
        return ENCODER_KINDS[self.encoder]

    @property
    def stride(self) -> int:
        """Heights and widths of frames are multiples of it, in pixels."""
        return self.encoder_kind.stride

    @property
    def usual_size(self) -> tuple[int, int]:
        """Height and width to train, export and run at where nobody says another."""
        return self.encoder_kind.usual_size

    @property
    def recurrent(self) -> bool:
        """Whether a watch is told of states while it goes over a clip."""
        return self.head.recurrent

    @property
    def random_starts(self) -> int:
        """As of its heads."""
        return self.head.random_starts

    @property
    def longest_clip(self) -> int | None:
        """Frames that a clip may have; None: any number."""
        return self.head.longest_clip

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the settings of the head stand beside the others, under `head` the name of its kind."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("head", "motion")}
        motion = {} if self.motion is None else {"motion": asdict(self.motion)}
        return {**own, "head": self.head.kind, **asdict(self.head), **motion}

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> NetworkConfig:
        """The inverse of `to_dict`, also after a round trip through JSON.

        Raises ValueError for unknown keys, an unknown head and values that cannot be, KeyError where one is missing.
        """
        own = {f.name for f in fields(cls)}
        unknown = raw.keys() - own - setting_types().keys()
        if unknown:
            raise ValueError(f"unknown network setting '{min(unknown)}'")
        values: dict[str, Any] = {key: raw[key] for key in own & raw.keys()}
        values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
        values["head"] = head_from_dict(raw)
        if raw.get("motion") is not None:
            odd = raw["motion"].keys() ^ {f.name for f in fields(MotionSettings)}
            if odd:
                raise ValueError(f"missing or unknown setting of the motion head '{min(odd)}'")
            values["motion"] = MotionSettings(**raw["motion"])
        return cls(**values)


VDA_TAPS = ("layer_3", "layer_4", "path_4", "path_3")  # of Video Depth Anything's motion modules 0..3

_SIZES = {
    "edge": NetworkConfig(
        mobilenet.NAME, 48, mobilenet.LAYERS, head=MambaSettings(temporal_width=32), taps=("path_4", "path_3")
    ),
    "tiny": NetworkConfig("tiny", 32, (24, 48, 96, 192), head=MambaSettings(temporal_width=48)),
    "small": NetworkConfig("small", 64, (48, 96, 192, 384)),
    "base": NetworkConfig("base", 128, (96, 192, 384, 768)),
    "large": NetworkConfig("large", 256, (256, 512, 1024, 1024)),
    "giant": NetworkConfig("giant", 384, (1536, 1536, 1536, 1536)),
}
PRESETS = _SIZES | {
    f"vda-{size}-causal": replace(_SIZES[size], output="relu", head=AttentionSettings("causal"), taps=VDA_TAPS)
    for size in ("small", "base", "large")
}
