"""Depth as bytes of files: what outputs of a run and a single prediction write alike."""
