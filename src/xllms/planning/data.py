"""The records that a run will be made of: those of a finished stage, or drawn from the sources as stage 1 draws them.

A language's records are counted, and up to `SAMPLE` of them kept to count tokens in: the rest is taken to be like them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from xllms.instructions.cldr import cldr_records
from xllms.instructions.sources import spool_sources
from xllms.instructions.spool import REJECTED, Spool
from xllms.languages import resolve
from xllms.recipe import CldrSource, HubSource, Recipe
from xllms.records import Instruction, Preference, Prompt, Ranking, parse_record, read_json_lines, to_jsonl
from xllms.splits import SPLITS
from xllms.token_report import read_texts

SAMPLE = 256

T = TypeVar("T")
Item = Prompt | Preference | Ranking


@dataclass(frozen=True)
class Part:
    """The records of one language in one split, or its pairs.

    Attributes:
        count: how many there are.
        sample: some of them, or stand-ins.
        bytes: of all, as JSON lines.
        text_in: FLORES code of the language that the sample is in, where it is to be translated yet.
    """

    count: int
    sample: tuple[Item, ...]
    bytes: float
    text_in: str = ""


Parts = dict[str, Part]  # FLORES code ->


@dataclass(frozen=True)
class Data:
    """All splits, and where the figures come from.

    Attributes:
        splits: split -> language -> records.
        source: in words.
        notes: what was not counted, a sentence each.
        translated: characters that translators are given.
        rejected_bytes: of what the sources hold and refuse, as it is kept beside the records.
    """

    splits: Mapping[str, Parts]
    source: str
    notes: tuple[str, ...] = ()
    translated: int = 0
    rejected_bytes: int = 0

    @property
    def records(self) -> int:
        """All of them."""
        return sum(part.count for parts in self.splits.values() for part in parts.values())


def instruction_data(recipe: Recipe, finished: bool, stand_in: Path | None = None) -> Data:
    """The instruction data of a recipe.

    Args:
        recipe: whose sources are drawn, as long as the stage is not finished.
        finished: whether its folder holds them, made with these very settings.
        stand_in: data whose texts stand for those of the languages that they have, to count tokens in.

    Raises:
        InputError: a source or `stand_in` cannot be read.
    """
    folder = recipe.output / "instructions"
    if finished:
        splits = {split: read_parts(folder / split, Instruction) for split in SPLITS}
        return Data(splits, f"the finished stage ({folder})")
    data = _drawn(recipe)
    return _standing_in(data, stand_in) if stand_in is not None else data


def read_parts(folder: Path, kind: type[Instruction] | type[Preference] | type[Ranking]) -> Parts:
    """The records of a folder of `<code>.jsonl`; languages without any are left out.

    Raises:
        InputError: a line is no record.
    """
    found: Parts = {}
    for path in sorted(folder.glob("*.jsonl")):
        lines = list(read_json_lines(path))
        if lines:
            kept = tuple(parse_record(value, kind, f"{path}:{number}") for number, value in spread(lines))
            found[path.stem] = Part(len(lines), kept, path.stat().st_size)
    return found


def part_of(records: Sequence[Item]) -> Part:
    """Records at hand as a part."""
    kept = spread(records)
    size = sum(len(record.to_json().encode()) + 1 for record in kept)
    return Part(len(records), tuple(kept), size * len(records) / max(1, len(kept)))


def spread(items: Sequence[T], most: int = SAMPLE) -> Sequence[T]:
    """At most so many of them, evenly spread."""
    if len(items) <= most:
        return items
    return [items[at * len(items) // most] for at in range(most)]


def _drawn(recipe: Recipe) -> Data:
    settings = recipe.instructions
    languages = resolve(recipe.languages)
    here = tuple(source for source in settings.sources if not isinstance(source, HubSource))
    with TemporaryDirectory(prefix="xllms-plan-") as folder:
        asked = settings.model_copy(update={"sources": here})
        spool = spool_sources(asked, recipe.seed, Path(folder) / "sources", "plan")
        splits = {split: _laid_down(spool, split) for split in SPLITS}
        refused = sum(len(line) for code in spool.languages for line in spool.lines(code, REJECTED))
    own = any(splits.values())
    notes = [f"{s.dataset}: on the hub, not counted" for s in settings.sources if isinstance(s, HubSource)]
    translated = 0
    if own:
        notes.append("own records are counted before cleaning, which takes repeats out")
    if own and settings.translation is not None:
        translated = sum(_translate(splits[split], [language.code for language in languages]) for split in SPLITS)
        notes.append("translated records are taken to be as many as their originals: gates refuse some")
    for source in here:
        if isinstance(source, CldrSource):
            for language in languages:
                facts = cldr_records(source, language, recipe.seed)
                refused += len(to_jsonl(facts.rejected).encode())
                for split, records in facts.records.items():
                    if records:
                        splits[split][language.code] = together(splits[split].get(language.code), part_of(records))
    ordered = {split: dict(sorted(parts.items())) for split, parts in splits.items()}
    return Data(
        ordered, "drawn from the recipe's sources, as stage 1 will draw them", tuple(notes), translated, refused
    )


def together(one: Part | None, other: Part) -> Part:
    """Records of two origins as one part."""
    if one is None:
        return other
    sample = (*one.sample, *other.sample)
    same = one.text_in if one.text_in == other.text_in else ""
    return Part(one.count + other.count, sample, one.bytes + other.bytes, same)


def _laid_down(spool: Spool, split: str) -> Parts:
    found: Parts = {}
    for code in spool.languages:
        sizes = [len(line) for line in spool.lines(code, split)]
        if sizes:
            wanted = set(spread(range(len(sizes))))
            lines = (line for at, line in enumerate(spool.lines(code, split)) if at in wanted)
            sample = tuple(parse_record(json.loads(line), Instruction, code) for line in lines)
            found[code] = Part(len(sizes), sample, sum(sizes))
    return found


def _translate(parts: Parts, codes: Sequence[str]) -> int:
    """Add what is translated out of the language that has most records into each other one; its characters."""
    seeds = {code: _in_one_language(part) for code, part in parts.items()}
    main = max(seeds, key=lambda code: seeds[code].count, default="")
    if not main or not seeds[main].count:
        return 0
    given = seeds[main]
    each = [len(r.instruction) + len(r.input) + len(r.output) for r in given.sample if isinstance(r, Prompt)]
    length = round(given.count * sum(each) / max(1, len(each)))
    others = [code for code in codes if code != main]
    for code in others:
        parts[code] = together(parts.get(code), replace(given, text_in=main))
    return length * len(others)


def _in_one_language(part: Part) -> Part:
    """Records that are asked and answered in one language, which alone are translated."""
    own = tuple(one for one in part.sample if one.language == one.instruction_language)
    share = len(own) / max(1, len(part.sample))
    return Part(round(share * part.count), own, share * part.bytes)


def _standing_in(data: Data, path: Path) -> Data:
    codes = {code for parts in data.splits.values() for code in parts}
    texts: dict[str, list[Prompt]] = {}
    for number, text in enumerate(read_texts(path)):
        kept = texts.setdefault(text.language, [])
        if len(kept) < SAMPLE and text.language in codes:
            instruction, given = text.prompt or ("?", "")
            about = {"id": str(number), "language": text.language, "source": "stand-in"}
            kept.append(Prompt(instruction=instruction, input=given, output=text.completion, **about))
    splits = {
        split: {code: _replaced(part, texts.get(code)) for code, part in parts.items()}
        for split, parts in data.splits.items()
    }
    missing = sorted(codes - set(texts))
    notes = [f"{path} lacks {len(missing)} of the languages ({', '.join(missing[:5])})"] if missing else []
    return replace(
        data, splits=splits, source=f"{data.source}; their length that of {path}", notes=(*data.notes, *notes)
    )


def _replaced(part: Part, texts: Sequence[Prompt] | None) -> Part:
    if not texts:
        return part
    like = part_of(texts)
    return Part(part.count, like.sample, part.count * like.bytes / like.count)
