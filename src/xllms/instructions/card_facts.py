"""What the data card says of a run's instruction data, from the stage's settings and counts."""

from collections.abc import Mapping
from typing import Any

from xllms import __version__
from xllms.instructions.card import CardFacts, Contamination, LanguageFacts, SourceFacts
from xllms.recipe import AlpacaSource, CldrSource, FileSource, InstructionsSettings
from xllms.splits import SPLITS

_CLDR = SourceFacts("cldr", "other", 0, "https://cldr.unicode.org", "Unicode licence v3")


def card_facts(settings: InstructionsSettings, counts: Mapping[str, Any]) -> CardFacts:
    """Facts for `write_card`.

    Args:
        settings: of the stage.
        counts: of its manifest.
    """
    languages = {
        code: LanguageFacts(sum(row[split] for split in SPLITS), row["dropped"])
        for code, row in counts["languages"].items()
    }
    compared = counts.get("contamination", {"texts": {}, "found": []})
    removed = dict.fromkeys(compared["texts"], 0)
    for row in compared["found"]:
        removed[row["benchmark"]] += row["records"]
    written = sum(counts["made_by"].values())
    total = sum(facts.accepted for facts in languages.values())
    return CardFacts(
        title="Multilingual instructions",
        languages=languages,
        sources=_sources(settings, counts["sources"]),
        splits={split: (f"{split}/*.jsonl", counts["splits"][split]) for split in SPLITS if counts["splits"][split]},
        writers={**counts["made_by"], **({"as in the source": total - written} if total > written else {})},
        kinds=counts["responses"],
        contamination={
            name: Contamination(compared["texts"][name], number, number) for name, number in sorted(removed.items())
        },
        version=__version__,
    )


def _sources(settings: InstructionsSettings, records: Mapping[str, int]) -> list[SourceFacts]:
    licences = {}
    for source in settings.sources:
        if isinstance(source, AlpacaSource):
            licences["alpaca"] = source.licence
        elif isinstance(source, FileSource):
            licences[source.path.stem] = source.licence
        elif not isinstance(source, CldrSource):
            licences[source.dataset] = source.licence
    return [
        SourceFacts("cldr", _CLDR.licence, number, _CLDR.link, _CLDR.note)
        if name == "cldr"
        else SourceFacts(name, licences.get(name, "unknown"), number)
        for name, number in sorted(records.items())
    ]
