"""From English seeds to Spanish, Catalan and Galician by Apertium: the real engine, from sources to cleaned splits."""

import importlib.util
import json
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED_DATA, shared_data
from xllms import pipeline
from xllms.engines.factory import translator_makers
from xllms.engines.protocol import Usage, Written
from xllms.errors import InputError
from xllms.instructions.shards import Lines, Shard, ShardResult, ShardTranslator
from xllms.manifest import read_manifest
from xllms.recipe import Recipe
from xllms.records import Instruction, read_jsonl
from xllms.splits import SPLITS, read_split

needs_apertium = pytest.mark.skipif(shutil.which("apertium") is None, reason="Apertium is not installed")
SEEDS = [
    ("Give three tips for staying healthy.", "", "Eat vegetables, sleep well and walk every day."),
    ("Name the capital of the country.", "France", "The capital of France is Paris."),
    ("Write a Python function that adds two numbers.", "", "def add(a, b):\n    return a + b"),
    ("Write a limerick about a cat.", "", "There once was a cat with a hat."),
    ("Summarise the text.", "See https://example.org/a?b=1 for the {name} of the report.",
     "The report of {name} is at https://example.org/a?b=1 now."),
]  # fmt: skip


def recipe(tmp_path: Path, rows: list[tuple[str, str, str]] = SEEDS, **more: Any) -> Recipe:
    path = tmp_path / "seeds.jsonl"
    path.write_text(
        "".join(json.dumps(dict(zip(("instruction", "input", "output"), r, strict=True))) + "\n" for r in rows)
    )
    source = {"type": "alpaca", "path": path, "validation_share": 0, "feedback_share": 0, "evaluation_share": 0}
    return Recipe.model_validate(
        {
            "output": tmp_path / "run",
            "languages": ["spa_Latn", "cat_Latn", "swh_Latn"],
            "translators": {"rules": {"type": "apertium"}},
            "instructions": {"sources": [source], "translation": {"translators": ["rules"], "shard": 2, **more}},
            "feedback": {"languages": ["spa_Latn"]},
            "evaluation": {"languages": ["spa_Latn"]},
        }
    )


