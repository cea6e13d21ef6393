"""A merged model is base + adapter: the same answers, token for token; and what cannot be merged is said."""

from pathlib import Path

import pytest

from tests.conftest import write_recipe
from xllms import pipeline
from xllms.engines.local import LocalEngine
from xllms.errors import InputError
from xllms.merging import merge
from xllms.models import load
from xllms.recipe import ModelSettings
from xllms.recipe_file import load_recipe

PROMPTS = [("What is it called?", ""), ("Write a response.", "an input"), ("Below", ""), ("Is it an instruction?", "")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    recipe = write_recipe(tmp_path_factory.mktemp("merge"), tiny_model_folder)
    made = load_recipe(recipe, ["sft.learning_rate=0.01"])
    pipeline.run(made, ("instructions", "sft"))
    return made.output


def answers(settings: ModelSettings, tuned: Path | None = None) -> list[str]:
    return LocalEngine(load(settings, "alpaca", tuned)).answer(PROMPTS, 24)


def test_a_merged_model_answers_token_for_token_like_base_and_adapter(
    run: Path, tmp_path: Path, tiny_model_folder: Path
) -> None:
    folder = merge(run, tmp_path / "merged")
    base = ModelSettings(name=str(tiny_model_folder), dtype="float32")
    want = answers(base, run / "sft")
    assert want != answers(base)  # the adapter says something else than the base model
    assert answers(ModelSettings(name=str(folder), dtype="float32")) == want
    assert (folder / "template.json").exists()
    assert not any(path.name.startswith(".part-") for path in tmp_path.iterdir())


def test_only_the_main_process_writes(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    merge(run, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_what_cannot_be_merged_is_said_in_one_line(run: Path, tmp_path: Path) -> None:
    for arguments, says in [
        ((run, tmp_path), "is there already"),
        ((run, tmp_path / "new", "base"), "`base` is the base model"),
        ((run, tmp_path / "new", "dpo"), "has no finished `dpo` model; it has: base, sft"),
        ((run, tmp_path / "new", None, "int8"), "--dtype int8"),
        ((tmp_path, tmp_path / "new"), "not the folder of a run"),
    ]:
        with pytest.raises(InputError, match=says) as caught:
            merge(*arguments)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "new").exists()
