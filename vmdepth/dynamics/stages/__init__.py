"""Stages between maps and masks, each a function of arrays: clusters, thresholds, what follows the edges of things."""
