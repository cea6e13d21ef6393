"""What is taken out of a language's records when they are all together: repeats, and text of the benchmarks."""

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from xllms.errors import InputError
from xllms.instructions.benchmark_texts import absent_benchmarks, benchmark_files, benchmark_texts
from xllms.instructions.contamination import ContaminationReport, Hit, NgramIndex, build_index
from xllms.instructions.duplicates import mark_duplicates
from xllms.instructions.rejected import Rejected
from xllms.instructions.spool import line_of
from xllms.manifest import fingerprint, sha256_file
from xllms.recipe import InstructionsSettings
from xllms.records import Instruction

_FOUND = "contamination"
_HELD = 1 << 20  # bytes of rejected records that wait in memory
_Judge = Callable[[Iterable[Instruction]], Iterator[tuple[Instruction, str | None]]]


class Placed(NamedTuple):
    """A record of a split, and its line in the split's file."""

    split: str
    line: bytes
    record: Instruction


class Cleaner:
    """Cleans one language after another.

    Args:
        settings: what counts as a repeat, and where the benchmarks are.

    Raises:
        InputError: a benchmark file is not of its format.
    """

    def __init__(self, settings: InstructionsSettings) -> None:
        self.settings = settings
        self._index: NgramIndex | None = None
        data = settings.contamination.data
        if data is not None:
            self._index = build_index(benchmark_texts(data), settings.contamination)
            if not self._index.counts:
                known = ", ".join(absent_benchmarks(data))
                raise InputError(f"contamination.data: {data}: holds none of the benchmarks ({known})")

    @property
    def compared(self) -> dict[str, int]:
        """Texts of each benchmark that records are compared with."""
        return dict(self._index.counts) if self._index is not None else {}

    def clean(self, texts: Iterable[Placed], rejected: IO[bytes], folder: Path | None = None) -> Iterator[Placed]:
        """The records that stay, one after another.

        Args:
            texts: a language's records in an order that decides which of two that repeat each other stays.
            rejected: takes the lines of those that do not stay: all repeats, then all with a benchmark's text.
            folder: of temporary files; None: the system's.
        """
        with SpooledTemporaryFile(_HELD, dir=str(folder) if folder else None) as found:
            passed = iter(texts)
            if self.settings.duplicates is not None:
                passed = _sifted(passed, partial(self._repeats, folder=folder), rejected)
            if self._index is not None:
                passed = _sifted(passed, self._benchmarks, found)
            yield from passed
            found.seek(0)
            shutil.copyfileobj(found, rejected)

    def _repeats(self, records: Iterable[Instruction], folder: Path | None) -> Iterator[tuple[Instruction, str | None]]:
        assert self.settings.duplicates is not None
        for record, reason in mark_duplicates(records, self.settings.duplicates, folder):
            yield record, f"duplicate: {reason}" if reason else None

    def _benchmarks(self, records: Iterable[Instruction]) -> Iterator[tuple[Instruction, str | None]]:
        assert self._index is not None
        for record, hit in self._index.find_all(records):
            yield record, f"{_FOUND}: {_place(hit)}: {hit.matched}" if hit else None


def _sifted(texts: Iterator[Placed], judge: _Judge, rejected: IO[bytes]) -> Iterator[Placed]:
    """Those that have no reason to go; the judge reads some ahead, and answers in order."""
    waiting: deque[Placed] = deque()

    def read() -> Iterator[Instruction]:
        for one in texts:
            waiting.append(one)
            yield one.record

    for record, reason in judge(read()):
        one = waiting.popleft()
        if reason is None:
            yield one
        else:
            rejected.write(line_of(_rejected(record, reason)))


def benchmarks_digest(data: Path) -> str:
    """Identity of the benchmark files below a folder."""
    paths = benchmark_files(data)
    return fingerprint([[str(path.relative_to(data)), sha256_file(path)] for path in paths])


def contamination_report(data: Path, rejected: Iterable[Rejected]) -> dict[str, Any]:
    """What was taken out for holding a benchmark's text, told from the rejected records of all languages.

    Args:
        data: folder of the benchmarks.
        rejected: of all languages.

    Returns:
        A JSON value: benchmarks that had no file, and records by benchmark, language and field, with some ids.
    """
    report = ContaminationReport(absent_benchmarks(data))
    for one in rejected:
        name, _, rest = one.reason.partition(": ")
        if name == _FOUND:
            benchmark, _, field = rest.partition(": ")[0].rpartition("/")
            report.add(Hit(one.id, one.language, field, benchmark, "", 0.0))
    return report.to_json()


def _place(hit: Hit) -> str:
    return f"{hit.benchmark}/{hit.field}"


def _rejected(record: Instruction, reason: str) -> Rejected:
    return Rejected(
        id=record.parallel_id or record.id,
        language=record.language,
        source=record.source,
        kind=record.kind,
        reason=reason,
        text=record.instruction,
    )
