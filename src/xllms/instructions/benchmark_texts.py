"""Texts of the benchmarks, from their files as the publishers lay them out: what training data are searched for."""

import csv
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from xllms.errors import InputError
from xllms.formats.json_file import read_values
from xllms.formats.parquet_file import scan_rows


def benchmark_texts(folder: Path) -> Iterator[tuple[str, str]]:
    """(benchmark, text) of every field of the benchmark files below `folder`, as their publishers lay them out.

    What is absent is skipped; `absent_benchmarks` names it.

    Raises:
        InputError: a file is cut off or not of its format; names it.
    """
    for name, (patterns, read) in READERS.items():
        for path in _paths(folder, patterns):
            try:
                for text in read(path):
                    yield name, text
            except (OSError, EOFError, ValueError, KeyError, csv.Error, lzma.LZMAError, zipfile.BadZipFile) as error:
                raise InputError(f"{path}: not a file of {name} ({error!r}); get it again or remove it") from None


def absent_benchmarks(folder: Path) -> tuple[str, ...]:
    """The known benchmarks that have no file below `folder`."""
    return tuple(name for name, (patterns, _) in READERS.items() if not _paths(folder, patterns))


def benchmark_files(folder: Path) -> list[Path]:
    """All files below `folder` that are read."""
    return sorted({path for patterns, _ in READERS.values() for path in _paths(folder, patterns)})


def _paths(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.glob(pattern)})


def _flores(path: Path) -> Iterator[str]:
    if path.suffix not in (".tsv", ".xz"):  # a language's plain lines
        yield from path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        return
    with (lzma.open if path.suffix == ".xz" else open)(path, "rt", encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file):
            if number:
                yield from line.rstrip("\n").split("\t")[1:]


def _xcopa(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not line.strip():
            continue
        item = json.loads(line)
        yield from (item["premise"], item["choice1"], item["choice2"])


def _paws_x(path: Path) -> Iterator[str]:
    _, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    for line in lines:
        _, one, other, *_ = line.split("\t")
        yield from (one, other)


def _self_instruct(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            task = json.loads(line)
            yield task["instruction"]
            yield from (text for one in task["instances"] for text in (one["input"], one["output"]))


def _mgsm(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").rstrip("\n").split("\n"):
        yield line.split("\t")[0]


def _language_confusion(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name.endswith(".csv"):
                with archive.open(name) as file:
                    rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
                    yield from (row["prompt"] for row in rows)


def _x_alpacaeval(path: Path) -> Iterator[str]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        yield from (item["instruction"] for item in json.load(file))


def _fields(*names: str) -> Callable[[Path], Iterator[str]]:
    """Reader of the text fields of a JSONL or Parquet file's rows."""

    def read(path: Path) -> Iterator[str]:
        for _, row in scan_rows(path) if path.suffix == ".parquet" else read_values(path):
            yield from (str(row[name]) for name in names)

    return read


# Where a text stands in several benchmarks, the first of these owns it: AlpacaEval took in Self-Instruct's.
READERS: dict[str, tuple[tuple[str, ...], Callable[[Path], Iterator[str]]]] = {
    "flores": (("flores*/dev*.tsv", "flores*/dev*.tsv.xz", "flores*/dev*/*.dev*"), _flores),
    "xcopa": (("xcopa/*/*.jsonl",), _xcopa),
    "paws_x": (("paws_x/*/*.tsv",), _paws_x),
    "self_instruct": (("self_instruct/user_oriented_instructions.jsonl",), _self_instruct),
    "mgsm": (("mgsm/*.tsv",), _mgsm),
    "belebele": (
        ("belebele/*.jsonl", "belebele/data/*.jsonl"),
        _fields("flores_passage", "question", "mc_answer1", "mc_answer2", "mc_answer3", "mc_answer4"),
    ),
    "global_mmlu": (
        ("global_mmlu/*/test.*", "global_mmlu/*/test-*"),
        _fields("question", "option_a", "option_b", "option_c", "option_d"),
    ),
    "xl_sum": (("xl_sum/*_test.jsonl", "xl_sum/*/test.jsonl"), _fields("title", "summary", "text")),
    "language_confusion": (("language_confusion/test_sets.zip",), _language_confusion),
    "x_alpacaeval": (("x_alpacaeval/*.json.xz",), _x_alpacaeval),
}
