"""Footage that is not plain: high dynamic range, fields instead of frames, pixels that are not square."""
