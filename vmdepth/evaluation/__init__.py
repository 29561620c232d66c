"""What `vmdepth-eval` measures: how right a model's depth is, how steady, and whether its states stay within bounds."""
