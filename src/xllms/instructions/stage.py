"""Stage 1: from sources to instruction records, one language after another.

The user's own sources are read once and laid down by language (`spool`). With a `translation`, they are then
translated, shard by shard and language by language, into `units/`. Last, each language's records come together, are
cleaned, and written (`unit`): `<split>/<code>.jsonl` for each split that has records, and `rejected/<code>.jsonl`.
Nothing holds more than a shard, so memory does not grow with the sources.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
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
from xllms.instructions.seeds import Planner
from xllms.instructions.shards import Shard, ShardTranslator
from xllms.instructions.sources import inputs, spool_sources
from xllms.instructions.spool import REJECTED, Spool, finished_spool, remove_spool
from xllms.instructions.unit import Origins, write_unit
from xllms.languages import Language, get
from xllms.languages.table import some_names
from xllms.manifest import STARTED, StageFolder, fingerprint, hold, read_json, release
from xllms.processes import say
from xllms.progress import Progress
from xllms.recipe import CldrSource, InstructionsSettings, TranslationSettings
from xllms.records import read_json_lines, read_jsonl
from xllms.splits import SPLITS

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
        shutil.rmtree(folder / UNITS, ignore_errors=True)  # of a run that was killed after its last word
        return
    plan = _planned(settings, languages, seed, stage, crew)
    stage.begin()
    own, units, shards = plan.own, plan.units, plan.shards
    _translate(settings, [shard for into in shards.values() for shard in into], crew)
    waiting = [language for language in units if not (folder / REJECTED / f"{language.code}.jsonl").exists()]
    with Progress("instructions", len(units), "languages") as progress:
        progress.resume_at(len(units) - len(waiting))
        for language in waiting:
            drawn = _draw(settings, language, asked, seed)
            write_unit(folder, Origins(language.code, drawn, own, tuple(shards.get(language.code, ()))), plan.cleaner)
            progress.advance(label=language.code)
    counts = _counts(folder, settings, units)
    if settings.translation is not None:
        counts["translation"] = {"without_translator": plan.without, "usage": _usage(shards.values())}
    if settings.contamination.data is not None:
        paths = (folder / REJECTED / f"{language.code}.jsonl" for language in units)
        rejected = (one for path in paths for one in read_jsonl(path, Rejected))
        found = contamination_report(settings.contamination.data, rejected)
        counts["contamination"] = {"texts": plan.cleaner.compared, **found}
    if not any(counts["splits"].values()):
        why = ", ".join(f"{reason} {number}" for reason, number in counts["dropped"].items()) or "nothing was drawn"
        raise InputError(f"{folder}: no record is left ({why}); the reasons stand in {folder / REJECTED}")
    if empty := counts["without_records"]:
        say(f"instructions: no record in {some_names([get(code) for code in empty])}; the reasons stand in {REJECTED}/")
    write_card(folder, card_facts(settings, counts))
    remove_spool(own.folder)
    stage.finish(counts, [path for split in SPLITS for path in (folder / split).glob("*.jsonl")])
    shutil.rmtree(folder / UNITS, ignore_errors=True)


@dataclass(frozen=True)
class _Plan:
    """What is known before anything is written: sources and benchmarks are read, translators found."""

    own: Spool
    units: list[Language]
    cleaner: Cleaner
    shards: dict[str, list[Shard]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)


def _planned(
    settings: InstructionsSettings, languages: Sequence[Language], seed: int, stage: StageFolder, crew: Crew
) -> _Plan:
    """Read all that is read; a bad file should leave no half-made folder behind. What has begun keeps what it read."""
    folder = stage.path.resolve()
    beside, identity = folder.with_name(f".{folder.name}.sources"), fingerprint(stage.made_with)
    begun = (folder / STARTED).exists()
    hold(stage.path)
    try:
        own = (finished_spool(beside, identity) if begun else None) or spool_sources(settings, seed, beside, identity)
        units = _units(languages, own)
        if not any(own.records.values()) and not any(has_locale(language.cldr) for language in units):
            raise InputError(f"{some_names(units)}: CLDR has none of these languages; add an `alpaca` source for them")
        cleaner = Cleaner(settings)
        if settings.translation is None:
            return _Plan(own, units, cleaner)
        return _Plan(own, units, cleaner, *_shards(settings.translation, languages, own, crew, stage.path / UNITS))
    except BaseException:
        if not begun:
            remove_spool(beside)
        release(stage.path)
        raise


def _units(languages: Sequence[Language], own: Spool) -> list[Language]:
    return [get(code) for code in sorted({*own.languages, *(language.code for language in languages)})]


def _shards(
    settings: TranslationSettings, languages: Sequence[Language], own: Spool, crew: Crew, folder: Path
) -> tuple[dict[str, list[Shard]], list[str]]:
    """The units of translation by language, and the languages that no translator has."""
    planner = Planner(own, settings.shard, folder)
    shards, without = planner.shards(languages, ShardTranslator(settings, crew.translators, None))
    if without:
        say(
            f"translation: no translator has {some_names([get(code) for code in without])}; nothing is translated there"
        )
    by_language: dict[str, list[Shard]] = {}
    for shard in shards:
        by_language.setdefault(shard.language, []).append(shard)
    return by_language, without


def _translate(settings: InstructionsSettings, shards: Sequence[Shard], crew: Crew) -> None:
    waiting = [shard for shard in shards if not shard.path.exists()]
    if settings.translation is None or not waiting:
        return
    make = partial(ShardTranslator, settings.translation, crew.translators, crew.teacher)
    with Progress("translation", len(shards), "shards") as progress:
        progress.resume_at(len(shards) - len(waiting))
        for shard in run_units(make, waiting, settings.executor, settings.workers):
            progress.advance(label=shard.language)


def _usage(shards: Iterable[Sequence[Shard]]) -> dict[str, Any]:
    """What each engine and translator has cost, over all shards and restarts."""
    total: dict[str, dict[str, float]] = {}
    for shard in chain.from_iterable(shards):
        for name, usage in read_json(shard.path)["usage"].items():
            sums = total.setdefault(name, asdict(Usage()))
            for key, value in usage.items():
                sums[key] += value
    return total


def _draw(settings: InstructionsSettings, language: Language, asked: set[str], seed: int) -> Drawn:
    """CLDR's facts for one language; one that two sources share counts once."""
    drawn = [
        cldr_records(source, language, seed)
        for source in settings.sources
        if isinstance(source, CldrSource) and language.code in asked
    ]
    records = {
        split: list({record.id: record for part in drawn for record in part.records[split]}.values())
        for split in SPLITS
    }
    return Drawn(records, [one for part in drawn for one in part.rejected])


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
            for _, record in read_json_lines(path) if path.exists() else ():
                row[split] += 1
                kinds[record["kind"] or record["source"]] += 1
                sources[record["source"]] += 1
                responses[record["response"]] += 1
                makers[record["made_by"]] += 1
            splits[split] += row[split]
        reasons = Counter(one["reason"].partition(":")[0] for _, one in read_json_lines(folder / REJECTED / name))
        dropped.update(reasons)
        by_language[language.code] = {**row, "dropped": dict(sorted(reasons.items()))}
    return {
        "splits": {split: splits[split] for split in SPLITS},
        "kinds": dict(sorted(kinds.items())),
        "sources": dict(sorted(sources.items())),
        "responses": dict(sorted((name, count) for name, count in responses.items() if name)),
        "made_by": dict(sorted((name, count) for name, count in makers.items() if name)),
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
