"""The strategies choose the views they are said to choose."""

import pytest
import torch

from vmdepth.networks.multiview.reference_view import reference_view


def scenes(batch=6, views=5, width=16):
    return torch.randn(batch, views, width, generator=torch.Generator().manual_seed(0))


def saddle_balanced(tokens):
    """The definition, word by word, for one scene [N, width]."""
    views = len(tokens)
    unit = [t / t.norm() for t in tokens]
    likeness = [sum(float(unit[i] @ unit[j]) for j in range(views) if j != i) / (views - 1) for i in range(views)]
    measures = [likeness, [float(t.norm()) for t in tokens], [float(u.var()) for u in unit]]
    distance = [0.0] * views
    for values in measures:
        low, high = min(values), max(values)
        for index, value in enumerate(values):
            distance[index] += abs((value - low) / (high - low + 1e-8) - 0.5)
    return min(range(views), key=distance.__getitem__)


def saddle_sim_range(tokens):
    views = len(tokens)
    unit = [t / t.norm() for t in tokens]
    rows = [[float(unit[i] @ unit[j]) if i != j else 0.0 for j in range(views)] for i in range(views)]
    return max(range(views), key=lambda i: max(rows[i]) - min(rows[i]))


@pytest.mark.parametrize(("strategy", "by_words"), [(f.__name__, f) for f in (saddle_balanced, saddle_sim_range)])
def test_each_scene_has_the_view_of_the_definition(strategy, by_words):
    tokens = scenes()
    chosen = reference_view(tokens, strategy)
    assert chosen.tolist() == [by_words(scene) for scene in tokens]
    assert len(set(chosen.tolist())) > 1


def test_fixed_places():
    assert reference_view(scenes(2, 5), "first").tolist() == [0, 0]
    assert reference_view(scenes(2, 5), "middle").tolist() == [2, 2]
    assert reference_view(scenes(2, 4), "middle").tolist() == [2, 2]


@pytest.mark.parametrize("strategy", ["saddle_balanced", "saddle_sim_range", "first", "middle"])
def test_two_views_need_no_choice(strategy):
    assert reference_view(scenes(3, 2), strategy).tolist() == [0, 0, 0]


def test_a_number_is_the_view_itself():
    assert reference_view(scenes(3, 5), 3).tolist() == [3, 3, 3]
    assert reference_view(scenes(3, 2), 1).tolist() == [1, 1, 1]
    for view in (-1, 5):
        with pytest.raises(ValueError, match=f"reference {view}: there are views 0 to 4"):
            reference_view(scenes(3, 5), view)


def test_unknown_strategies_are_refused():
    with pytest.raises(ValueError, match="reference 'last': there are saddle_balanced"):
        reference_view(scenes(), "last")
