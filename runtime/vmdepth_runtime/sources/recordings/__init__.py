"""What robots record: MCAP files and rosbag2 folders. They are read by the libraries of the extra `robots`, which the
modules here import at their top, so that whoever imports them asks `open` first; but what reads a message, as
`images` and `cameras`, takes none: messages come from a running robot, too."""
