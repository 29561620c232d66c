"""vmdepth as a node of ROS 2. Nothing here imports ROS before it has to be there."""
