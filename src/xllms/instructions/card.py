"""The data set card: README.md of a folder of records, as the hub's front matter has it and as people read it.

Everything in it is counted, not claimed: what came out per language, what each gate dropped, who wrote and translated,
from which sources under which licences, and what was found of the benchmarks in it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xllms.errors import InputError
from xllms.languages import get
from xllms.manifest import write_atomic

CARD = "README.md"
# The hub's own classes, by the number of records that each ends below.
_SIZES = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip
_LARGEST = "n>1B"


@dataclass(frozen=True)
class LanguageFacts:
    """One language: how many records there are, and how many each gate dropped."""

    accepted: int
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceFacts:
    """One source of records.

    Attributes:
        name: as the records' `source` has it.
        licence: the hub's identifier, such as cc-by-4.0; `other` where it has none.
        records: that come from it.
        link: where it is described.
        note: what else a user must know, such as a licence's own name.
    """

    name: str
    licence: str
    records: int
    link: str = ""
    note: str = ""


@dataclass(frozen=True)
class Contamination:
    """One benchmark: how many of its items were looked for, and how many records were like one of them."""

    items: int
    found: int
    removed: int


@dataclass(frozen=True)
class CardFacts:
    """All that a card says.

    Attributes:
        title: of the data set.
        languages: FLORES code -> facts.
        sources: each once.
        splits: name -> (pattern of its files, records).
        writers: engine, translator or `as in the source` -> records that it wrote.
        kinds: kind of response -> records.
        contamination: benchmark -> what was found.
        repo_id: `owner/name` on the hub, where it has one.
        tasks: the hub's task categories.
        version: of xllms that made it.
    """

    title: str
    languages: Mapping[str, LanguageFacts]
    sources: Sequence[SourceFacts]
    splits: Mapping[str, tuple[str, int]]
    writers: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)
    contamination: Mapping[str, Contamination] = field(default_factory=dict)
    repo_id: str = ""
    tasks: tuple[str, ...] = ("text-generation",)
    version: str = ""


def write_card(folder: Path, facts: CardFacts) -> str:
    """Write `folder/README.md`, and return its text.

    Raises:
        InputError: no languages or sources, an unknown language, or splits and languages that count differently.
        XllmsError: the folder cannot be written.
    """
    text = card_text(facts)
    write_atomic(folder / CARD, text)
    return text


def card_text(facts: CardFacts) -> str:
    """The card: front matter and sections.

    Raises:
        InputError: as `write_card`.
    """
    _check(facts)
    front = yaml.safe_dump(_front_matter(facts), allow_unicode=True, sort_keys=False)
    sections = [
        f"# {_cell(facts.title)}",
        _lead(facts),
        _section("How to load it", _loading(facts)),
        _section("Languages", _languages(facts)),
        _section("What was dropped, and why", _dropped(facts)),
        _section("Who wrote it", _counts(facts.writers, ("engine or translator", "records"))),
        _section("Kinds of responses", _counts(facts.kinds, ("kind", "records"))),
        _section("Sources and licences", _sources(facts)),
        _section("Contamination", _contamination(facts)),
    ]
    return f"---\n{front}---\n\n" + "\n\n".join(part for part in sections if part) + "\n"


def _check(facts: CardFacts) -> None:
    if not facts.languages or not facts.sources:
        raise InputError(f"card of {facts.title!r}: needs at least one language and one source")
    total, in_splits = _total(facts), sum(count for _, count in facts.splits.values())
    if total != in_splits:
        raise InputError(f"card of {facts.title!r}: its languages have {total} records, its splits {in_splits}")


def _total(facts: CardFacts) -> int:
    return sum(one.accepted for one in facts.languages.values())


def _accepted(facts: CardFacts) -> dict[str, LanguageFacts]:
    """Languages that have records, by code."""
    return {code: one for code, one in sorted(facts.languages.items()) if one.accepted}


def _front_matter(facts: CardFacts) -> dict[str, Any]:
    size = next((name for limit, name in _SIZES if _total(facts) < limit), _LARGEST)
    files = [{"split": name, "path": pattern} for name, (pattern, count) in facts.splits.items() if count]
    return {
        "pretty_name": " ".join(facts.title.split()),
        "language": sorted({get(code).bcp47 for code in _accepted(facts)}),
        "license": sorted({source.licence for source in facts.sources}),
        "task_categories": list(facts.tasks),
        "size_categories": [size],
        "tags": ["multilingual", "instruction-tuning", "xllms"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def _lead(facts: CardFacts) -> str:
    made = f" Made with xllms {facts.version}." if facts.version else ""
    return f"{_total(facts):,} records in {len(_accepted(facts))} languages.{made}"


def _loading(facts: CardFacts) -> str:
    name = facts.repo_id or "path/of/this/folder"
    split = next((name for name, (_, count) in facts.splits.items() if count), "train")
    code = next(iter(_accepted(facts)), "swh_Latn")
    lines = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'data = load_dataset("{name}", split="{split}")',
        f'one_language = data.filter(lambda row: row["language"] == "{code}")',
        "```",
    ]
    counted = ((name, f"{count:,}") for name, (_, count) in facts.splits.items())
    return "\n".join(lines) + "\n\n" + _table(("split", "records"), counted)


def _languages(facts: CardFacts) -> str:
    rows = (
        (code, get(code).bcp47, get(code).name, f"{one.accepted:,}", f"{sum(one.dropped.values()):,}")
        for code, one in sorted(facts.languages.items())
    )
    return _table(("code", "BCP-47", "language", "accepted", "dropped"), rows)


def _dropped(facts: CardFacts) -> str:
    """Per gate: how many, and the languages that it hit hardest."""
    gates: dict[str, Counter[str]] = {}
    for code, one in facts.languages.items():
        for gate, count in one.dropped.items():
            gates.setdefault(gate, Counter())[code] += count
    rows = (
        (gate, f"{counts.total():,}", ", ".join(f"{get(code).name} {count:,}" for code, count in _largest(counts)))
        for gate, counts in sorted(gates.items(), key=lambda item: (-item[1].total(), item[0]))
        if counts.total()
    )
    return _table(("gate", "dropped", "most in"), rows)


def _largest(counts: Mapping[str, int], number: int = 5) -> list[tuple[str, int]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [item for item in ordered[:number] if item[1]]


def _counts(counts: Mapping[str, int], heads: tuple[str, str]) -> str:
    return _table(heads, ((name, f"{count:,}") for name, count in _largest(counts, len(counts))))


def _sources(facts: CardFacts) -> str:
    rows = (
        (f"[{one.name}]({one.link})" if one.link else one.name, f"{one.records:,}", one.licence, one.note)
        for one in facts.sources
    )
    return _table(("source", "records", "licence", "note"), rows)


def _contamination(facts: CardFacts) -> str:
    if not facts.contamination:
        return "Not looked for."
    rows = (
        (name, f"{one.items:,}", f"{one.found:,}", f"{one.removed:,}")
        for name, one in sorted(facts.contamination.items())
    )
    return _table(("benchmark", "items looked for", "records like one", "of these removed"), rows)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; empty where there are no rows."""
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *lines])


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
