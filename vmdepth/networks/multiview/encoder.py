"""The encoder of Depth Anything 3: DINOv2 whose deeper blocks let the views of a scene see each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from vmdepth.networks.attention import attend, attend_in_rows
from vmdepth.networks.encoder import PATCH, SPECIAL, Block, Encoder, Observer, Part
from vmdepth.networks.leave_out import LeaveOut, key_mask
from vmdepth.networks.multiview.memory import Slices
from vmdepth.networks.multiview.reference_view import Reference, reference_view
from vmdepth.networks.multiview.rotary import GridRotation, patch_positions, shared_positions

# Sees a tap's level, the index of the first image, patches [n, h·w, 2C] and raw special tokens [n, 2C] of n images.
TapSink = Callable[[int, int, Tensor, Tensor], None]
# Tokens [n, T, width] through a block whose queries see all views: its index, the block, the tokens, their rotation.
OverViews = Callable[[int, Block, Tensor, GridRotation], Tensor]


def each_alone(index: int, block: Block, tokens: Tensor, rotation: GridRotation) -> Tensor:
    """The `OverViews` of images that are scenes of their own."""
    return block(tokens, rotation)


def each_observed(observe: Observer | None) -> OverViews:
    """The same, in sight of an observer where there is one."""
    return each_alone if observe is None else partial(_observed, observe)


def _observed(observe: Observer, index: int, block: Block, tokens: Tensor, rotation: GridRotation) -> Tensor:
    return observe.through(index, block, tokens, kind="global", rotation=rotation)


class ViewEncoder(Encoder):
    """Images of scenes → four taps of 2·width channels, all at once or handed out in slices of images.

    Blocks before `start` and even blocks see one view; odd blocks from `start` on see all tokens of all views of a
    scene, whatever the slices. Before block `start` every view's class token gives way to a camera token: the first of
    `camera_token` for the reference view, the second for all others. Officially the reference view is also moved to
    the front and back; attention over all views knows no order, so nothing moves here.
    """

    def __init__(self, name: str, taps: tuple[int, int, int, int], start: int) -> None:
        super().__init__(name, qk_norm_from=start, norm_eps=1e-5)
        self.camera_token = nn.Parameter(torch.zeros(1, 2, self.size.width))
        self.taps = taps
        self.start = start
        self._folded: tuple[GridRotation, GridRotation] | None = None  # of the only size that is left

    @property
    def global_blocks(self) -> list[int]:
        """The blocks that see all views."""
        return [index for index in range(self.start, self.size.depth) if index % 2 == 1]

    def forward(  # type: ignore[override]
        self,
        images: Tensor,
        special: Tensor | None = None,
        over_views: OverViews = each_alone,
        observe: Observer | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """Images all at once, in plain operations: what becomes a graph.

        Args:
            images: [n, 3, H, W], normalised.
            special: their camera tokens [n, width]; None is the one of a reference view for each.
            over_views: the blocks that see all views; by itself an image sees no other.
            observe: is shown the blocks that see one view; those that see all are for `over_views` to show.

        Returns:
            Four taps [n, h·w, 2·width], and the raw special tokens of the last [n, 2·width].
        """
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        own, shared = self.rotations(grid)
        tokens = self.embed(images, self.positions(grid))
        if special is None:
            special = self.camera_token[0, :1].expand(len(images), -1)
        taps = []
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if index == self.start:
                tokens = torch.cat([special[:, None], tokens[:, SPECIAL:]], dim=1)
            before = tokens
            rotation = None if index < self.start else own
            if index in self.global_blocks:
                tokens = over_views(index, block, tokens, shared)
            elif observe is not None:
                tokens = observe.through(index, block, tokens, rotation=rotation)
            else:
                tokens = self.through(block, tokens, rotation)
            if index in self.taps:
                taps.append(self.tap(before, tokens))
        return [patches for patches, _ in taps], taps[-1][1]

    def in_slices(
        self,
        images: Tensor,
        views: int,
        sink: TapSink,
        slices: Slices,
        special: Tensor | None = None,
        reference: Reference | int = "saddle_balanced",
        prepare: Callable[[Tensor], Tensor] = lambda images: images,
        observe: Observer | None = None,
        leave_out: LeaveOut | None = None,
    ) -> None:
        """Scenes of so many views, each slice of a tap handed out as it is made.

        images: [B·views, 3, H, W]; prepare: makes normalised images of a slice of them. sink: called with each slice of
        each tap. special: the camera tokens of given cameras [B·views, width]; with them there is no reference view.
        observe: is shown every block. leave_out: of what keys and values are left out; the keys are observed all the
        same.
        """
        grid = (images.shape[-2] // PATCH, images.shape[-1] // PATCH)
        own, shared = self.rotations(grid)
        tokens = self._embed_all(images, grid, slices.encoder, prepare)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            if index == self.start - 1 and special is None:
                special = self._camera_tokens(tokens[:, 0].unflatten(0, (-1, views)), reference)
            if index == self.start:
                assert special is not None
                tokens[:, 0] = special
            kept = leave_out.kept_in(index) if leave_out is not None else None
            if index >= self.start and index % 2 == 1:
                tap = self._into(self.taps.index(index), sink) if index in self.taps else None
                tokens = _through_all_views(index, block, tokens, views, slices, shared, tap, observe, kept)
            else:
                rotation = own if index >= self.start else None
                tokens = _through_each_view(index, block, tokens, slices, rotation, observe, kept)

    def rotations(self, grid: tuple[int, int]) -> tuple[GridRotation, GridRotation]:
        """For blocks that see one view, by where a patch is in it; and for those that see all."""
        if self._folded is not None:
            return self._folded
        head_dim = self.size.width // self.size.heads
        own, shared = (
            GridRotation(places(*grid), head_dim, self.pos_embed) for places in (patch_positions, shared_positions)
        )
        return own, shared

    def tap(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [n, T, width] before and after a block → patches [n, h·w, 2·width], of which the second half is
        normalised, and raw special tokens [n, 2·width]."""
        patches = torch.cat([before[:, SPECIAL:], self.norm(after[:, SPECIAL:])], dim=-1)
        return patches, torch.cat([before[:, 0], after[:, 0]], dim=-1)

    def describe(self, maps: list[Tensor]) -> Tensor:
        """What a picture shows on the whole [n, width]: the mean of its last tap's normalised half."""
        return maps[-1][..., self.size.width :].mean(dim=1)

    @torch.no_grad()
    def fold(self, height: int, width: int) -> None:
        """As of any encoder, and the tables of its rotations."""
        super().fold(height, width)
        self._folded = self.rotations(self.table_grid)

    def _embed_all(
        self, images: Tensor, grid: tuple[int, int], count: int, prepare: Callable[[Tensor], Tensor]
    ) -> Tensor:
        positions = self.positions(grid)
        tokens = positions.new_empty((len(images), *positions.shape[1:]))
        for first, part in _parts(images, count):
            tokens[first : first + count] = self.embed(prepare(part), positions)
        return tokens

    def _camera_tokens(self, class_tokens: Tensor, reference: Reference | int) -> Tensor:
        """class_tokens: [B, N, width]. Returns the learnt camera tokens [B·N, width]."""
        batch, views, _ = class_tokens.shape
        which = torch.ones(batch, views, dtype=torch.long, device=class_tokens.device)
        which[torch.arange(batch), reference_view(class_tokens, reference)] = 0
        return self.camera_token[0, which.flatten()]

    def _into(self, level: int, sink: TapSink) -> Callable[[int, Tensor, Tensor], None]:
        def tap(first: int, before: Tensor, after: Tensor) -> None:
            sink(level, first, *self.tap(before, after))

        return tap


