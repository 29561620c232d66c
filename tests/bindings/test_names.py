"""Names, arguments and enumerations that vmdepth uses of NVIDIA's libraries exist in all versions of them it is for.

The real bindings were asked (`real_names.py`), and their answers are in `names.json`; those that are installed are
asked again here, and two that PyPI has.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from shutil import which

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
try:
    import checking
    import real_names
    import stand_in_names
    import used_names
finally:
    sys.path.remove(str(HERE))

ANEW = "; if it is right, write the table anew: python tests/bindings/real_names.py"
TABLES = {library: table["names"] for library, table in json.loads(real_names.TABLE.read_text()).items()}


@pytest.fixture(scope="module")
def uses():
    return used_names.find_uses(TABLES)


def test_what_the_product_uses_is_there_in_every_version(uses):
    assert checking.problems(uses, TABLES) == [], ANEW


def test_uses_are_found(uses):
    found = {(use.library, use.name, use.kind) for use in uses}
    assert len(uses) > 150
    assert found >= {
        ("tensorrt", "Builder.build_serialized_network", "call"),
        ("tensorrt", "IBuilderConfig.progress_monitor", "set"),
        ("tensorrt", "IExecutionContext.set_tensor_address", "call"),
        ("tensorrt", "IProgressMonitor.step_complete", "override"),
        ("tensorrt", "ITimingCache.serialize", "call"),
        ("tensorrt", "CudaGraphStrategy.WHOLE_GRAPH_CAPTURE", "read"),
        ("cuda.bindings.driver", "CUDA_MEMCPY2D.WidthInBytes", "set"),
        ("cuda.bindings.driver", "cuGraphInstantiate", "call"),
        ("libcuda.so.1", "cuDeviceGetAttribute", "call"),
    }


def test_none_is_missed(uses):
    """Where a library is used, whatever is called as one of its names is known to be one."""
    files = {use.where.rpartition(":")[0] for use in uses}
    known = {(use.where, use.name.rpartition(".")[2]) for use in uses}
    names = {name.rpartition(".")[2] for library in TABLES.values() for name in library}
    names = {name for name in names if name.startswith("cu") or ("_" in name and name[0] != "_")}
    missed = []
    for file in files:
        for node in ast.walk(ast.parse((used_names.HOUSE / file).read_text())):
            if isinstance(node, ast.Attribute) and node.attr in names:
                missed += {(f"{file}:{node.lineno}", node.attr)} - known
    assert missed == []


def test_every_way_to_a_library_is_known():
    """Functions that give one, and arguments that are one; ONNX Runtime's and Foxglove's need no second version in
    mind."""
    nodes = [node for file in used_names.product_files() for node in ast.walk(ast.parse(file.read_text()))]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    loaders = {f.name for f in functions if f.returns is not None and "ModuleType" in ast.unparse(f.returns)}
    assert loaders - {"load_onnxruntime", "load_foxglove"} == set(used_names.LOADERS)
    arguments = [
        a for f in functions for a in f.args.args if a.annotation and ast.unparse(a.annotation) == "ModuleType"
    ]
    assert {a.arg for a in arguments} - {"onnxruntime"} == set(used_names.PARAMETERS)


FAULTY = {
    "library.Bilder(logger)": "Bilder is not there in tensorrt 10.0.1",
    "library.Builder()": "Builder.__init__ does not take 0 arguments",
    "library.Builder(logger).create_network(flag=1)": "create_network does not take 0 arguments ['flag']",
    "library.Builder(logger).create_builder_config().set_flag(library.BuilderFlag.FP16)": (
        "BuilderFlag.FP16 is not there in tensorrt 11.0.0.114, tensorrt 11.0.0.114 cu13, tensorrt 11.4.0.106"
    ),
    "library.OnnxParser(library.Builder(logger).create_network(), logger).num_errors = 1": "num_errors cannot be set",
    "library.Runtime(logger).deserialize_cuda_engine(b'').num_bindings": "ICudaEngine.num_bindings is not there",
    "library.Runtime(logger).deserialize_cuda_engine(b'').create_execution_context().execute_async_v3()": (
        "execute_async_v3 does not take 0 arguments"
    ),
    "if hasattr(library, 'Nothing'): pass": "Nothing is not there",
    "class Logger(library.ILogger):\n    def log(self, message): pass": "ILogger.log does not take 1 arguments",
    "def f(what, function, *rest):\n    function(*rest)\nf('', load_driver().cuMemAlloc, 1, 2)": (
        "cuMemAlloc does not take 2 arguments"
    ),
    "load_driver().cuMemAlloc(1, 2)": "cuMemAlloc does not take 2 arguments",
    "load_driver().CUDA_MEMCPY2D().height = 1": "CUDA_MEMCPY2D.height is not there",
    "ctypes.CDLL('libcuda.so.1').cuDeviceTotalMemory(1, 2)": "cuDeviceTotalMemory is not there",
    "def f(driver):\n    driver.cuMemAloc(1)\nf(load_driver())": "cuMemAloc is not there",
}


@pytest.mark.parametrize("code", FAULTY)
def test_a_wrong_name_is_caught(code, tmp_path):
    file = tmp_path / "faulty.py"
    file.write_text(f"library = load_library('tensorrt')\nlogger = library.Logger(library.Logger.ERROR)\n{code}\n")
    (problem,) = checking.problems(used_names.find_uses(TABLES, [file]), TABLES)
    assert FAULTY[code] in problem


def test_names_of_one_library_alone_are_fine_where_only_that_one_comes(tmp_path):
    file = tmp_path / "guarded.py"
    file.write_text(
        "config = load_library(target).Builder(logger).create_builder_config()\n"
        "if settings.target == 'tensorrt-rtx':\n    config.num_compute_capabilities = 1\n"
    )
    assert checking.problems(used_names.find_uses(TABLES, [file]), TABLES) == []
    file.write_text(file.read_text().replace("==", "!="))
    assert len(checking.problems(used_names.find_uses(TABLES, [file]), TABLES)) == 1


@pytest.mark.parametrize("name", stand_in_names.stand_in_classes())
def test_the_stand_in_for_tensorrt_offers_nothing_that_tensorrt_lacks(name):
    """It stands for 10 as well as 11: what either has."""
    versions = checking.of_versions(TABLES["tensorrt"])
    assert name in versions["11.4.0.106"], ANEW
    for member, arguments in stand_in_names.stand_in_classes()[name].items():
        member = f"{name}.{member}"
        form = versions["11.4.0.106"].get(member) or versions["10.16.1.11"].get(member)
        assert form, member
        if arguments is None:
            assert "(" not in form, f"{member} is {form}"
        else:
            taken = [[parameter.rstrip("=") for parameter in listed] for listed in checking.overloads(form)]
            assert any(arguments == t[: len(arguments)] or t == ["*"] for t in taken), f"{member} is {form}"


def test_the_stand_in_for_libcuda_offers_nothing_that_it_lacks():
    symbols = {symbol for forms in TABLES["libcuda.so.1"].values() for symbol in forms}
    offered = {f"{name}({count})" for name, count in stand_in_names.stand_in_functions().items()}
    # What older libraries find all others by; the bindings ask for its second version.
    assert offered - symbols == {"cuGetProcAddress(4)"}


def test_the_stand_in_for_libcuda_has_what_is_used_of_it(uses):
    offered = stand_in_names.stand_in_functions()
    for use in uses:
        if use.library == "cuda.bindings.driver" and use.name.startswith("cu") and use.kind == "call":
            (symbol,) = TABLES["libcuda.so.1"][use.name]
            assert symbol.partition("(")[0] in offered, use
        if use.library == "libcuda.so.1" and use.kind == "call":
            # By ctypes a name is the symbol itself: without the suffix of its version it may be an older function.
            assert f"{use.name}({use.arguments})" in TABLES["libcuda.so.1"][use.name], use
            assert use.name in offered, use


@pytest.mark.parametrize(
    "library", [pytest.param("tensorrt_rtx", marks=pytest.mark.tensorrt_rtx), "cuda.bindings.driver"]
)
def test_what_is_used_is_there_in_what_is_installed(library, uses):
    pytest.importorskip(library)
    here = real_names.merged({"here": real_names.forms_of(import_module(library))})
    asked = [use for use in uses if library.startswith(use.library) and use.kind != "optional"]
    assert len(asked) > 30
    assert checking.problems(asked, {library: here}) == []


ONLINE = [("tensorrt", "10.0.1"), ("tensorrt", "11.4.0.106")]
REST = [(library, version) for library, wheels in real_names.WHEELS.items() for version in wheels]


@pytest.mark.parametrize(
    ("library", "version"),
    [*ONLINE, *(pytest.param(*case, marks=pytest.mark.slow) for case in REST if case not in ONLINE)],
)
def test_the_table_is_what_the_bindings_of_pypi_say(library, version):
    if not which("cc"):
        pytest.skip("needs a C compiler")
    try:
        _, forms = real_names.told_by(library, real_names.WHEELS[library][version])
    except subprocess.CalledProcessError as error:
        if "download" not in error.cmd:
            raise
        pytest.skip(f"PyPI gives no {real_names.WHEELS[library][version]} for this machine")
    of_versions = checking.of_versions(TABLES[library])
    listed = of_versions[version if version in of_versions else "all"]
    assert {name: forms.get(name) for name in listed} == listed
