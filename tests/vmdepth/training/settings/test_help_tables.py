"""`--help` tells all there is to set: from the dataclasses, nothing said twice."""

from dataclasses import fields

import pytest
from click.testing import CliRunner

from vmdepth.networks.heads.kinds import KINDS
from vmdepth.networks.presets import PRESETS
from vmdepth.train import command
from vmdepth.training.settings.help_tables import field_texts, help_tables
from vmdepth.training.settings.parsing import parse_settings
from vmdepth.training.settings.presets import START_PRESETS
from vmdepth.training.settings.train_settings import TrainSettings


def test_every_setting_is_shown_with_its_default_and_its_meaning():
    rows = dict(row for _, table in help_tables() for row in table)
    assert rows["steps=20000"].startswith("How many there are")
    assert {"augment=true", "size=", "d_state=16", "temporal=causal", "blocks="} <= rows.keys()
    for kind in (TrainSettings, *KINDS.values()):
        assert field_texts(kind).keys() == {field.name for field in fields(kind)}
    assert all(rows.values())


def test_the_command_s_help_has_them_all():
    shown = CliRunner().invoke(command, ["--help"]).output
    for _, table in help_tables():
        for left, _ in table:
            assert f"\n  {left} " in shown


@pytest.mark.parametrize("name", START_PRESETS)
def test_presets_are_settings_that_can_be(name):
    settings = parse_settings(name, [])
    assert settings == TrainSettings(**START_PRESETS[name].values)


def test_every_network_is_a_preset_with_nothing_else_changed():
    for name in PRESETS:
        assert parse_settings(name, []) == TrainSettings(preset=name)
