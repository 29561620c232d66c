"""Options of the command as parameters of the node."""

import pytest

from vmdepth_runtime.cli import run_command
from vmdepth_runtime.ros.arguments import parameters_of, split_arguments, with_parameters
from vmdepth_runtime.ros.cli import command
from vmdepth_runtime.ros.node import open_node


def test_what_is_for_ros_ends_with_two_dashes():
    words = ["--fov", "60", "--ros-args", "-r", "image:=/a", "--", "--queue", "2", "--ros-args", "-p", "fov:=70.0"]
    own, ros = split_arguments(words)
    assert own == ["--fov", "60", "--queue", "2"]
    assert ros == ["--ros-args", "-r", "image:=/a", "--", "--ros-args", "-p", "fov:=70.0"]


def values(words):
    """The options of a command that was started so, and the node."""
    context = command.make_context("vmdepth-ros", list(words))
    with open_node(context.obj) as node:
        return with_parameters(node, context), node


def test_a_parameter_is_the_option_of_its_name(rclpy):
    given = ["max_range:=8", "keyframes:=false", "depth_encoding:=16UC1", "intrinsics:=[40.0, 40.0, 20.5, 13.5]",
             "keyframe_capacity:=3", "keyframe_drift:=0.5", "rectify:=true"]  # fmt: skip
    words = [word for one in given for word in ("-p", one)]
    options, node = values(["--max-gap", "1", "--max-range", "3", "--ros-args", *words, "-p", "model:="])
    wanted = {"max_gap": 1.0, "max_range": 8.0, "anchored": False, "depth_encoding": "16UC1", "queue": 5}
    assert wanted.items() <= options.items()
    assert (options["keyframe_capacity"], options["keyframe_drift"], options["rectify"]) == (3, 0.5, True)
    assert options["intrinsics"] == "40.0,40.0,20.5,13.5"
    assert options["model"] is command.context_settings["default_map"]["model"]  # an empty text is none
    assert node.get_parameter("max_range").value == 8.0
    assert node.get_parameter("fov").value is None
    about = node.describe_parameter("max_gap")
    assert about.read_only
    assert about.description.startswith("Between two pictures' stamps, after which the stream starts anew")
    assert {name for name in options if name not in ("anchored",)} <= set(node.get_parameters_by_prefix(""))


def test_parameters_of_ros_and_of_others_are_left_alone(rclpy):
    options, node = values(["--ros-args", "-p", "use_sim_time:=true", "-p", "frame_rate:=30"])
    assert not {"use_sim_time", "frame_rate"} & set(options)
    assert node.get_parameter("use_sim_time").value is True


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("max_rnage:=3.0", "parameter max_rnage: there is none; did you mean max_range?"),
        ("fov:=200.0", "Invalid value for '--fov': 200.0 is not in the range 1<=x<=179."),
        ("queue:=2.5", "Invalid value for '--queue': '2.5' is not a valid integer range."),
        ("reliability:=sure", "Invalid value for '--reliability': 'sure' is not one of 'best_effort', 'reliable'."),
        ("input_size:=big", "--input-size big: should be HxW, for example 192x272"),
        ("depth_encoding:=16UC1", "--depth-encoding 16UC1: is millimetres, and the model gives relative inverse depth"),
        ("metres:=[2.0, 0.1]", "--sky: puts what is very far at --max-range, which has to be given where depth has a "),
        ("model:=nothere.onnx", "nothere.onnx: "),
        ("image:=a camera", "a camera: cannot be the name of a topic (Failed to resolve name 'a camera': Topic name "),
        ("keyframe_drift:=11.0", "--keyframe-drift 11.0: should be between 0 and 10"),
        ("fov=60", "ROS does not take its arguments: Couldn't parse -p: '-p fov=60'. Error: no :="),
    ],
)
def test_what_cannot_be_meant_is_one_line(rclpy, luma_model, capsys, word, line):
    with pytest.raises(SystemExit) as end:
        run_command(command, ["--model", str(luma_model), "--sky", "--ros-args", "-p", word])
    (told,) = capsys.readouterr().err.splitlines()
    assert end.value.code == 2
    assert told.startswith(f"vmdepth-ros: {line}")
    assert not rclpy.ok()


def test_sky_needs_a_range_where_depth_is_in_metres(rclpy, luma_model, capsys):
    with pytest.raises(SystemExit) as end:
        run_command(command, ["--model", str(luma_model), "--sky", "--metres", "1,0.1"])
    assert end.value.code == 2
    assert "--sky: puts what is very far at --max-range, which has to be given" in capsys.readouterr().err


def test_every_parameter_is_unlike_those_of_ros_itself():
    """Which would be taken for a misspelt one."""
    from difflib import get_close_matches

    for name in ("use_sim_time", "start_type_description_service", "qos_overrides./image.subscription.depth"):
        assert get_close_matches(name, parameters_of(command), cutoff=0.8) == []


def test_options_of_clouds_and_key_frames_are_those_of_a_run():
    from vmdepth_runtime.pipeline.cli import command as run

    mine, other = parameters_of(command), parameters_of(run)
    shared = [name for name in other if name.startswith(("keyframe", "max_points", "max_range", "max_jump", "sky"))]
    assert len(shared) == 13
    told = [
        [options[name].get_help_record(one.make_context(one.name, ["x"] if one is run else [])) for name in shared]
        for one, options in ((command, mine), (run, other))
    ]
    assert told[0] == told[1]
    assert {"align_to", "cuts"} & set(mine) == set()
