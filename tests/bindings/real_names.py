"""What the real bindings offer: names and signatures of TensorRT 10 and 11, TensorRT-RTX, cuda-bindings and libcuda.

    python tests/bindings/real_names.py     # takes the wheels of `WHEELS` from PyPI, writes names.json anew

NVIDIA's bindings want libraries of gigabytes when they are imported, but ask them nothing: an empty one that has the
symbols will do. So the names come from the bindings themselves, of every version, each in a process of its own.
`names.json` keeps those of the classes that vmdepth and its stand-ins use; a name that is not there is not in any of
them, or belongs to a class that nobody used when it was written.

A form is what can be done with a name: "(flags=) -> INetworkDefinition" is called ("flags=" has a default; overloads
are divided by " | "), "property -> int" is read, "settable property -> int" also set, "member" is one of an
enumeration.
Of libcuda it is the exported symbol behind a name, and how many arguments it takes: "cuMemAlloc_v2(2)".
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TABLE = HERE / "names.json"
DRIVER, LIBCUDA = "cuda.bindings.driver", "libcuda.so.1"

_OLDEST_TO_NEWEST = ("10.0.1", "10.3.0", "10.7.0", "10.13.3.9", "10.16.1.11", "11.0.0.114", "11.4.0.106")
# Version → wheel: first and last of each major version, what JetPack brings, and for CUDA 13 as well as 12.
WHEELS = {
    "tensorrt": {v: f"tensorrt_cu12_bindings=={v}" for v in _OLDEST_TO_NEWEST}
    | {f"{v} cu13": f"tensorrt_cu13_bindings=={v}" for v in _OLDEST_TO_NEWEST[3:]},
    "tensorrt_rtx": {v: f"tensorrt_rtx_cu12_bindings=={v}" for v in ("1.4.0.76", "1.7.1.116")}
    | {f"{v} cu13": f"tensorrt_rtx_cu13_bindings=={v}" for v in ("1.4.0.76", "1.7.1.116")},
    DRIVER: {v: f"cuda-bindings=={v}" for v in ("12.8.0", "12.9.10", "13.0.0", "13.5.0")},
    # Wheels with the source that says which exported symbol is behind which name.
    LIBCUDA: {v: f"cuda-bindings=={v}" for v in ("12.8.0", "13.0.0")},
}

Forms = dict[str, str]  # of one version: name → form
Names = dict[str, dict[str, str]]  # of all of them: name → form → versions that have it so
_STUB = "".join(
    f"void *{name}(void) {{ return 0; }}\n"
    for name in (
        *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
        *("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
        *("getBuilderPluginRegistry", "getPluginRegistry", "initLibNvInferPlugins"),
    )
)
_SIGNATURE = re.compile(r"^(?:\d+\. )?\w*\((.*)\)(?: -> (.+))?$", re.MULTILINE)
_ANYTHING = "(*args, **kwargs) -> None"  # heads the signatures of what is overloaded
_SYMBOL = re.compile(r"dlsym\(handle, '(cu\w+)'\)")
_POINTER = re.compile(r"<CUresult \(\*\)\(((?:[^()]|\([^()]*\))*)\) except .*?> __(cu\w+)\)\(")
_WRAPPED = re.compile(r"^cdef CUresult (cu\w+)\(.*\n\s+return cydriver\._(cu\w+)\(", re.MULTILINE)


# ---- in a process that imports the bindings
def forms_of(module: Any) -> Forms:
    """Every public name of a module and of its classes."""
    forms: Forms = {"__version__": "value"}
    for name, value in vars(module).items():
        if name[0] != "_":
            forms |= _forms(name, value)
    return forms


def _forms(path: str, value: Any) -> Forms:
    if not inspect.isclass(value):
        return {path: _form(value)}
    if members := getattr(value, "__members__", {}):
        return {path: "enumeration", **dict.fromkeys((f"{path}.{name}" for name in members), "member")} | {
            f"{path}.{name}": "property" for name in ("__members__", "name", "value")
        }
    forms = {path: "class"}
    for base in reversed(value.__mro__[:-1]):
        for name, own in vars(base).items():
            if name == "__init__" or name[0] != "_":
                forms |= _forms(f"{path}.{name}", own)
    return forms


def _form(value: Any) -> str:
    text = (value.fget if isinstance(value, property) else value).__doc__ or ""
    text = "\n".join(line.strip() for line in text.splitlines())
    if isinstance(value, property):
        returned = _SIGNATURE.search(text)
        kind = "property" if value.fset is None else "settable property"
        return f"{kind} -> {_last(returned[2])}" if returned and returned[2] else kind
    if inspect.isgetsetdescriptor(value):
        return "settable property"  # Cython does not tell which are
    value = getattr(value, "__func__", value)
    if isinstance(value, enum.Enum):
        return "member"
    if not callable(value):
        return "value"
    if type(value).__name__ == "cython_function_or_method":
        given = inspect.signature(value).parameters.values()
        return f"({', '.join(p.name + '=' * (p.default is not p.empty) for p in given)}) -> ?"
    found = {f"({_parameters(m[1])}) -> {_last(m[2] or 'None')}" for m in _SIGNATURE.finditer(text)} - {_ANYTHING}
    return " | ".join(sorted(found)) or "(*) -> ?"


def _parameters(text: str) -> str:
    """pybind's "self: X, flags: int = 0, names: list[str, int]" without types: "flags=, names"."""
    depth, pieces = 0, [""]
    for sign in text:
        depth += (sign in "[(<") - (sign in "])>")
        if sign == "," and not depth:
            pieces.append("")
        else:
            pieces[-1] += sign
    names = (piece.partition(":")[0].strip() + "=" * (" = " in piece) for piece in pieces)
    return ", ".join(name for name in names if name not in ("", "self"))


