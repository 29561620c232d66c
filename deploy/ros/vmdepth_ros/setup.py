"""The package for colcon: what ROS has to know of a node that is installed by pip."""

from setuptools import setup

NAME = "vmdepth_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/vmdepth.launch.xml"]),
        (f"share/{NAME}/config", ["config/vmdepth.yaml"]),
        (f"lib/{NAME}", ["bin/vmdepth-ros"]),
    ],
)
