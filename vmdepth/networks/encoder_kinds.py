"""Every kind of encoder, with the decoder that reads its kind of maps: a further one is a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from vmdepth.networks import mobilenet
from vmdepth.networks.decoder import Decoder, Output
from vmdepth.networks.edge_decoder import EdgeDecoder
from vmdepth.networks.encoder import ENCODERS, Encoder
from vmdepth.networks.mobilenet import MobileNet
from vmdepth.networks.multiview.presets import MONO
from vmdepth.networks.one_view_encoder import MONO_NAME, VIEWS, OneViewDecoder, OneViewEncoder

AnyEncoder: TypeAlias = Encoder | MobileNet
AnyDecoder: TypeAlias = Decoder | EdgeDecoder
Widths: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class EncoderKind:
    """stride: heights and widths of frames are multiples of it, pixels. usual_size: height and width where nobody says
    another. build: makes an encoder and its decoder from the encoder's name, the decoder's widths (fused maps;
    reassembled maps) and the last activation."""

    stride: int
    usual_size: tuple[int, int]
    build: Callable[[str, int, Widths, Output], tuple[AnyEncoder, AnyDecoder]]


def _transformer(name: str, features: int, out_channels: Widths, output: Output) -> tuple[Encoder, Decoder]:
    encoder = Encoder(name)
    return encoder, Decoder(encoder.size.width, encoder.stride, features, out_channels, output)


def _one_view(name: str, features: int, out_channels: Widths, output: Output) -> tuple[OneViewEncoder, Decoder]:
    encoder = OneViewEncoder(VIEWS[name])
    return encoder, OneViewDecoder(2 * encoder.size.width, encoder.stride, features, out_channels, output)


def _mono(name: str, features: int, out_channels: Widths, output: Output) -> tuple[Encoder, Decoder]:
    encoder = Encoder(MONO.encoder, norm_eps=1e-5)
    return encoder, Decoder(encoder.size.width, encoder.stride, features, out_channels, output)


def _mobilenet(name: str, features: int, out_channels: Widths, output: Output) -> tuple[MobileNet, EdgeDecoder]:
    return MobileNet(), EdgeDecoder(features, output)  # its maps have widths of their own


ENCODER_KINDS = {
    **dict.fromkeys(ENCODERS, EncoderKind(Encoder.stride, Encoder.usual_size, _transformer)),
    **dict.fromkeys(VIEWS, EncoderKind(Encoder.stride, Encoder.usual_size, _one_view)),
    MONO_NAME: EncoderKind(Encoder.stride, Encoder.usual_size, _mono),
    mobilenet.NAME: EncoderKind(MobileNet.stride, MobileNet.usual_size, _mobilenet),
}
"""By the names that `NetworkConfig.encoder` may have."""
