"""The package that `colcon build` finds: what its files say agrees with the command and with pip's package."""

import ast
import os
import re
from importlib.metadata import metadata
from pathlib import Path
from xml.etree import ElementTree

import yaml

from vmdepth_runtime.ros.arguments import parameters_of
from vmdepth_runtime.ros.cli import command

PACKAGE = Path(__file__).parents[3] / "deploy" / "ros" / "vmdepth_ros"


def setup_arguments():
    """What setup.py gives to setuptools, which it is not asked to do here."""
    tree = ast.parse((PACKAGE / "setup.py").read_text())
    name = next(node.value.value for node in tree.body if isinstance(node, ast.Assign))
    call = next(node.value for node in tree.body if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
    return {
        word.arg: eval(compile(ast.Expression(word.value), "setup", "eval"), {"NAME": name}) for word in call.keywords
    }


def test_the_manifest_is_as_rep_149_wants_it():
    root = ElementTree.parse(PACKAGE / "package.xml").getroot()
    assert (root.tag, root.get("format")) == ("package", "3")
    once = [root.findall(tag) for tag in ("name", "version", "description")]
    assert [len(found) for found in once] == [1, 1, 1]
    (name,), (version,), (description,) = once
    assert re.fullmatch(r"[a-z](_?[a-z0-9])+", name.text)
    assert (name.text, version.text) == (PACKAGE.name, metadata("vmdepth")["Version"])
    assert description.text.strip()
    assert all(re.fullmatch(r"\S+@\S+\.\S+", one.get("email")) for one in root.findall("maintainer"))
    (licence,) = root.findall("license")
    assert licence.text == metadata("vmdepth")["License-Expression"]
    assert (PACKAGE / licence.get("file")).exists()
    assert [one.text for one in root.find("export").findall("build_type")] == ["ament_python"]
    known = {"name", "version", "description", "maintainer", "license", "exec_depend", "export"}
    assert {child.tag for child in root} == known


def test_all_that_ros_needs_is_installed():
    arguments = setup_arguments()
    root = ElementTree.parse(PACKAGE / "package.xml").getroot()
    assert (arguments["name"], arguments["version"]) == (root.find("name").text, root.find("version").text)
    files = {place: [PACKAGE / name for name in names] for place, names in arguments["data_files"]}
    assert all(file.is_file() for names in files.values() for file in names)
    assert files["share/ament_index/resource_index/packages"] == [PACKAGE / "resource" / PACKAGE.name]
    assert files["share/vmdepth_ros"] == [PACKAGE / "package.xml"]
    (executable,) = files["lib/vmdepth_ros"]
    assert os.access(executable, os.X_OK)
    assert f'exec {executable.name} "$@"' in executable.read_text()
    assert executable.name == command.name


def test_launch_file_and_parameters_are_the_command_s():
    options = parameters_of(command)
    launch = ElementTree.parse(PACKAGE / "launch" / "vmdepth.launch.xml").getroot()
    (node,) = launch.findall("node")
    assert (node.get("pkg"), node.get("exec"), node.get("name")) == (PACKAGE.name, command.name, "vmdepth")
    named = {param.get("name") for param in node.findall("param")} - {None}
    arguments = {arg.get("name") for arg in launch.findall("arg")}
    assert named <= set(options)
    values = [param.get("value") or param.get("from") for param in node.findall("param")]
    assert {re.fullmatch(r"\$\(var (\w+)\)", value)[1] for value in values} == arguments
    told = yaml.safe_load((PACKAGE / "config" / "vmdepth.yaml").read_text())["/**"]["ros__parameters"]
    defaults = {name: command.context_settings["default_map"].get(option.name) for name, option in options.items()}
    assert told == {name: defaults[name] for name in told}
