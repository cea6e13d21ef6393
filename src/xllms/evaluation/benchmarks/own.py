"""A benchmark in a Python file of the user's own: read by its path; whatever fails in it is said with file and line.

Its methods are called from deep inside the stage, where an exception would pass for a fault of xllms. So the benchmark
is wrapped: what it raises, and what it gives that no prediction could hold, ends as one line that names its place.
"""

import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import UnionType

from xllms.errors import InputError, XllmsError
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Metric, Table, Task
from xllms.manifest import sha256_file
from xllms.metrics.item_statistics import ItemStatistics
from xllms.records import Prediction

_TEXTS = ("id", "prompt", "reference", "input", "kind", "source")


def load(name: str, taken: Sequence[str]) -> Benchmark:
    """The benchmark that a file sets.

    Args:
        name: path of the file, as the recipe has it.
        taken: names of benchmarks that are here already.

    Raises:
        InputError: no such file, one that fails, or one that holds no benchmark; names file and line.
    """
    path = Path(name)
    if not path.is_file():
        raise InputError(f"evaluation.benchmarks: {name}: no such file")
    spec = importlib.util.spec_from_file_location(f"xllms_own_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up what their annotations mean there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        where = _place(name, error)
        raise InputError(f"{where}: cannot be read as a benchmark: {type(error).__name__}: {error}") from error
    found = getattr(module, "benchmark", None)
    if not isinstance(found, Benchmark):
        raise InputError(f"{name}: sets no `benchmark`; end it with `benchmark = MyBenchmark()`")
    _check(name, found, taken)
    kind = type("Own", (_Own,), {"name": found.name, "metrics": found.metrics, "judged": found.judged})
    own: Benchmark = kind(found, name, sha256_file(path))
    return own


def _check(name: str, found: Benchmark, taken: Sequence[str]) -> None:
    if not isinstance(found.name, str) or not found.name:
        raise InputError(f"{name}: its benchmark has no `name`; set one in the class")
    if found.name in taken:
        raise InputError(f"{name}: `{found.name}` is the name of a benchmark that is here already; take another")
    metrics = found.metrics
    if not (isinstance(metrics, Mapping) and metrics and all(isinstance(one, Metric) for one in metrics.values())):
        raise InputError(f"{name}: `metrics` is no mapping of names to Metric; leave it out to count what is right")


class _Own(Benchmark):
    """A benchmark of the user's own; `name`, `metrics` and `judged` are those of the file."""

    def __init__(self, benchmark: Benchmark, path: str, digest: str) -> None:
        self.digest = digest
        self._benchmark, self._path = benchmark, path

    def tables(self, asked: Asked) -> list[Table]:
        """As the file has it."""
        with self._named("tables"):
            found = list(self._benchmark.tables(asked))
        for table in found:
            if fault := _table_fault(table):
                raise InputError(f"{self._path}: {fault} (in tables())")
        return found

    def parse(self, item: Item, output: str) -> str | None:
        """As the file has it."""
        with self._named("parse"):
            found = self._benchmark.parse(item, output)
        self._expect("parse", found, str | None, "a text or None")
        return found

    def correct(self, item: Item, parsed: str | None) -> bool:
        """As the file has it."""
        with self._named("correct"):
            found = self._benchmark.correct(item, parsed)
        self._expect("correct", found, bool, "True or False")
        return found

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """As the file has it."""
        with self._named("statistics"):
            found = dict(self._benchmark.statistics(predictions))
        for key, one in found.items():
            self._expect("statistics", one, ItemStatistics, f"ItemStatistics for `{key}`")
            if len(one.rows) != len(predictions):
                raise InputError(
                    f"{self._path}: `{key}` has {len(one.rows)} rows, of {len(predictions)} predictions "
                    "(in statistics())"
                )
        return found

    def _expect(self, method: str, found: object, kind: type | UnionType, what: str) -> None:
        if not isinstance(found, kind):
            raise InputError(f"{self._path}: {method}() gave {_kind(found)}; {what} is expected")

    @contextmanager
    def _named(self, method: str) -> Iterator[None]:
        try:
            yield
        except XllmsError:  # says itself what is wrong, as of a data file
            raise
        except Exception as error:
            said = str(error) or "no reason given"
            where = _place(self._path, error)
            raise InputError(f"{where}: {type(error).__name__}: {said} (in {method}())") from error


def _place(path: str, error: Exception) -> str:
    """File and line that an exception came from: of the file's own lines the last that was run."""
    file = str(Path(path).absolute())
    if isinstance(error, SyntaxError) and error.filename == file and error.lineno:
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f"{path}:{lines[-1]}" if lines and lines[-1] else path


def _table_fault(table: object) -> str | None:
    """What the stage could not work with, in words."""
    if not isinstance(table, Table):
        return f"{_kind(table)} among the tables; Table is expected"
    if not isinstance(table.tasks, Sequence):
        return f"the tasks of `{table.name}` are {_kind(table.tasks)}; a list is expected"
    for task in table.tasks:
        if not isinstance(task, Task):
            return f"{_kind(task)} among the tasks of `{table.name}`; Task is expected"
        if not isinstance(task.items, Sequence):
            return f"the items of task {task.key} are {_kind(task.items)}; a tuple is expected"
        for item in task.items:
            if not isinstance(item, Item):
                return f"{_kind(item)} among the items of task {task.key}; Item is expected"
            if odd := next((name for name in _TEXTS if not isinstance(getattr(item, name), str)), None):
                return f"{item.id}: `{odd}` is {_kind(getattr(item, odd))}; a text is expected"
    return None


def _kind(found: object) -> str:
    return "None" if found is None else type(found).__name__
