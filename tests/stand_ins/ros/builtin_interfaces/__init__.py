"""A package of messages of ROS 2."""
