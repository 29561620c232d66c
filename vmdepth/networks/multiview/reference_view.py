"""Which view of a scene the others are told to refer to, chosen by the class tokens halfway up the encoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

Reference = Literal["saddle_balanced", "saddle_sim_range", "first", "middle"]


def reference_view(tokens: Tensor, strategy: Reference | int) -> Tensor:
    """tokens: class tokens [B, N, width]. Returns the index of each scene's reference view, [B] int64.

    A number is that view. With fewer than three views it is view 0 whatever the strategy. Raises ValueError for an
    unknown strategy, and for a view that is not there.
    """
    check_reference(strategy, tokens.shape[1])
    if isinstance(strategy, int):
        return torch.full((len(tokens),), strategy, device=tokens.device)
    if tokens.shape[1] < 3:
        return torch.zeros(len(tokens), dtype=torch.long, device=tokens.device)
    return _STRATEGIES[strategy](tokens)


def check_reference(strategy: str | int, views: int) -> None:
    """Raises ValueError for a strategy that does not exist, and for a view that is none of so many."""
    if isinstance(strategy, int):
        if not 0 <= strategy < views:
            raise ValueError(f"reference {strategy}: there are views 0 to {views - 1}")
    elif strategy not in get_args(Reference):
        raise ValueError(f"reference '{strategy}': there are {', '.join(get_args(Reference))}")


def _saddle_balanced(tokens: Tensor) -> Tensor:
    """The view nearest to the middle in three things: likeness to the others, length and spread of its token."""
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    likeness = _without_self(unit @ unit.transpose(1, 2)).sum(-1) / (tokens.shape[1] - 1)
    measures = torch.stack([likeness, tokens.norm(dim=-1), unit.var(dim=-1)])
    low, high = measures.amin(-1, keepdim=True), measures.amax(-1, keepdim=True)
    return ((measures - low) / (high - low + 1e-8) - 0.5).abs().sum(0).argmin(-1)


def _saddle_sim_range(tokens: Tensor) -> Tensor:
    """The view whose likeness to the others differs most. Among views that are all alike, the two nearest tie."""
    unit = tokens / tokens.norm(dim=-1, keepdim=True)
    likeness = _without_self(unit @ unit.transpose(1, 2))
    return (likeness.amax(-1) - likeness.amin(-1)).argmax(-1)


def _fixed(choose: Callable[[int], int]) -> Callable[[Tensor], Tensor]:
    return lambda tokens: torch.full((len(tokens),), choose(tokens.shape[1]), device=tokens.device)


def _without_self(likeness: Tensor) -> Tensor:
    return likeness * (1 - torch.eye(likeness.shape[-1], dtype=likeness.dtype, device=likeness.device))


_STRATEGIES: dict[str, Callable[[Tensor], Tensor]] = {
    "saddle_balanced": _saddle_balanced,
    "saddle_sim_range": _saddle_sim_range,
    "first": _fixed(lambda views: 0),
    "middle": _fixed(lambda views: views // 2),
}
