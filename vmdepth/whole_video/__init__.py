"""Depth of a whole video by networks that see the future, too, in windows where it is long."""
