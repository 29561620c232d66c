"""One kind of output per module: its class, which says of itself all that others have to know.

`sinks.open` finds the modules by being here; names, error texts and `--help` follow from the classes' attributes.
"""
