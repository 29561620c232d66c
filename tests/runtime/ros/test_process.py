"""The command as a process: without ROS, and how it ends."""

import signal
import subprocess
import sys
from pathlib import Path

STAND_INS = Path(__file__).parents[2] / "stand_ins" / "ros"
RUN = "import sys; sys.argv = ['vmdepth-ros', *sys.argv[1:]]; from vmdepth_runtime.ros.cli import main; main()"


def test_without_ros_there_is_one_line():
    code = "import sys; sys.modules['rclpy'] = None; " + RUN
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    line = "rclpy of ROS 2 is not here, and pip does not have it; run 'source /opt/ros/<distribution>/setup.bash' in "
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"vmdepth-ros: {line}this shell first\n")


def test_ros_for_another_python_is_one_line(tmp_path):
    (tmp_path / "rclpy.py").write_text("import rclpy_compiled_for_another\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); " + RUN
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("vmdepth-ros: ROS 2 does not load in this Python (No module named 'rclpy_compiled")
    assert len(done.stderr.splitlines()) == 1


def test_ctrl_c_is_how_a_node_ends(luma_model):
    """And recordings' libraries are not asked for: a robot need not have them."""
    code = (
        f"""
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(STAND_INS)!r})
from vmdepth_runtime.ros import depth_node
assert not {{"rosbags", "mcap"}} & set(sys.modules)
run = depth_node.DepthNode.run
def interrupted(self):
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    run(self)
depth_node.DepthNode.run = interrupted
"""
        + RUN
    )
    words = [sys.executable, "-c", code, "--model", str(luma_model)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "vmdepth-ros: 0 pictures of /image\n"), signal.SIGINT
