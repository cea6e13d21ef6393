"""Benchmark `language_confusion`: is the answer in the language that was asked for (Marchisio et al. 2024)?

Monolingual prompts are in the language; cross-lingual ones are English and ask for it ("Reply in French."). What an
answer is judged by stands in `languages/confusion.py`: the line pass rate (answers without a line in another
language), in scripts other than Latin the word pass rate (of those, answers without a Latin word), and the harmonic
mean of the two. An answer that cannot be judged (empty, a few words, nothing that can be told) has nothing parsed and
is in none of these rates. Three languages in eight can never be told from their neighbours, and have none of them; what
is known of all languages is how many answers have a line in another one, nearly always English.

The benchmark has 15 languages. Its cross-lingual prompts are the same in all but the language's name, so protocol
`standard` asks them for every language of the evaluation; `paper` keeps to those it was made for.
"""

import csv
import io
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources.abc import Traversable
from itertools import chain, zip_longest
from pathlib import Path
from typing import ClassVar

import numpy as np

from xllms.errors import InputError
from xllms.evaluation.benchmark import Asked, Benchmark, Item, Metric, Table, Task
from xllms.evaluation.data import Files, Row, field, limited
from xllms.languages import Language, get
from xllms.languages.confusion import Confusion, can_be_told, confusion
from xllms.metrics.item_statistics import Floats, ItemStatistics, rate
from xllms.records import Prediction

MONOLINGUAL, CROSSLINGUAL = "monolingual", "crosslingual"
_TOKENS = 100  # of an answer, as the benchmark has it
_PASS = "pass"
_SHOWN = 5
_ENGLISH = "eng_Latn"
Prompts = dict[str, dict[str, list[str]]]  # language -> source -> prompts
# What the benchmark calls a language in its prompts, where the registry says more.
_NAMES = {"zho_Hans": "Chinese"}


class LanguageConfusion(Benchmark):
    """Line and word pass rates, and their harmonic mean."""

    name = "language_confusion"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "lpr": Metric("Line pass rate", scale=1),
        "wpr": Metric("Word pass rate", scale=1),
        "lcpr": Metric("Language confusion pass rate", scale=1),
        "confused": Metric("Answers with a line in another language", higher_is_better=False, scale=1),
    }

    def tables(self, asked: Asked) -> Iterator[Table]:
        """`language_confusion.monolingual` and `language_confusion.crosslingual`."""
        there = _read(Files(asked, self.name))
        own = {
            MONOLINGUAL: {code: there[MONOLINGUAL][code] for code in _asked(asked, there[MONOLINGUAL])},
            CROSSLINGUAL: _crosslingual(there[CROSSLINGUAL], asked),
        }
        if not any(own.values()):
            made_for = ", ".join(sorted(there[MONOLINGUAL] | there[CROSSLINGUAL]))
            raise InputError(
                f"evaluation.{self.name}: none of evaluation.languages is among those of protocol {asked.protocol} "
                f"({made_for}); protocol standard asks the cross-lingual prompts for any language but English"
            )
        if absent := sum(code not in own[MONOLINGUAL] for code in own[CROSSLINGUAL]):
            print(f"{self.name}: {absent} languages have cross-lingual prompts only", file=sys.stderr)
        for setting, prompts in own.items():
            tasks = [Task(code, code, _items(setting, code, some, asked)) for code, some in prompts.items()]
            if tasks:
                limit = asked.options.max_new_tokens or _TOKENS
                yield Table(f"{self.name}.{setting}", tasks, limit, in_language=True)

    def parse(self, item: Item, output: str) -> str | None:
        """`pass`, or which lines or words do not; None for an answer that cannot be judged."""
        return _finding(confusion(output, _language(item)))

    def statistics(self, predictions: Sequence[Prediction]) -> Mapping[str, ItemStatistics]:
        """The rates that count at least one answer; words are looked at in scripts other than Latin."""
        language = get(predictions[0].language)
        found = [(p.parsed or "").partition(":")[0] for p in predictions]
        written = [bool(p.output.strip()) for p in predictions]
        judged = [what != "" for what in found]
        lines = [what in (_PASS, "word") for what in found]
        words = [what == _PASS for what in found]
        statistics = {}
        if any(judged) and can_be_told(language):
            statistics["lpr"] = rate(lines, judged)
            if language.script != "Latn":
                columns = np.array([lines, judged, words, lines], dtype=np.float64)
                statistics["lcpr"] = ItemStatistics(columns.T, harmonic_mean, outcomes=True)
                if any(lines):
                    statistics["wpr"] = rate(words, lines)
        if any(written):
            statistics["confused"] = rate([what == "line" for what in found], written)
        return statistics


