"""The command `vmdepth-masks`: a video in; masks of what moves, cameras and maps out."""
