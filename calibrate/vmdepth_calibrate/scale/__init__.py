"""Metres of a step graph whose depth has none: scale and shift from measured depth, baked into the graph."""