def _last(type_name: str) -> str:
    """ "tensorrt_bindings.tensorrt.IHostMemory" and "nvonnxparser::IParserError" without where they are."""
    return "ParserError" if "IParserError" in type_name else re.split(r"[.:]", type_name.strip())[-1]


# ---- of libcuda, from the source that some wheels of cuda-bindings hold
def symbols_of(folder: Path) -> Forms:
    """Name in Python → exported symbol and its number of arguments; of symbols of other names as well."""
    source = (folder / "cuda/bindings/_bindings/cydriver.pyx").read_text()
    taken = {
        name: len(arguments.split(",")) if arguments.strip() else 0 for arguments, name in _POINTER.findall(source)
    }
    behind = dict(_WRAPPED.findall((folder / "cuda/bindings/cydriver.pyx").read_text()))
    exported = {name: name for name in _SYMBOL.findall(source)} | behind
    return {name: f"{symbol}({taken[symbol]})" for name, symbol in exported.items() if symbol in taken}


# ---- in the process that wants to know
def fetch(wheel: str, folder: Path) -> str:
    """Take a wheel from PyPI and unpack it into `folder`; returns its digest. Raises CalledProcessError."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "-d", folder]
    patience = ["--retries", "1", "--timeout", "15", "--disable-pip-version-check"]
    subprocess.run([*command, *patience, wheel], check=True, capture_output=True, timeout=120)
    (file,) = folder.glob("*.whl")
    zipfile.ZipFile(file).extractall(folder)
    return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def ask(library: str, folder: Path) -> Forms:
    """What the unpacked bindings in `folder` offer."""
    if library == LIBCUDA:
        return symbols_of(folder)
    module = library if library == DRIVER else f"{library}_bindings"
    _stub_libraries(folder)
    code = "import sys, json; sys.path[:0] = sys.argv[1:3]; import real_names; print(real_names.told(sys.argv[3]))"
    environment = {"LD_LIBRARY_PATH": str(folder), "PATH": "/usr/bin:/bin"}
    asked = [sys.executable, "-c", code, folder, HERE, module]
    told = subprocess.run(asked, check=True, capture_output=True, text=True, env=environment, timeout=120)
    return json.loads(told.stdout.splitlines()[-1])


def told(module: str) -> str:
    return json.dumps(forms_of(import_module(module)))


def _stub_libraries(folder: Path) -> None:
    """Empty libraries under the names that the bindings want."""
    source = folder / "stub.c"
    source.write_text(_STUB)
    for bindings in folder.glob("tensorrt*/tensorrt*.so"):
        for name in set(re.findall(rb"lib(?:nvinfer|nvonnxparser|tensorrt)[\w.-]*\.so[.\d]*", bindings.read_bytes())):
            library = folder / name.decode()
            command = ["cc", "-shared", "-fPIC", "-o", library, source, f"-Wl,-soname,{library.name}"]
            subprocess.run(command, check=True, capture_output=True)


def told_by(library: str, wheel: str) -> tuple[str, Forms]:
    """Digest of a wheel, and what it offers."""
    with tempfile.TemporaryDirectory() as folder:
        digest = fetch(wheel, Path(folder))
        return digest, ask(library, Path(folder))


def merged(of_versions: dict[str, Forms]) -> Names:
    """name → form → the versions that have it so, or "all"."""
    names: dict[str, dict[str, list[str]]] = {}
    for version, forms in of_versions.items():
        for name, form in forms.items():
            names.setdefault(name, {}).setdefault(form, []).append(version)
    everywhere = list(of_versions)
    return {
        name: {form: "all" if versions == everywhere else ", ".join(versions) for form, versions in forms.items()}
        for name, forms in sorted(names.items())
    }


def main() -> None:
    sys.path.insert(0, str(HERE))
    from stand_in_names import stand_in_classes, stand_in_functions
    from used_names import find_uses

    digests, names = dict[str, dict[str, str]](), dict[str, Names]()
    for library, wheels in WHEELS.items():
        asked = {version: told_by(library, wheel) for version, wheel in wheels.items()}
        digests[library] = {version: digest for version, (digest, _) in asked.items()}
        names[library] = merged({version: forms for version, (_, forms) in asked.items()})
    used = {use.name.partition(".")[0] for use in find_uses(names)}
    kept = used | {*stand_in_classes(), *stand_in_functions(), "__version__"}
    lines = [
        f' "{library}": {{\n  "wheels": {json.dumps(digests[library])},\n  "names": {{\n'
        + ",\n".join(f'   "{n}": {json.dumps(forms)}' for n, forms in known.items() if n.partition(".")[0] in kept)
        + "\n  }\n }"
        for library, known in names.items()
    ]
    TABLE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{TABLE}: {TABLE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