@needs_apertium
def test_seeds_come_out_in_each_language_that_the_translator_has(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    pipeline.run(made, ("instructions",))
    train = read_split(tmp_path / "run" / "instructions", "train")
    assert set(train) == {"eng_Latn", "spa_Latn", "cat_Latn"}
    spanish = {record.parallel_id: record for record in train["spa_Latn"]}
    english = {record.parallel_id: record for record in train["eng_Latn"]}
    assert set(spanish) < set(english)
    by_text = {english[key].instruction: record for key, record in spanish.items()}
    health = by_text["Give three tips for staying healthy."]
    assert (health.response, health.made_by, health.instruction_language) == ("translated", "apertium", "spa_Latn")
    assert "verduras" in health.output.lower() or "vegetales" in health.output.lower()
    code = by_text["Write a Python function that adds two numbers."]
    assert (code.response, code.output) == ("kept", SEEDS[2][2])
    if "Summarise the text." in by_text:
        assert "https://example.org/a?b=1" in by_text["Summarise the text."].output
        assert "{name}" in by_text["Summarise the text."].output
    counts = read_manifest(tmp_path / "run" / "instructions")["counts"]
    assert counts["translation"]["without_translator"] == ["swh_Latn"]
    assert counts["translation"]["usage"]["apertium"]["requests"] > 0
    assert counts["languages"]["spa_Latn"]["dropped"]["untranslatable"] == 1  # the limerick
    assert not (tmp_path / "run" / "instructions" / "units").exists()


@needs_apertium
@pytest.mark.parametrize(
    "executor",
    [
        "processes",
        pytest.param(
            "ray", marks=pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
        ),
    ],
)
def test_executors_give_the_same_bytes(tmp_path: Path, executor: str) -> None:
    files = []
    for name in ("here", executor):
        (tmp_path / name).mkdir()
        made = recipe(tmp_path / name)
        made = made.model_copy(update={"instructions": made.instructions.model_copy(update={"executor": name})})
        pipeline.run(made, ("instructions",))
        files.append(read_manifest(tmp_path / name / "run" / "instructions")["files"])
    assert files[0] == files[1] != {}


@needs_apertium
def test_a_kill_between_shards_loses_nothing_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    rows = [(f"Explain why the {n} is good for the city.", "", f"The {n} brings people together.") for n in NOUNS]
    pipeline.run(recipe(tmp_path / "whole", rows), ("instructions",))
    made = recipe(tmp_path / "killed", rows)
    (tmp_path / "recipe.json").write_text(made.model_dump_json())
    code = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        from xllms import pipeline
        from xllms.instructions import shards
        from xllms.recipe import Recipe
        write, count = shards.ShardResult.write, iter(range(100))
        def deadly(self, path):
            if next(count) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, path)
        shards.ShardResult.write = deadly
        pipeline.run(Recipe.model_validate_json(Path({str(tmp_path / "recipe.json")!r}).read_text()), ("instructions",))
        """
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == -9
    units = tmp_path / "killed" / "run" / "instructions" / "units"
    before = {path.name: path.stat().st_mtime_ns for path in units.iterdir()}
    assert len(before) == 5
    pipeline.run(made, ("instructions",))
    folders = [tmp_path / name / "run" / "instructions" for name in ("whole", "killed")]
    assert read_manifest(folders[0])["files"] == read_manifest(folders[1])["files"]
    for split in SPLITS:
        for path in (folders[0] / split).glob("*.jsonl"):
            assert path.read_bytes() == (folders[1] / split / path.name).read_bytes()


NOUNS = ("park", "market", "library", "school", "river", "museum", "station", "garden", "theatre", "bridge")


@needs_apertium
def test_repeats_and_text_of_a_benchmark_are_taken_out_with_their_reasons(tmp_path: Path) -> None:
    xcopa = shared_data("xcopa", "en")
    row = json.loads(next(path for path in sorted(xcopa.iterdir())).read_text().splitlines()[0])
    rows = [
        *SEEDS[:2],
        (SEEDS[0][0] + " Please!", "", SEEDS[0][2] + " And drink some water."),
        ("What happened next?", row["premise"], "Nothing."),
    ]
    made = recipe(tmp_path, rows)
    cleaned = made.instructions.model_copy(
        update={
            "contamination": made.instructions.contamination.model_copy(update={"data": SHARED_DATA}),
            "duplicates": made.instructions.duplicates.model_copy(update={"threshold": 0.3}),
        }
    )
    pipeline.run(made.model_copy(update={"instructions": cleaned}), ("instructions",))
    folder = tmp_path / "run" / "instructions"
    counts = read_manifest(folder)["counts"]
    assert counts["languages"]["eng_Latn"]["dropped"] == {"contamination": 1, "duplicate": 1}
    found = counts["contamination"]["found"]
    assert [(one["benchmark"], one["field"]) for one in found if one["language"] == "eng_Latn"] == [("xcopa", "input")]
    assert len(list(read_jsonl(folder / "train" / "eng_Latn.jsonl", Instruction))) == 2


def test_a_translator_that_the_recipe_does_not_have_is_one_line(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    with pytest.raises(InputError, match=r"`rules` is not one of the recipe's `translators` \(none\)"):
        pipeline.run(made.model_copy(update={"translators": {}}), ("instructions",))


class Teacher:
    """Answers by rule: the protocol's path, where no real model in the tests writes any of these languages."""

    name = "teacher"

    def __init__(self) -> None:
        self.usage = Usage()

    def write(self, prompts: Any, max_new_tokens: int, sampling: Any = None, *, schema: Any = None) -> list[Written]:
        self.usage.requests += len(prompts)
        spanish = "Come muchas verduras, duerme bien por la noche y camina un poco todos los días con tus amigos."
        english = "You should eat what they gave you, and then they would have been there because of the weather."
        return [Written(english if "capital" in instruction else spanish, True) for instruction, _ in prompts]


@needs_apertium
@pytest.mark.parametrize("rule", ["translated", "written", "better"])
def test_responses_are_hybrid_by_rule_and_say_which_they_are(tmp_path: Path, rule: str) -> None:
    made = recipe(tmp_path, responses={"high": rule, "medium": rule})
    translation = made.instructions.translation
    assert translation is not None
    translators = translator_makers(made.translators, {}, None)
    about = {"language": "eng_Latn", "source": "test"}
    rows = [
        Instruction(id=str(n), parallel_id=str(n), instruction=i, input=g, output=o, **about)
        for n, (i, g, o) in enumerate(SEEDS)
    ]
    seeds = tmp_path / "rows.jsonl"
    seeds.write_text("".join(f'["train", {row.to_json()}]\n' for row in rows))
    shard = Shard(tmp_path / "unit.json", "spa_Latn", Lines(seeds, ((0, seeds.stat().st_size),)))
    ShardTranslator(translation, translators, Teacher)(shard)
    result = ShardResult.read(shard.path)
    kept = {record.parallel_id: record for _, record in result.kept}
    assert kept["0"].response == ("translated" if rule == "translated" else "written")
    assert kept["0"].made_by == ("apertium" if rule == "translated" else "apertium, teacher")
    assert kept["1"].response == "translated"  # what the teacher wrote is English, and was refused
    assert kept["2"].response == "kept"  # code
    assert result.usage["apertium"].requests > 0
    assert ("teacher" in result.usage) is (rule != "translated")


@needs_apertium
def test_gates_that_need_an_engine_refuse_with_their_reasons(tmp_path: Path) -> None:
    made = recipe(tmp_path, SEEDS[:2], gates={"min_round_trip": 100})
    made = made.model_copy(update={"languages": ("spa_Latn",)})
    pipeline.run(made, ("instructions",))
    dropped = read_manifest(tmp_path / "run" / "instructions")["counts"]["languages"]["spa_Latn"]["dropped"]
    assert dropped["round trip"] >= 1
