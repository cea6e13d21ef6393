"""The benchmarks, one file each; and a file of one's own, read by its path."""

import importlib

from xllms.evaluation.benchmark import Benchmark
from xllms.evaluation.benchmarks import own
from xllms.recipe.evaluation import BENCHMARKS


def find(name: str) -> Benchmark:
    """A benchmark by its name, or from a Python file that sets `benchmark`.

    What fails in such a file, when it is read or when it is asked, is an `InputError` with file and line.

    Raises:
        InputError: no such benchmark, or a file that does not hold one.
    """
    if name not in BENCHMARKS:
        return own.load(name, BENCHMARKS)
    module = importlib.import_module(f"{__name__}.{name}")
    shipped: Benchmark = module.benchmark
    return shipped
