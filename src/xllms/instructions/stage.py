"""Stage 1: from sources to instruction records, one unit of work per language.

A unit writes `<split>/<code>.jsonl` for each split that has records, and `rejected/<code>.jsonl` last: where
that file is, the unit is done.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xllms.errors import InputError
from xllms.instructions.alpaca import alpaca_records
from xllms.instructions.cldr import Drawn, cldr_records
from xllms.instructions.cldr_locale import has_locale
from xllms.instructions.rejected import Rejected
from xllms.languages import Language, get
from xllms.manifest import StageFolder, sha256_file, write_atomic
from xllms.progress import Progress
from xllms.recipe import AlpacaSource, CldrSource, InstructionsSettings
from xllms.records import Instruction, read_jsonl, to_jsonl
from xllms.splits import SPLITS

REJECTED = "rejected"
_Alpaca = list[tuple[dict[str, list[Instruction]], list[Rejected]]]


def run(settings: InstructionsSettings, languages: Sequence[Language], seed: int, folder: Path) -> None:
    """Make the instruction data of all languages; what an earlier run finished is kept.

    Args:
        settings: the sources.
        languages: languages of the answers; an Alpaca source's own language is added to them.
        seed: decides splits and order.
        folder: where the files go.

    Raises:
        InputError: a bad Alpaca file, no language with any data, or a folder begun with other settings.
    """
    units = _units(settings, languages)
    asked = {language.code for language in languages}
    made_with = {**settings.model_dump(mode="json"), "languages": sorted(asked), "seed": seed}
    stage = StageFolder(folder, "instructions", made_with, _inputs(settings))
    if stage.done:
        return
    # Read before anything is written: a bad file should leave no half-made folder behind.
    files = [alpaca_records(source, seed) for source in settings.sources if isinstance(source, AlpacaSource)]
    if not files and not any(has_locale(language.cldr) for language in units):
        raise InputError(f"{_names(units)}: CLDR has none of these languages; add an `alpaca` source for them")
    stage.begin()
    waiting = [language for language in units if not (folder / REJECTED / f"{language.code}.jsonl").exists()]
    with Progress("instructions", len(units), "languages") as progress:
        progress.resume_at(len(units) - len(waiting))
        for language in waiting:
            _write_unit(folder, language, _draw(settings, language, asked, seed, files))
            progress.advance(label=language.code)
    counts = _counts(folder, settings, units)
    stage.finish(counts, [path for split in SPLITS for path in (folder / split).glob("*.jsonl")])


def _units(settings: InstructionsSettings, languages: Sequence[Language]) -> list[Language]:
    own = [get(source.language) for source in settings.sources if isinstance(source, AlpacaSource)]
    by_code = {language.code: language for language in (*languages, *own)}
    return [by_code[code] for code in sorted(by_code)]


def _inputs(settings: InstructionsSettings) -> dict[str, str]:
    """Digests of the files that are read, and the version of Babel, which is CLDR's."""
    inputs = {}
    for source in settings.sources:
        if isinstance(source, CldrSource):
            inputs["babel"] = version("babel")
            continue
        try:
            inputs[str(source.path)] = sha256_file(source.path)
        except OSError as error:
            raise InputError(f"{source.path}: cannot be read: {error.strerror}") from None
    return inputs


def _draw(settings: InstructionsSettings, language: Language, asked: set[str], seed: int, files: _Alpaca) -> Drawn:
    """All sources' records of one language; one that two sources share counts once."""
    drawn = [
        cldr_records(source, language, seed)
        for source in settings.sources
        if isinstance(source, CldrSource) and language.code in asked
    ]
    for by_split, rejected in files:
        mine = {split: [one for one in by_split[split] if one.language == language.code] for split in SPLITS}
        drawn.append(Drawn(mine, [one for one in rejected if one.language == language.code]))
    records = {
        split: list({record.id: record for part in drawn for record in part.records[split]}.values())
        for split in SPLITS
    }
    return Drawn(records, [one for part in drawn for one in part.rejected])


def _write_unit(folder: Path, language: Language, drawn: Drawn) -> None:
    name = f"{language.code}.jsonl"
    for split in SPLITS:
        if drawn.records[split]:
            write_atomic(folder / split / name, to_jsonl(drawn.records[split]))
    write_atomic(folder / REJECTED / name, to_jsonl(drawn.rejected))


def _counts(folder: Path, settings: InstructionsSettings, units: Sequence[Language]) -> dict[str, Any]:
    """What came out and what did not, counted from the files, so that a resumed run counts all of it."""
    by_language: dict[str, dict[str, Any]] = {}
    splits, kinds, dropped = Counter[str](), Counter[str](), Counter[str]()
    for language in units:
        name = f"{language.code}.jsonl"
        row: dict[str, Any] = {}
        for split in SPLITS:
            path = folder / split / name
            records = list(read_jsonl(path, Instruction)) if path.exists() else []
            row[split] = len(records)
            splits[split] += len(records)
            kinds.update(record.kind or record.source for record in records)
        reasons = Counter(one.reason for one in read_jsonl(folder / REJECTED / name, Rejected))
        dropped.update(reasons)
        by_language[language.code] = {**row, "dropped": dict(sorted(reasons.items()))}
    return {
        "splits": {split: splits[split] for split in SPLITS},
        "kinds": dict(sorted(kinds.items())),
        "dropped": dict(sorted(dropped.items())),
        "without_records": [code for code, row in by_language.items() if not any(map(row.get, SPLITS))],
        "short": _short(settings, by_language),
        "languages": by_language,
    }


def _short(settings: InstructionsSettings, by_language: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Languages with fewer records than the CLDR sources were asked for: code -> split -> [has, wanted]."""
    cldr = [source for source in settings.sources if isinstance(source, CldrSource)]
    wanted = {split: sum(getattr(source, split) for source in cldr) for split in SPLITS}
    short = {
        code: {split: [row[split], count] for split, count in wanted.items() if row[split] < count}
        for code, row in by_language.items()
    }
    return {code: splits for code, splits in short.items() if splits}


def _names(languages: Sequence[Language]) -> str:
    shown = ", ".join(language.name for language in languages[:5])
    return shown if len(languages) <= 5 else f"{shown} and {len(languages) - 5} more"
