"""What marks do to tests, and what they leave alone."""

from pathlib import Path

import pytest

MARKS = ["gpu", "no_gpu", "slow", "tensorrt", "tensorrt_rtx"]


@pytest.fixture
def collected(request):
    """Gives the marks that a test gets for its own, and for other keywords."""
    conftest = request.config.pluginmanager.get_plugin(str(Path(__file__).with_name("conftest.py")))

    def collect(marks=(), keywords=()):
        item = pytest.Function.from_parent(request.node.parent, name="test_it", callobj=lambda: None)
        item.keywords.update(dict.fromkeys(keywords, True))
        for mark in marks:
            item.add_marker(mark)
        conftest.pytest_collection_modifyitems(request.config, [item])
        return {mark.name for mark in item.iter_markers()} - set(marks)

    return collect


@pytest.mark.parametrize("name", MARKS, ids="named {}".format)
def test_a_parameter_that_is_called_like_a_mark_skips_nothing(collected, name):
    assert collected(keywords=[name]) == set()  # as the id of a parameter is


def test_a_mark_does(collected):
    assert "timeout" in collected(marks=["slow"])
