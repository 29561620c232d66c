"""The two ways a vmdepth command ends badly; what an install mends; and what errors of libraries say."""


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


def told_by(error: Exception, longest: int = 300) -> str:
    """What an error of a library says, in one line of so many characters at most; its kind where it says nothing."""
    return " ".join(str(error).split())[:longest] or type(error).__name__
