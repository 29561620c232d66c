"""Several views of one place become depth, cameras and a cloud of points: `vmdepth-views`."""