def _through_each_view(
    index: int,
    block: Block,
    tokens: Tensor,
    slices: Slices,
    rotation: GridRotation | None,
    observe: Observer | None,
    kept: Tensor | None,
) -> Tensor:
    """kept: bool [B·views, T], what queries find; None is all. Images keep different numbers, so it is a mask here."""
    out = _output_like(tokens)
    for first, part in _parts(tokens, slices.encoder):
        here = slice(first, first + slices.encoder)
        meet = attend if kept is None else partial(attend, mask=key_mask(kept[here], part.dtype))
        if observe is None:
            out[here] = block(part, rotation, meet=meet)
        else:
            out[here] = observe.through(index, block, part, first, rotation=rotation, meet=meet)
    return out


def _through_all_views(
    index: int,
    block: Block,
    tokens: Tensor,
    views: int,
    slices: Slices,
    rotation: GridRotation,
    tap: Callable[[int, Tensor, Tensor], None] | None,
    observe: Observer | None,
    kept: Tensor | None,
) -> Tensor:
    """tokens: [B·views, T, width]. Slices bound the queries only: each meets the keys of every view of its scene.

    tap: sees the index of a slice's first image, its tokens before the block and after it. observe: is shown all keys
    of a scene, and then its queries. kept: bool [B·views, T], what queries find; None is all.
    """

    def show(part: Part, start: int, first: int, values: Tensor) -> None:
        if observe is not None:
            observe.show(index, part, start + first, values, "global")

    out = _output_like(tokens)
    for start in range(0, len(tokens), views):
        scene = tokens[start : start + views]
        findable = None if kept is None else kept[start : start + views]
        keys, values = _keys_and_values(block, scene, slices.encoder, rotation, partial(show, "key", start), findable)
        for first, part in _parts(scene, slices.encoder):
            show("input", start, first, part)
            query = block.attn.queries(block.norm1(part), rotation)
            show("query", start, first, query)
            found = attend_in_rows(_views_joined(query), keys, values, slices.rows)
            after = block.feed_forward(part + block.ls1(block.attn.join(found).view(part.shape)))
            if tap is not None:
                tap(start + first, part, after)
            show("output", start, first, after)
            out[start + first : start + first + len(part)] = after
    return out


