"""What is taken out of a language's records when they are all together: repeats, and text of the benchmarks."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.instructions.benchmark_texts import absent_benchmarks, benchmark_files, benchmark_texts
from xllms.instructions.cldr import Drawn
from xllms.instructions.contamination import ContaminationReport, Hit, NgramIndex, build_index
from xllms.instructions.duplicates import mark_duplicates
from xllms.instructions.rejected import Rejected
from xllms.manifest import fingerprint, sha256_file
from xllms.recipe import InstructionsSettings
from xllms.records import Instruction
from xllms.splits import SPLITS

_FOUND = "contamination"
# Of two records that repeat each other the one that is held out stays.
_ORDER = tuple(reversed(SPLITS))


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

    def clean(self, drawn: Drawn) -> Drawn:
        """The records that stay, and with the rejected ones those that do not.

        CLDR's facts are no text that anybody wrote: they are alike by nature, and stay.
        """
        split_of = {record.id: split for split in SPLITS for record in drawn.records[split]}
        rejected = list(drawn.rejected)

        def keep(marked: Iterable[tuple[Instruction, str | None]]) -> list[Instruction]:
            kept = []
            for record, reason in marked:
                if reason is None:
                    kept.append(record)
                else:
                    rejected.append(_rejected(record, reason))
            return kept

        facts = [record for split in SPLITS for record in drawn.records[split] if record.source == "cldr"]
        texts = [record for split in _ORDER for record in drawn.records[split] if record.source != "cldr"]
        if self.settings.duplicates is not None:
            marked = mark_duplicates(texts, self.settings.duplicates)
            texts = keep((record, f"duplicate: {reason}" if reason else None) for record, reason in marked)
        if self._index is not None:
            hits = self._index.find_all(texts)
            texts = keep((record, f"{_FOUND}: {_place(hit)}: {hit.matched}" if hit else None) for record, hit in hits)
        records: dict[str, list[Instruction]] = {split: [] for split in SPLITS}
        for record in (*facts, *texts):
            records[split_of[record.id]].append(record)
        return Drawn(records, rejected)


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
