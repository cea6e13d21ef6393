"""What a recipe's own sources hold: counted as stage 1 counts them, translated, or stood in for; pairs of one's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shared_data
from xllms import pipeline
from xllms.errors import InputError
from xllms.manifest import read_manifest
from xllms.planning import plan
from xllms.planning.data import instruction_data
from xllms.planning.pairs import held_back
from xllms.planning.planner import Options
from xllms.planning.run_plan import RunPlan
from xllms.recipe import Recipe
from xllms.records import Instruction

Make = Callable[..., Recipe]
ALPACA = ("llamafactory_demo", "alpaca_en_demo.json")


@pytest.fixture
def make(tmp_path: Path, tiny_model_folder: Path) -> Make:
    def made(**more: Any) -> Recipe:
        source = {"type": "alpaca", "path": str(shared_data(*ALPACA)), "feedback_share": 0.1}
        common = {
            "output": str(tmp_path / "run"),
            "languages": ["English", "German"],
            "model": {"name": str(tiny_model_folder)},
            "instructions": {"sources": [source], "duplicates": None},
            "feedback": {"languages": ["English"]},
            "evaluation": {"languages": ["English"]},
        }
        return Recipe.model_validate({**common, **more})

    return made


def source_of(recipe: Recipe) -> Any:
    return recipe.instructions.sources[0].model_dump(mode="json")


def stage_of(found: RunPlan, name: str) -> Any:
    return next(one for one in found.stages if one.stage == name)


def test_own_records_are_counted_as_stage_1_counts_them(make: Make) -> None:
    recipe = make()
    before = instruction_data(recipe, finished=False)
    pipeline.run(recipe, ("instructions",))
    made = read_manifest(recipe.output / "instructions")["counts"]["splits"]
    assert {split: sum(part.count for part in parts.values()) for split, parts in before.splits.items()} == made
    after = instruction_data(recipe, finished=True)
    assert after.records == before.records > 900
    for split, parts in after.splits.items():
        assert before.splits[split]["eng_Latn"].bytes == pytest.approx(parts["eng_Latn"].bytes, rel=0.01)


def test_what_will_be_translated_costs_each_language_its_own_tokens(make: Make) -> None:
    recipe = make()
    translated = make(
        languages=["English", "German", "Amharic"],
        instructions={
            "sources": [source_of(recipe)],
            "duplicates": None,
            "translation": {"translators": ["cloud"]},
        },
        translators={"cloud": {"type": "google", "project": "p", "price": 20}},
        sft={"max_length": 100_000},
    )
    found = plan(translated, Options(price=0))
    rows = {row.code: row for row in found.languages}
    assert rows["deu_Latn"].records == pytest.approx(rows["eng_Latn"].records, rel=0.01)
    # A small vocabulary takes 7.7 tokens of Amharic for one of English.
    assert rows["amh_Ethi"].tokens_each > 4 * rows["eng_Latn"].tokens_each
    values = json.loads(shared_data(*ALPACA).read_text(encoding="utf-8"))
    characters = sum(len(row["instruction"]) + len(row["input"]) + len(row["output"]) for row in values)
    assert stage_of(found, "instructions").money == pytest.approx(2 * 20 * characters / 1e6, rel=0.1)
    assert any("gates refuse some" in note for note in found.notes)


def test_data_stand_in_for_what_is_not_made_yet(make: Make) -> None:
    recipe = make(instructions={"sources": [{"type": "cldr", "train": 5}]}, languages=["English", "German"])
    chinese = make(instructions={"sources": [{"type": "cldr", "train": 5}]}, languages=["English", "Chinese"])
    flores = shared_data("flores200", "dev510.tsv.xz")
    own, stood_in = plan(recipe), plan(recipe, Options(data=flores))
    assert "their length that of" in stood_in.sources["records"]
    for before, after in zip(*(sorted(one.languages, key=lambda r: r.code) for one in (own, stood_in)), strict=True):
        assert (before.code, before.records) == (after.code, after.records)
        assert after.tokens_each > 1.3 * before.tokens_each  # a sentence of FLORES is longer than a name
    demo = shared_data("llamafactory_demo", "alpaca_zh_demo.json")
    with pytest.raises(InputError, match="language"):
        plan(chinese, Options(data=demo))


def test_pairs_of_ones_own_are_counted(make: Make) -> None:
    pairs = shared_data("llamafactory_demo", "dpo_zh_demo.json")
    few = {"instructions": {"sources": [{"type": "cldr", "train": 5}]}}
    without = stage_of(plan(make(**few)), "dpo")
    with_them = stage_of(plan(make(**few, dpo={"data": [{"path": str(pairs), "language": "Chinese"}]})), "dpo")
    assert with_them.records == without.records + 300


def test_facts_are_held_back_as_in_training() -> None:
    from xllms.packing import TokenSequence
    from xllms.training.dpo import _split
    from xllms.training.examples import Example

    records = [
        Instruction(id=f"{n}", instruction=f"{n}", output="x", language="deu_Latn", source="s", parallel_id=f"f{n % 7}")
        for n in range(40)
    ]
    sequence = TokenSequence((1,), (2,))
    examples = [Example(r.language, (sequence, sequence), fact=r.parallel_id, id=r.id) for r in records]
    for seed in range(5):
        for share in (0.0, 0.1, 0.3):
            kept, held = held_back(records, share, seed)
            real = _split(examples, share, seed)
            assert [[one.id for one in part] for part in (kept, held)] == [[one.id for one in part] for part in real]


def test_a_missing_file_is_one_line(make: Make, tmp_path: Path) -> None:
    recipe = make(instructions={"sources": [{"type": "alpaca", "path": str(tmp_path / "none.json")}]})
    with pytest.raises(InputError, match=r"none\.json"):
        plan(recipe)
