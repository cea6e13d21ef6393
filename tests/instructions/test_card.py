"""The card as the hub's own library reads it, and as a reader does."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import shared_data
from xllms.errors import InputError
from xllms.formats import read_instructions, write_instructions
from xllms.instructions.card import CardFacts, Contamination, LanguageFacts, SourceFacts, card_text, write_card
from xllms.languages import get

FACTS = CardFacts(
    title="Hundred: a test",
    languages={
        "swh_Latn": LanguageFacts(1200, {"off-target": 30, "too | long\nby far": 2}),
        "zho_Hant": LanguageFacts(800, {"off-target": 5}),
        "nob_Latn": LanguageFacts(500),
        "amh_Ethi": LanguageFacts(0, {"off-target": 7}),
    },
    sources=[
        SourceFacts("cldr", "unicode-3.0", 2000, "https://cldr.unicode.org"),
        SourceFacts("alpaca", "cc-by-nc-4.0", 500, note="written by a model"),
    ],
    splits={"train": ("train/*.jsonl", 2400), "validation": ("validation/*.jsonl", 100), "feedback": ("f/*", 0)},
    writers={"nllb:nllb-200-1.3B": 1500, "as in the source": 1000},
    kinds={"territory": 2000, "alpaca": 500},
    contamination={"xcopa": Contamination(500, 3, 3)},
)


def test_the_hubs_library_reads_the_front_matter(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    text = write_card(tmp_path, FACTS)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text
    data = hub.DatasetCard.load(tmp_path / "README.md").data
    assert data.pretty_name == "Hundred: a test"
    assert data.language == [get("Norwegian Bokmål").bcp47, "sw", "zh-Hant"]
    assert data.license == ["cc-by-nc-4.0", "unicode-3.0"]
    assert data.task_categories == ["text-generation"]
    assert data.size_categories == ["1K<n<10K"]
    assert [one["split"] for one in data.configs[0]["data_files"]] == ["train", "validation"]


def test_every_count_is_said() -> None:
    text = card_text(FACTS)
    for line in (
        "2,500 records in 3 languages.",
        "| swh_Latn | sw | Swahili | 1,200 | 32 |",
        "| amh_Ethi | am | Amharic | 0 | 7 |",
        "| off-target | 42 | Swahili 30, Amharic 7, Chinese (Traditional) 5 |",
        "| too \\| long by far | 2 | Swahili 2 |",
        "| nllb:nllb-200-1.3B | 1,500 |",
        "| territory | 2,000 |",
        "| [cldr](https://cldr.unicode.org) | 2,000 | unicode-3.0 |  |",
        "| xcopa | 500 | 3 | 3 |",
        "| feedback | 0 |",
    ):
        assert line in text.splitlines()
    assert "Not looked for." in card_text(replace(FACTS, contamination={}))
    assert "Kinds of responses" not in card_text(replace(FACTS, kinds={}))


def test_the_card_loads_the_folder_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    demo = shared_data("llamafactory_demo", "alpaca_en_demo.json")
    count = write_instructions(tmp_path / "data/train/eng_Latn.jsonl", read_instructions(demo, language="en"))
    text = write_card(
        tmp_path / "data",
        CardFacts(
            title="Demo",
            languages={"eng_Latn": LanguageFacts(count)},
            sources=[SourceFacts("alpaca", "apache-2.0", count)],
            splits={"train": ("train/*.jsonl", count)},
            repo_id=str(tmp_path / "data"),
        ),
    )
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    code = text.partition("```python\n")[2].partition("```")[0]
    names: dict[str, list[object]] = {}
    exec(code, names)
    assert len(names["one_language"]) == len(names["data"]) == count > 900


def test_facts_that_do_not_agree_are_refused() -> None:
    with pytest.raises(InputError, match="its languages have 2500 records, its splits 2400"):
        card_text(replace(FACTS, splits={"train": ("train/*", 2400)}))
    with pytest.raises(InputError, match="needs at least one language and one source"):
        card_text(replace(FACTS, sources=[]))
    with pytest.raises(InputError, match="unknown language 'Klingonish'"):
        card_text(replace(FACTS, languages={"Klingonish": LanguageFacts(2500)}))


BOUNDS = {
    "n<1K": (0, 10**3),
    "1K<n<10K": (10**3, 10**4),
    "10K<n<100K": (10**4, 10**5),
    "100K<n<1M": (10**5, 10**6),
    "1M<n<10M": (10**6, 10**7),
    "10M<n<100M": (10**7, 10**8),
    "100M<n<1B": (10**8, 10**9),
    "n>1B": (10**9, 10**11),
}
SECTIONS = 6  # nothing was dropped


@given(st.text(min_size=1), st.integers(0, 10**10))
@settings(deadline=None)
def test_any_title_and_size_give_front_matter_that_parses(title: str, count: int) -> None:
    facts = replace(
        FACTS, title=title, languages={"swh_Latn": LanguageFacts(count)}, splits={"train": ("train/*", count)}
    )
    text = card_text(facts)
    assert text.startswith("---\n")
    front = yaml.safe_load(text.removeprefix("---\n").partition("\n---\n")[0])
    assert front["pretty_name"] == " ".join(title.split())
    (size,) = front["size_categories"]
    low, high = BOUNDS[size]
    assert low <= count < high
    assert len([line for line in text.splitlines() if line.startswith("## ")]) == SECTIONS
