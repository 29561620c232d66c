"""Cameras of this machine: what one is asked for by its address, and what Video4Linux says that it offers."""
