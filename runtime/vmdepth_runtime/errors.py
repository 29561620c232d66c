"""The two ways a vmdepth command ends badly, and of the first the one that an install mends."""


class InputError(Exception):
    """Bad usage or bad input (exit code 2). One line: what is wrong, with which file, what to do next."""


class MissingLibrary(InputError):
    """The work takes a library that the base install leaves out, and that is not here."""


class WorkError(Exception):
    """The input was good but the work failed or the two sides disagreed (exit code 1). One line as well."""


NO_ONNXRUNTIME = (
    "step graphs need ONNX Runtime, which is not installed: pip install 'vmdepth[cpu]', or 'vmdepth[gpu]' for an "
    "NVIDIA GPU"
)
