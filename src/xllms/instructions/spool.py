"""The user's own records on the disk, by language and split, for whoever needs them one after another.

Millions of records fit no memory, so they are read from their files once and laid down as `<code>/<split>.jsonl`, each
line as it stands in the stage's output, and what a source refused as `<code>/rejected.jsonl`. All that lies beside the
stage's folder, not in it: reading makes nothing that would bind the folder to its settings. `whole.json`, written last,
says that all sources were read.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from xllms.errors import XllmsError
from xllms.instructions.rejected import Rejected
from xllms.manifest import disk_error, read_json, write_atomic
from xllms.records import Instruction
from xllms.splits import SPLITS

REJECTED = "rejected"
_WHOLE = "whole.json"
_HELD = 8 << 20  # bytes of lines that wait to be written
_Sizes = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Spool:
    """What was laid down; read it with `lines`.

    Attributes:
        folder: where.
        records: of each language.
        languages: FLORES codes of all that was read, taken or refused.
    """

    folder: Path
    records: dict[str, int] = field(default_factory=dict)
    languages: tuple[str, ...] = ()

    def lines(self, code: str, name: str) -> Iterator[bytes]:
        """The lines of one language's split, or of `REJECTED`."""
        path = self.folder / code / f"{name}.jsonl"
        if path.exists():
            with path.open("rb") as file:
                yield from file


class SpoolWriter:
    """Lays records down.

    Args:
        folder: an empty or absent one.

    Attributes:
        records: of each language so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = Counter[str]()
        self._waiting: dict[tuple[str, str], list[bytes]] = {}
        self._held = 0
        self._sizes: _Sizes = {}
        self._ends: list[_Sizes] = []

    def add(self, split: str, record: Instruction) -> None:
        """One more record of a split."""
        self.records[record.language] += 1
        self._line(record.language, split, record.to_json())

    def reject(self, one: Rejected, split: str = "") -> None:
        """What the source at hand refused; with a split, what other sources made one refuse, which comes after that."""
        self._line(one.language, f"{REJECTED}-{split}" if split else REJECTED, one.to_json())

    def end_source(self) -> None:
        """The source at hand is at its end."""
        for code in sorted({code for code, _ in self._sizes}):
            for split in SPLITS:
                if self._sizes.pop((code, name := f"{REJECTED}-{split}"), 0):
                    self._flush()
                    late = self.folder / code / f"{name}.jsonl"
                    for line in Spool(self.folder).lines(code, name):
                        self._bytes(code, REJECTED, line)
                    late.unlink()
        self._flush()
        self._ends.append(dict(self._sizes))

    def move(self, code: str, split_of: Callable[[str], str]) -> None:
        """Put each record of a language where it would be had its own source said that split.

        Args:
            code: the language.
            split_of: from a record's id to its split, which is none before the one that it is in.
        """
        folder = self.folder / code
        with ExitStack() as stack:
            for split in SPLITS:
                file = stack.enter_context((folder / f"{split}.new").open("wb"))
                for number in range(len(self._ends)):
                    for earlier in SPLITS[: SPLITS.index(split) + 1]:
                        lines = self._section(code, earlier, number)
                        file.writelines(line for line in lines if split_of(json.loads(line)["id"]) == split)
        for split in SPLITS:
            (folder / f"{split}.new").replace(folder / f"{split}.jsonl")

    def finish(self, identity: str) -> Spool:
        """All is there; `identity` says of what."""
        for path in sorted(self.folder.rglob("*.jsonl")):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sizes = {f"{path.parent.name}/{path.name}": path.stat().st_size for path in self.folder.rglob("*.jsonl")}
        languages = tuple(sorted({code for code, _ in self._sizes}))
        spool = Spool(self.folder, dict(sorted(self.records.items())), languages)
        value = {"identity": identity, "records": spool.records, "languages": languages, "sizes": sizes}
        write_atomic(self.folder / _WHOLE, json.dumps(value))
        return spool

    def _line(self, code: str, name: str, text: str) -> None:
        self._bytes(code, name, text.encode() + b"\n")

    def _bytes(self, code: str, name: str, line: bytes) -> None:
        self._waiting.setdefault((code, name), []).append(line)
        self._sizes[code, name] = self._sizes.get((code, name), 0) + len(line)
        self._held += len(line)
        if self._held > _HELD:
            self._flush()

    def _flush(self) -> None:
        """Appends, file by file: 200 languages of five files are more than a process may hold open."""
        for (code, name), lines in self._waiting.items():
            path = self.folder / code / f"{name}.jsonl"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("ab") as file:
                    file.writelines(lines)
            except OSError as error:
                raise disk_error(error, path) from None
        self._waiting, self._held = {}, 0

    def _section(self, code: str, split: str, number: int) -> Iterator[bytes]:
        """What one source laid down."""
        begin = self._ends[number - 1].get((code, split), 0) if number else 0
        end = self._ends[number].get((code, split), 0)
        if begin < end:
            with (self.folder / code / f"{split}.jsonl").open("rb") as file:
                file.seek(begin)
                while begin < end:
                    line = file.readline()
                    begin += len(line)
                    yield line


def finished_spool(folder: Path, identity: str) -> Spool | None:
    """The spool in a folder, if it is whole and of what `identity` says."""
    if not (folder / _WHOLE).exists():
        return None
    value = read_json(folder / _WHOLE)
    if value["identity"] != identity or any(_size(folder / name) != size for name, size in value["sizes"].items()):
        return None
    return Spool(folder, value["records"], tuple(value["languages"]))


def remove_spool(folder: Path) -> None:
    """Remove a spool; one that was killed half-way is not taken for a whole one.

    Raises:
        XllmsError: it cannot be removed.
    """
    try:
        (folder / _WHOLE).unlink(missing_ok=True)
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise XllmsError(f"{folder}: cannot be removed: {error.strerror}; remove it by hand") from None


def _size(path: Path) -> int:
    """Bytes of a file; -1 where it is gone."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def line_of(record: Instruction | Rejected) -> bytes:
    """A record's line in a file."""
    return record.to_json().encode() + b"\n"


def farthest(*splits: str) -> str:
    """The one of some splits that is farthest from training: what one source holds out is held out."""
    return max(splits, key=SPLITS.index)
