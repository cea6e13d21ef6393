"""The benchmarks, one file each; and a file of one's own, read by its path."""

import importlib
import importlib.util
import sys
from pathlib import Path

from xllms.errors import InputError
from xllms.evaluation.benchmark import Benchmark
from xllms.manifest import sha256_file
from xllms.recipe.evaluation import BENCHMARKS


def find(name: str) -> Benchmark:
    """A benchmark by its name, or from a Python file that sets `benchmark`.

    Raises:
        InputError: no such benchmark, or a file that does not hold one.
    """
    if name in BENCHMARKS:
        module = importlib.import_module(f"{__name__}.{name}")
        shipped: Benchmark = module.benchmark
        return shipped
    path = Path(name)
    if not path.is_file():
        raise InputError(f"evaluation.benchmarks: {name}: no such file")
    spec = importlib.util.spec_from_file_location(f"xllms_own_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    own = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = own  # dataclasses look up what their annotations mean there
    try:
        spec.loader.exec_module(own)
    except Exception as error:
        del sys.modules[spec.name]
        raise InputError(f"{path}: cannot be read as a benchmark: {type(error).__name__}: {error}") from None
    found = getattr(own, "benchmark", None)
    if not isinstance(found, Benchmark):
        raise InputError(f"{path}: sets no `benchmark`; end it with `benchmark = MyBenchmark()`")
    if not found.name:
        raise InputError(f"{path}: its benchmark has no `name`; set one in the class")
    if found.name in BENCHMARKS:
        raise InputError(f"{path}: `{found.name}` is the name of a benchmark that is here already; take another")
    found.digest = sha256_file(path)
    return found
