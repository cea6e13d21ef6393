"""Preference pairs of one's own: real files, facts that stay together, and a tiny model that trains on them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import shared_data, write_recipe
from xllms import pipeline
from xllms.errors import InputError
from xllms.manifest import STARTED, ChangedSettings, StageFolder, write_atomic
from xllms.recipe import DpoSettings
from xllms.recipe_file import load_recipe
from xllms.records import Instruction, Preference, Ranking, to_jsonl
from xllms.training.pairs import inputs, read_pairs, with_common_facts

NOWHERE = Path("no-feedback-here")


def demo(language: str) -> dict[str, Any]:
    path = shared_data("llamafactory_demo", f"dpo_{language}_demo.json")
    return {"path": str(path), "language": language}


def settings(*sources: dict[str, Any], **more: Any) -> DpoSettings:
    return DpoSettings.model_validate({"data": sources, **more})


def own_file(path: Path, *pairs: tuple[str, str, str]) -> dict[str, Any]:
    rows = [{"instruction": asked, "input": "", "prefered_output": c, "rejected_output": r} for asked, c, r in pairs]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return {"path": str(path), "language": "German", "instruction_language": "English"}


def pair(number: int, instruction: str, parallel_id: str) -> Preference:
    return Preference(
        id=str(number),
        instruction=instruction,
        chosen="yes",
        rejected="no",
        language="deu_Latn",
        chosen_reason="",
        rejected_reason="",
        parallel_id=parallel_id,
    )


def test_real_pairs_in_sharegpts_form() -> None:
    records, counts = read_pairs(settings(demo("en"), demo("zh")), NOWHERE)
    assert [count for _, count in counts.items()] == [300, 300]
    assert {record.language for record in records} == {"eng_Latn", "zho_Hans"}
    assert all(isinstance(record, Preference) and record.chosen_reason for record in records)


def test_a_pair_is_a_ranking_of_two_for_the_loss_over_rankings(tmp_path: Path) -> None:
    source = own_file(tmp_path / "own.json", ("Name a river.", "Der Rhein", "The Rhine"))
    (record,), counts = read_pairs(settings(source, loss="ranking"), NOWHERE)
    assert isinstance(record, Ranking)
    assert record.answers == ("Der Rhein", "The Rhine")
    assert (record.language, record.instruction_language) == ("deu_Latn", "eng_Latn")
    assert counts == {source["path"]: 1}


def test_two_pairs_of_one_prompt_are_one_fact(tmp_path: Path) -> None:
    pairs = [("Name a river.", "Der Rhein", "The Rhine"), ("Name a river.", "Die Elbe", "?"), ("A lake?", "Ja", "No")]
    one = own_file(tmp_path / "one.json", *pairs)
    two = own_file(tmp_path / "two.json", ("Name a river.", "Die Donau", "The Danube"))
    records, _ = read_pairs(settings(one, two), NOWHERE)
    facts = [record.parallel_id for record in records]
    assert facts[0] == facts[1] == facts[3] != facts[2]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", *"uvwxyz"])), max_size=12))
def test_what_shares_a_prompt_or_a_parallel_is_one_fact_and_nothing_else_is(drawn: Sequence[tuple[str, str]]) -> None:
    records = [pair(number, *one) for number, one in enumerate(drawn)]
    found = [record.parallel_id for record in with_common_facts(list(records))]
    groups: list[set[int]] = [{number} for number in range(len(records))]
    for at, one in enumerate(records):
        for before, other in enumerate(records[:at]):
            alike = one.instruction == other.instruction or one.parallel_id == other.parallel_id != ""
            if alike:
                merged = next(g for g in groups if at in g) | next(g for g in groups if before in g)
                groups = [g for g in groups if not g & merged] + [merged]
    group_of = {number: at for at, group in enumerate(groups) for number in group}
    for at in range(len(records)):
        for before in range(at):
            assert (found[at] == found[before]) == (group_of[at] == group_of[before])


def test_broken_rows_are_counted_or_stop_the_run(tmp_path: Path) -> None:
    source = own_file(tmp_path / "own.json", ("Name a river.", "Der Rhein", "The Rhine"), ("A lake?", " ", "No"))
    with pytest.raises(InputError, match=r"own\.json:1: record 1: field `prefered_output` is empty"):
        read_pairs(settings(source), NOWHERE)
    records, counts = read_pairs(settings({**source, "skip_bad": True}), NOWHERE)
    assert len(records) == 1
    assert counts.pop(f"{source['path']}: broken rows") == [
        f"{source['path']}:1: record 1: field `prefered_output` is empty; fill it or remove the record"
    ]
    assert counts == {source["path"]: 1, f"{source['path']}: broken": 1}
    only_bad = own_file(tmp_path / "bad.json", ("A lake?", " ", "No"))
    with pytest.raises(InputError, match=r"no row of .*bad\.json can be read"):
        read_pairs(settings({**only_bad, "skip_bad": True}), NOWHERE)
    with pytest.raises(InputError, match="names no `language`"):
        read_pairs(settings({"path": source["path"]}), NOWHERE)


@pytest.fixture(scope="module")
def trained(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run with a finished sft stage, and dpo on it; the run's folder."""
    folder = tmp_path_factory.mktemp("own-pairs")
    path = write_recipe(folder, tiny_model_folder)
    pipeline.run(load_recipe(path), ("instructions", "sft"))

    def run(*sources: dict[str, Any], stages: Sequence[str] = ("dpo",), overwrite: bool = False) -> Path:
        recipe = load_recipe(path, [f"dpo.data={json.dumps(sources)}", "dpo.max_length=200", "dpo.token_budget=2048"])
        pipeline.run(recipe, stages, overwrite=overwrite)
        return recipe.output

    return run


