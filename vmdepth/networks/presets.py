"""What a network is made of, and the presets with a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from vmdepth.networks import mobilenet
from vmdepth.networks.decoder import TAPS, Output
from vmdepth.networks.encoder import ENCODERS, Encoder
from vmdepth.networks.mobilenet import MobileNet
from vmdepth.networks.temporal_attention import PLACES, TemporalForm, check_form

Head = Literal["none", "mamba2", "attention"]


@dataclass(frozen=True)
class NetworkConfig:
    """encoder: a name of `ENCODERS`, or "mobilenet". features, out_channels: widths of the decoder (fused maps;
    reassembled maps, which of "mobilenet" are the encoder's own).

    output: the last activation. depth: "relative" inverse depth or "metric", metres; max_depth: metres that a sigmoid
    output reaches. head: temporal head at every one of `taps`; "none" has no states. temporal_width, head_dim,
    d_state, expand: sizes inside a Mamba head; its state is expand · temporal_width · d_state numbers per place of the
    map and block. temporal, window: form of an attention head and frames it sees when causal (see `AttentionHead`).
    Raises ValueError for a name that does not exist and a window that cannot be.
    """

    encoder: str
    features: int
    out_channels: tuple[int, int, int, int]
    output: Output = "softplus"
    depth: Literal["relative", "metric"] = "relative"
    max_depth: float = 1.0
    head: Head = "mamba2"
    taps: tuple[str, ...] = ("layer_2", "layer_3", "layer_4")
    temporal_width: int = 64
    head_dim: int = 16
    d_state: int = 16
    expand: int = 1
    temporal: TemporalForm = "causal"
    window: int = PLACES

    def __post_init__(self) -> None:
        if self.encoder not in (*ENCODERS, mobilenet.NAME):
            raise ValueError(f"encoder '{self.encoder}': there are {', '.join(ENCODERS)}, {mobilenet.NAME}")
        if self.head not in get_args(Head):
            raise ValueError(f"head '{self.head}': there are {', '.join(get_args(Head))}")
        unknown = [tap for tap in self.taps if tap not in TAPS]
        if unknown:
            raise ValueError(f"tap '{unknown[0]}': there are {', '.join(TAPS)}")
        check_form(self.temporal, self.window)

    @property
    def stride(self) -> int:
        """Heights and widths of frames are multiples of it, in pixels."""
        return MobileNet.stride if self.encoder == mobilenet.NAME else Encoder.stride

    @property
    def usual_size(self) -> tuple[int, int]:
        """Height and width to train, export and run at where nobody says another."""
        return (192, 272) if self.encoder == mobilenet.NAME else (196, 252)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> NetworkConfig:
        """The inverse of `to_dict`, also after a round trip through JSON. Raises ValueError for unknown keys."""
        unknown = set(raw) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown network setting '{sorted(unknown)[0]}'")
        lists = {key: tuple(value) for key, value in raw.items() if isinstance(value, list)}
        return cls(**{**raw, **lists})


VDA_TAPS = ("layer_3", "layer_4", "path_4", "path_3")  # of Video Depth Anything's motion modules 0..3

PRESETS = {
    "edge": NetworkConfig(mobilenet.NAME, 48, mobilenet.LAYERS, taps=("path_4", "path_3"), temporal_width=32),
    "tiny": NetworkConfig("tiny", 32, (24, 48, 96, 192), temporal_width=48),
    "small": NetworkConfig("small", 64, (48, 96, 192, 384)),
    "base": NetworkConfig("base", 128, (96, 192, 384, 768)),
    "large": NetworkConfig("large", 256, (256, 512, 1024, 1024)),
    "giant": NetworkConfig("giant", 384, (1536, 1536, 1536, 1536)),
    "vda-small-causal": NetworkConfig("small", 64, (48, 96, 192, 384), "relu", head="attention", taps=VDA_TAPS),
}
