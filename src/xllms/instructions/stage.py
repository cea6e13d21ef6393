"""Stage 1: from sources to instruction records, one language after another.

With a `translation`, what is not CLDR's is first translated, shard by shard and language by language, into `units/`.
Then each language's records come together, are cleaned, and written: `<split>/<code>.jsonl` for each split that has
records, and `rejected/<code>.jsonl` last: where that file is, the language is done.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from xllms.engines.protocol import Engine, Translator, Usage
from xllms.errors import InputError
from xllms.executors import run_units
from xllms.instructions.card import write_card
from xllms.instructions.card_facts import card_facts
from xllms.instructions.cldr import Drawn, cldr_records
from xllms.instructions.cldr_locale import has_locale
from xllms.instructions.cleaning import Cleaner, contamination_report
from xllms.instructions.rejected import Rejected
from xllms.instructions.shards import Shard, ShardResult, ShardTranslator
from xllms.instructions.sources import inputs, own_records
from xllms.languages import Language, get
from xllms.manifest import StageFolder, fingerprint, read_json, write_atomic
from xllms.processes import say
from xllms.progress import Progress
from xllms.recipe import CldrSource, InstructionsSettings, TranslationSettings
from xllms.records import Instruction, read_jsonl, to_jsonl
from xllms.splits import SPLITS

REJECTED = "rejected"
UNITS = "units"


@dataclass(frozen=True)
class Crew:
    """Who translates and writes: makers of the recipe's translators and of the teacher, and the settings of all."""

    translators: Mapping[str, Callable[[], Translator]] = field(default_factory=dict)
    teacher: Callable[[], Engine] | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)


def run(
    settings: InstructionsSettings,
    languages: Sequence[Language],
    seed: int,
    folder: Path,
    crew: Crew = Crew(),
) -> None:
    """Make the instruction data of all languages; what an earlier run finished is kept.

    Args:
        settings: the sources, the translation, the cleaning.
        languages: languages of the answers; the sources' own languages are added to them.
        seed: decides splits and order.
        folder: where the files go.
        crew: for `settings.translation`.

    Raises:
        InputError: a bad file, no language with any data, or a folder begun with other settings.
        EngineError: an engine cannot go on; what was finished is kept.
    """
    asked = {language.code for language in languages}
    settled = settings.model_dump(mode="json", exclude={"executor", "workers"})
    made_with = {**settled, "languages": sorted(asked), "seed": seed, "crew": dict(crew.made_with)}
    stage = StageFolder(folder, "instructions", made_with, inputs(settings))
    if stage.done:
        return
    # Read before anything is written: a bad file should leave no half-made folder behind.
    own = own_records(settings, seed)
    units = _units(languages, own)
    if not any(own.records.values()) and not any(has_locale(language.cldr) for language in units):
        raise InputError(f"{_names(units)}: CLDR has none of these languages; add an `alpaca` source for them")
    cleaner = Cleaner(settings)
    shards: list[Shard] = []
    without: list[str] = []
    if settings.translation is not None:
        shards, without = _shards(settings.translation, languages, own, crew, folder / UNITS)
    stage.begin()
    _translate(settings, shards, crew)
    waiting = [language for language in units if not (folder / REJECTED / f"{language.code}.jsonl").exists()]
    with Progress("instructions", len(units), "languages") as progress:
        progress.resume_at(len(units) - len(waiting))
        for language in waiting:
            drawn = _draw(settings, language, asked, seed, own)
            _write_unit(folder, language, cleaner.clean(_with_shards(drawn, language, shards)))
            progress.advance(label=language.code)
    counts = _counts(folder, settings, units)
    if settings.translation is not None:
        counts["translation"] = {"without_translator": without, "usage": _usage(shards)}
    if settings.contamination.data is not None:
        paths = (folder / REJECTED / f"{language.code}.jsonl" for language in units)
        rejected = (one for path in paths for one in read_jsonl(path, Rejected))
        found = contamination_report(settings.contamination.data, rejected)
        counts["contamination"] = {"texts": cleaner.compared, **found}
    if not any(counts["splits"].values()):
        why = ", ".join(f"{reason} {number}" for reason, number in counts["dropped"].items()) or "nothing was drawn"
        raise InputError(f"{folder}: no record is left ({why}); the reasons stand in {folder / REJECTED}")
    write_card(folder, card_facts(settings, counts))
    stage.finish(counts, [path for split in SPLITS for path in (folder / split).glob("*.jsonl")])
    shutil.rmtree(folder / UNITS, ignore_errors=True)


def _units(languages: Sequence[Language], own: Drawn) -> list[Language]:
    codes = {record.language for split in SPLITS for record in own.records[split]}
    codes |= {one.language for one in own.rejected} | {language.code for language in languages}
    return [get(code) for code in sorted(codes)]