def harmonic_mean(sums: Floats) -> Floats:
    """Of the rates hits / of and hits / of, (..., 4); 0 where the first is 0, NaN where it counts nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        lines, words = sums[..., 0] / sums[..., 1], sums[..., 2] / sums[..., 3]
        both = 2 * lines * words / (lines + words)
    # Where no line passes there are no words to look at, and where no word does either, 0 / 0.
    return np.where((lines == 0) | (words == 0), 0.0, both)


def _finding(found: Confusion) -> str | None:
    if found.lines_pass is None:
        return None
    if not found.lines_pass:
        return f"line: {found.wrong} of {found.wrong + found.right} in another language"
    if found.words_pass is False:
        different = list(dict.fromkeys(found.foreign or ()))
        return f"word: {', '.join(different[:_SHOWN])}"
    return _PASS


def _language(item: Item) -> Language:
    return get(item.id.split(":")[2])


def _items(setting: str, code: str, by_source: Mapping[str, Sequence[str]], asked: Asked) -> tuple[Item, ...]:
    """The prompts of all sources, taken in turn, so that a limit leaves some of each."""
    numbered = (
        [
            Item(f"language_confusion:{setting}:{code}:{source}:{number}", prompt, _PASS, kind=source)
            for number, prompt in enumerate(prompts)
        ]
        for source, prompts in by_source.items()
    )
    return limited([item for item in chain(*zip_longest(*numbered)) if item], asked)


def _crosslingual(there: Prompts, asked: Asked) -> Prompts:
    """The benchmark's own prompts, and for other languages the same with their name."""
    found = {code: there[code] for code in _asked(asked, there)}
    others = [one for one in asked.languages if one.code not in there and one.code != _ENGLISH]
    if others and there and asked.protocol == "standard":
        name, prompts = _template(there)
        for language in others:
            found[language.code] = {
                source: [prompt.replace(name, language.name) for prompt in some] for source, some in prompts.items()
            }
    return found


def _template(there: Prompts) -> tuple[str, dict[str, list[str]]]:
    """A language's name and its prompts, each of which has that name once."""
    for code, by_source in there.items():
        name = _NAMES.get(code, get(code).name)
        if all(prompt.count(name) == 1 for prompt in chain(*by_source.values())):
            return name, by_source
    raise InputError(
        "language_confusion: in no language do all cross-lingual prompts name it once, so they cannot be asked for "
        f"others; is this another version? set evaluation.protocol to paper to keep to {', '.join(there)}"
    )


def _asked(asked: Asked, codes: Iterable[str]) -> list[str]:
    return [code for code in codes if asked.wants(code)]


def _read(files: Files) -> dict[str, Prompts]:
    """Setting -> language -> source -> prompts."""
    found: dict[str, Prompts] = {MONOLINGUAL: {}, CROSSLINGUAL: {}}
    for row in _hub_rows(files) if files.hub else _file_rows(files.root):
        setting = CROSSLINGUAL if row[1].get("phrasing") else MONOLINGUAL
        by_source = found[setting].setdefault(get(field(row, "language")).code, {})
        by_source.setdefault(field(row, "source"), []).append(field(row, "prompt"))
    return found


def _hub_rows(files: Files) -> Iterable[Row]:
    return files.rows([]) or ()


def _file_rows(root: Path) -> Iterator[Row]:
    """Rows of `SETTING/SOURCE/LANGUAGE.csv` in `test_sets.zip`, `test_sets` or the folder itself."""
    try:
        top = _top(root)
        settings = [top / setting for setting in (MONOLINGUAL, CROSSLINGUAL) if (top / setting).is_dir()]
        tables = [file for setting in settings for source in _sorted(setting) for file in _sorted(source)]
        rows = [row for file in tables if file.name.endswith(".csv") for row in _rows(file)]
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{root}: the prompts cannot be read: {error}; was the download cut off?") from None
    if not rows:
        raise InputError(
            f"{root}: neither test_sets.zip nor the folders monolingual/ and crosslingual/ with prompts in them"
        )
    yield from rows


def _top(root: Path) -> Traversable:
    packed = root / "test_sets.zip"
    top: Traversable = zipfile.Path(packed) if packed.is_file() else root
    inner = top / "test_sets"
    return inner if inner.is_dir() else top


def _sorted(folder: Traversable) -> list[Traversable]:
    return sorted(folder.iterdir(), key=lambda entry: entry.name) if folder.is_dir() else []


def _rows(file: Traversable) -> Iterator[Row]:
    reader = csv.DictReader(io.StringIO(file.read_bytes().decode("utf-8-sig"), newline=""))
    for fields in reader:
        yield f"{file}:{reader.line_num}", fields


benchmark = LanguageConfusion()
