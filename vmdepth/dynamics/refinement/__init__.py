"""Masks of what moves, checked against depth and cameras: what stands still looks the same from everywhere.

`refine.refine` is the whole of it; `outliers`, `clusters`, `residual`, `gradient` and `morphology` are its stages.
"""