def _shards(
    settings: TranslationSettings, languages: Sequence[Language], own: Drawn, crew: Crew, folder: Path
) -> tuple[list[Shard], list[str]]:
    """The units of translation, and the languages that no translator has."""
    seeds: dict[str, list[tuple[str, Instruction]]] = {}
    held = {record.id for split in SPLITS for record in own.records[split]}
    for split in SPLITS:
        for record in own.records[split]:
            if record.language == record.instruction_language:
                seeds.setdefault(record.language, []).append((split, record))
    if not seeds:
        raise InputError("translation: no source has records whose instruction and output are in one language")
    translator = ShardTranslator(settings, crew.translators, None)
    names: dict[tuple[str, ...], str] = {}  # most languages have the same parts
    shards, without = [], []
    for language in languages:
        others = [code for code in sorted(seeds) if code != language.code]
        reached = [code for code in others if translator.translator(get(code), language) is not None]
        if others and not reached:
            without.append(language.code)
        given: set[str] = set()
        for code in reached:
            # Not what the sources have in this language already, nor what another source language gave.
            open_ = [one for one in seeds[code] if one[1].parallel_id not in given]
            open_ = [one for one in open_ if f"{one[1].parallel_id}:{language.code}" not in held]
            given.update(record.parallel_id for _, record in open_)
            for start in range(0, len(open_), settings.shard):
                part = tuple(open_[start : start + settings.shard])
                ids = tuple(record.id for _, record in part)
                if ids not in names:
                    names[ids] = fingerprint([[split, record.model_dump()] for split, record in part])[:16]
                shards.append(Shard(folder / f"{language.code}-{code}-{names[ids]}.json", language.code, part))
    if without:
        say(f"translation: no translator has {_names([get(code) for code in without])}; nothing is translated there")
    return shards, without


def _translate(settings: InstructionsSettings, shards: Sequence[Shard], crew: Crew) -> None:
    waiting = [shard for shard in shards if not shard.path.exists()]
    if settings.translation is None or not waiting:
        return
    make = partial(ShardTranslator, settings.translation, crew.translators, crew.teacher)
    with Progress("translation", len(shards), "shards") as progress:
        progress.resume_at(len(shards) - len(waiting))
        for shard in run_units(make, waiting, settings.executor, settings.workers):
            progress.advance(label=shard.language)


def _with_shards(drawn: Drawn, language: Language, shards: Sequence[Shard]) -> Drawn:
    for shard in shards:
        if shard.language == language.code:
            result = ShardResult.read(shard.path)
            drawn.rejected.extend(result.rejected)
            for split, record in result.kept:
                drawn.records[split].append(record)
    return drawn


def _usage(shards: Sequence[Shard]) -> dict[str, Any]:
    """What each engine and translator has cost, over all shards and restarts."""
    total: dict[str, dict[str, float]] = {}
    for shard in shards:
        for name, usage in read_json(shard.path)["usage"].items():
            sums = total.setdefault(name, asdict(Usage()))
            for key, value in usage.items():
                sums[key] += value
    return total


def _draw(settings: InstructionsSettings, language: Language, asked: set[str], seed: int, own: Drawn) -> Drawn:
    """All sources' records of one language; one that two sources share counts once."""
    drawn = [
        cldr_records(source, language, seed)
        for source in settings.sources
        if isinstance(source, CldrSource) and language.code in asked
    ]
    mine = {split: [one for one in own.records[split] if one.language == language.code] for split in SPLITS}
    drawn.append(Drawn(mine, [one for one in own.rejected if one.language == language.code]))
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
    responses, makers, sources = Counter[str](), Counter[str](), Counter[str]()
    for language in units:
        name = f"{language.code}.jsonl"
        row: dict[str, Any] = {}
        for split in SPLITS:
            path = folder / split / name
            row[split] = 0
            for record in read_jsonl(path, Instruction) if path.exists() else ():
                row[split] += 1
                kinds[record.kind or record.source] += 1
                sources[record.source] += 1
                responses.update([record.response] if record.response else ())
                makers.update([record.made_by] if record.made_by else ())
            splits[split] += row[split]
        rejected = read_jsonl(folder / REJECTED / name, Rejected)
        reasons = Counter(one.reason.partition(":")[0] for one in rejected)
        dropped.update(reasons)
        by_language[language.code] = {**row, "dropped": dict(sorted(reasons.items()))}
    return {
        "splits": {split: splits[split] for split in SPLITS},
        "kinds": dict(sorted(kinds.items())),
        "sources": dict(sorted(sources.items())),
        "responses": dict(sorted(responses.items())),
        "made_by": dict(sorted(makers.items())),
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