def manifest(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "dpo" / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_dpo_on_own_pairs_without_feedback_then_with_it(trained: Callable[..., Path], tmp_path: Path) -> None:
    asked = [(f"What is {number} plus 1?", f"Das ist {number + 1}.", "I do not know.") for number in range(20)]
    source = own_file(tmp_path / "own.json", *asked)
    run = trained(source)
    alone = manifest(run)
    assert alone["counts"]["records"] == {source["path"]: 20}
    assert set(alone["inputs"]) == {"sft", "evaluation", source["path"]}  # what is held out is not trained on
    assert (run / "dpo" / "adapter" / "adapter_model.safetensors").exists()
    losses = [json.loads(line) for line in (run / "dpo" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert any("deu_Latn" in json.dumps(row) for row in losses)

    own_file(tmp_path / "own.json", *asked[1:])  # the same path, other pairs
    with pytest.raises(ChangedSettings, match=r"own\.json gave other data"):
        trained(source)

    run = trained(source, stages=("feedback", "dpo"), overwrite=True)
    both = manifest(run)["counts"]["records"]
    assert both[source["path"]] == 19
    assert both["feedback"] > 10

    (run / "feedback" / "manifest.json").unlink()
    assert (run / "feedback" / STARTED).exists()
    with pytest.raises(InputError, match=r"'feedback' is not finished; run .*, or remove that folder to train on `dpo"):
        trained(source, overwrite=True)


def test_a_file_or_language_that_is_not_there_is_found_before_any_work(trained: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"dpo\.data: nowhere\.json: no such file"):
        trained({"path": "nowhere.json"}, stages=("instructions",))
    with pytest.raises(InputError, match="Germn"):
        trained({"path": __file__, "language": "Germn"}, stages=("instructions",))


def test_no_data_and_no_feedback(tiny_model_folder: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, tiny_model_folder))
    pipeline.run(recipe, ("instructions", "sft"))
    with pytest.raises(InputError, match="run `xllms feedback RECIPE` first"):
        pipeline.run(recipe, ("dpo",))


def finished(folder: Path, **files: str) -> Path:
    """The folder of a finished stage with these files."""
    stage = StageFolder(folder, folder.name, {}, {})
    stage.begin()
    paths = [folder / name.replace("__", "/") for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        write_atomic(path.with_suffix(".jsonl"), text)
    stage.finish({}, [path.with_suffix(".jsonl") for path in paths])
    return folder


def test_pairs_that_say_nothing_or_that_the_evaluation_asks_are_left_out_and_counted(tmp_path: Path) -> None:
    asked = Instruction(id="a", instruction="A lake?", output="Ja", language="deu_Latn", source="alpaca")
    instructions = finished(tmp_path / "instructions", evaluation__deu_Latn=to_jsonl([asked]))
    pairs = [("Name a river.", "Der Rhein", "The Rhine"), ("A lake?", "Ja", "No"), ("A sea?", "Ja ", "Ja")]
    source = own_file(tmp_path / "own.json", *pairs)
    records, counts = read_pairs(settings(source), NOWHERE, instructions)
    assert [record.instruction for record in records] == ["Name a river."]
    path = source["path"]
    assert counts == {path: 1, f"{path}: asked in the evaluation": 1, f"{path}: chosen is rejected": 1}
    assert inputs(settings(source), NOWHERE, instructions)["evaluation"]
    assert len(read_pairs(settings(source), NOWHERE, tmp_path / "none")[0]) == 2
    only = own_file(tmp_path / "only.json", ("A sea?", "Ja", "Ja"))
    with pytest.raises(InputError, match=r"no row of .*only\.json .*chosen is rejected: 1"):
        read_pairs(settings(only), NOWHERE)


def test_a_file_that_stands_twice_is_refused(tmp_path: Path) -> None:
    source = own_file(tmp_path / "own.json", ("Name a river.", "Der Rhein", "The Rhine"))
    again = {**source, "path": str(tmp_path / "." / "sub" / ".." / "own.json")}
    with pytest.raises(InputError, match=r"dpo\.data: .*own\.json stands twice"):
        inputs(settings(source, again), NOWHERE)


def test_feedback_that_finished_without_pairs_says_why_to_look_and_own_pairs_go_on(tmp_path: Path) -> None:
    feedback = finished(tmp_path / "feedback", preferences__deu_Latn="", rankings__deu_Latn="")
    with pytest.raises(InputError, match=r"feedback stage is finished and made no preferences; .*raise feedback\."):
        read_pairs(DpoSettings(), feedback)
    source = own_file(tmp_path / "own.json", ("Name a river.", "Der Rhein", "The Rhine"))
    records, counts = read_pairs(settings(source), feedback)
    assert len(records) == 1
    assert counts == {"feedback": 0, source["path"]: 1}


def test_one_prompt_under_two_facts_of_the_feedback_is_held_out_together(tmp_path: Path) -> None:
    pairs = [pair(1, "Name a river.", "one"), pair(2, "Name a river.", "two"), pair(3, "Name a lake.", "three")]
    feedback = finished(tmp_path / "feedback", preferences__deu_Latn=to_jsonl(pairs))
    records, _ = read_pairs(DpoSettings(), feedback)
    facts = [record.parallel_id for record in records]
    assert facts[0] == facts[1] != facts[2] == "three"
