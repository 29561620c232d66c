"""What moves by itself in a video, told by the attention of a depth network that nobody trained for it.

Queries and keys of regions that move are outliers among those of other frames. `capture` measures that while the
network looks (first pass), `methods` makes masks of it, `second_pass` looks again without what moves, `refinement`
checks masks against depth and cameras.
"""