def _keys_and_values(
    block: Block,
    scene: Tensor,
    count: int,
    rotation: GridRotation,
    show: Callable[[int, Tensor], None],
    kept: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Of the tokens of a scene [views, T, width] that are kept (bool [views, T]; None is all): [1, heads, all, d] each.

    The others are removed and not masked: it is the same, and costs less the more there are. show: called with all keys
    of every slice [n, heads, T, d] and the place of its first view.
    """
    views, tokens, width = scene.shape
    total = views * tokens if kept is None else int(kept.sum())
    shape = (1, block.attn.heads, total, width // block.attn.heads)
    keys, values = scene.new_empty(shape), scene.new_empty(shape)
    filled = 0
    for first, part in _parts(scene, count):
        key, value = block.attn.keys_and_values(block.norm1(part), rotation)
        show(first, key)
        key, value = _views_joined(key), _views_joined(value)
        if kept is not None:
            here = kept[first : first + len(part)].flatten()
            key, value = key[:, :, here], value[:, :, here]
        place = slice(filled, filled + key.shape[2])
        keys[:, :, place], values[:, :, place] = key, value
        filled = place.stop
    return keys, values


def _views_joined(heads: Tensor) -> Tensor:
    """[views, heads, T, d] → [1, heads, views · T, d]."""
    return heads.transpose(0, 1).flatten(1, 2)[None]


def _parts(x: Tensor, count: int) -> Iterator[tuple[int, Tensor]]:
    """Slices of at most `count` along the first axis, each with the index of its first element."""
    for first in range(0, len(x), count):
        yield first, x[first : first + count]


def _output_like(tokens: Tensor) -> Tensor:
    """Where a block's result goes: in place of its input, unless gradients will need the input."""
    return torch.empty_like(tokens) if torch.is_grad_enabled() else tokens
