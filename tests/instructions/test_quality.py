"""Quality estimation as a gate: real translations, scored by a command with comet-score's arguments."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.instructions.test_translation import recipe
from xllms import pipeline
from xllms.errors import InputError, XllmsError
from xllms.instructions.shards import ShardTranslator
from xllms.manifest import read_manifest
from xllms.recipe.gates import GateSettings
from xllms.records import read_json_lines

needs_apertium = pytest.mark.skipif(shutil.which("apertium") is None, reason="Apertium is not installed")
# Estimates a translation of a question high if it is one, too; reads no references, as COMET-Kiwi.
ESTIMATOR = """\
import argparse, json, pathlib
parser = argparse.ArgumentParser()
for option in ("--sources", "--translations", "--model", "--to_json"):
    parser.add_argument(option, required=True)
parser.add_argument("--gpus", type=int, required=True)
parser.add_argument("--quiet", action="store_true")
parser.add_argument("--only_system", action="store_true")
asked = parser.parse_args()
lines = lambda path: pathlib.Path(path).read_text(encoding="utf-8").split("\\n")[:-1]
pairs = list(zip(lines(asked.sources), lines(asked.translations), strict=True))
found = [{"COMET": 0.81 if before[-1] == after[-1] == "?" else 0.41} for before, after in pairs]
with pathlib.Path(__file__).with_name("log").open("a", encoding="utf-8") as log:
    log.write(json.dumps([asked.model, asked.gpus, pairs]) + "\\n")
pathlib.Path(asked.to_json).write_text(json.dumps({asked.translations: found}), encoding="utf-8")
"""
SEEDS = [
    ("Give three tips for staying healthy.", "", "Eat vegetables, sleep well and walk every day."),
    ("What is the capital of the country?", "France", "The capital of France is Paris."),
    ("Describe the house of the doctor.", "", "The house is red and very big."),
]


@pytest.fixture
def command(tmp_path: Path) -> str:
    script = tmp_path / "estimate quality.py"
    script.write_text(ESTIMATOR, encoding="utf-8")
    return f"{sys.executable} '{script}'"


def run(tmp_path: Path, languages: tuple[str, ...] = ("spa_Latn",), **gates: Any) -> Path:
    made = recipe(tmp_path, SEEDS, gates=gates, shard=len(SEEDS))
    pipeline.run(made.model_copy(update={"languages": languages}), ("instructions",))
    return tmp_path / "run" / "instructions"


def asked(tmp_path: Path) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """What each call of the command was given: model, GPUs, sources with translations."""
    path = tmp_path / "log"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@needs_apertium
def test_what_is_estimated_low_is_refused_with_the_estimate(tmp_path: Path, command: str) -> None:
    folder = run(tmp_path, min_quality=0.5, quality_command=command, quality_model="kiwi", quality_gpus=1)
    assert read_manifest(folder)["counts"]["languages"]["spa_Latn"]["dropped"] == {"quality": 2}
    refused = [row for _, row in read_json_lines(folder / "rejected" / "spa_Latn.jsonl")]
    assert {row["reason"] for row in refused} == {"quality: 0.41"}
    ((model, gpus, pairs),) = asked(tmp_path)
    assert (model, gpus) == ("kiwi", 1)
    assert sorted(source for source, _ in pairs) == sorted(instruction for instruction, _, _ in SEEDS)


@needs_apertium
def test_a_language_may_have_a_threshold_of_its_own_or_none(tmp_path: Path, command: str) -> None:
    own = {"Catalan": {"min_quality": None}, "Spanish": {"min_quality": 0.9}}
    both = ("spa_Latn", "cat_Latn")
    folder = run(tmp_path, both, min_quality=0.5, quality_command=command, overrides=own)
    languages = read_manifest(folder)["counts"]["languages"]
    assert languages["spa_Latn"]["dropped"] == {"quality": 3}
    assert languages["cat_Latn"]["dropped"] == {}
    assert sum(len(pairs) for _, _, pairs in asked(tmp_path)) == len(SEEDS)


@needs_apertium
def test_what_another_gate_has_refused_is_not_asked(tmp_path: Path, command: str) -> None:
    folder = run(tmp_path, min_quality=0.5, quality_command=command, min_round_trip=100)
    dropped = read_manifest(folder)["counts"]["languages"]["spa_Latn"]["dropped"]
    assert dropped["round trip"] >= 1
    assert sum(len(pairs) for _, _, pairs in asked(tmp_path)) == len(SEEDS) - dropped["round trip"]


@needs_apertium
def test_a_command_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(XllmsError, match=r"COMET: .* ended with") as caught:
        run(tmp_path, min_quality=0.5, quality_command=f"{sys.executable} -c 'raise SystemExit(3)'")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        ({"min_quality": 0.5, "quality_command": "comet-score-nowhere"}, "no command 'comet-score-nowhere' here"),
        (
            {"overrides": {"Spanish": {"min_quality": 0.5, "quality_command": "absent -q"}}},
            "no command 'absent -q' here",
        ),
        ({"min_quality": 0.5, "quality_command": "comet 'score"}, "cannot be read: No closing quotation"),
    ],
)
def test_without_comet_nothing_is_translated_first(tmp_path: Path, gates: dict[str, Any], said: str) -> None:
    translation = recipe(tmp_path, SEEDS, gates=gates).instructions.translation
    assert translation is not None
    with pytest.raises(InputError, match=said) as caught:
        ShardTranslator(translation, {}, None)
    assert "\n" not in str(caught.value)


def test_settings_out_of_bounds_are_refused() -> None:
    for wrong in ({"min_quality": 41}, {"quality_gpus": -1}, {"quality_model": ""}):
        with pytest.raises(ValidationError):
            GateSettings.model_validate(wrong)
    assert GateSettings().of_all_languages == (GateSettings(),)
