"""`xllms plan` as a user meets it: a table, JSON, one line for what is wrong, and no torch where no tokenizer is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from xllms.cli.exits import guarded

RECIPE = """\
output: {output}
languages: [Swahili, Thai]
model: {{name: {model}}}
instructions: {{sources: [{{type: cldr, train: 6, validation: 1, feedback: 2, evaluation: 2}}]}}
feedback: {{languages: [Swahili]}}
evaluation: {{languages: [Swahili]}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RECIPE.format(output=tmp_path / "run", model="bigscience/bloom-560m"))
    return path


def test_the_table_names_stages_languages_and_assumptions(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["plan", str(recipe), "--gpu", "a100", "--gpus", "sft=2", "--price", "1.5"]) == 0
    said = capsys.readouterr().out
    for text in ("559 M weights", "on A100-80", "Swahili (swh_Latn)", "ASSUMED: 40% of what A100-80's data sheet says"):
        assert text in said
    assert [line.split()[0] for line in said.splitlines()[3:8]] == [
        "instructions", "sft", "feedback", "dpo", "evaluation",
    ]  # fmt: skip
    assert not (recipe.parent / "run").exists()


def test_json_is_one_object(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["plan", str(recipe), "--gpu", "A10", "--price", "1", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    sft = value["stages"][1]
    assert (sft["stage"], sft["examples"], sft["steps"]) == ("sft", 12, 1)
    assert value["total"]["money"] == pytest.approx(value["total"]["gpu_hours"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "H1000"], "did you mean H100"),
        (["--gpus", "report=2"], "there is no stage `report`"),
        (["--price", "-1"], "cannot be below 0"),
        (["--efficiency", "1.5"], "above 0 and at most 1"),
        (["--efficiency", "0"], "above 0 and at most 1"),
        (["--parameters", "-7e9"], "must be above 0"),
        (["--measured-on", "A10"], "holds no finished sft or dpo stage"),
        (["--set", "model.name=some/model"], "--parameters 7e9"),
        (["--set", "instructions.sources.0.feedback=0"], "plan: feedback: none of its languages"),
        (["--set", "sft.lora.targets=[q_proj]"], "q_proj matches no layer of bigscience/bloom-560m"),
    ],
)
def test_what_is_wrong_is_one_line(
    recipe: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert guarded(["plan", str(recipe), *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_no_torch_is_needed(recipe: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from xllms.cli.exits import guarded\n"
        f"sys.exit(guarded(['plan', {str(recipe)!r}, '--gpu', 'H100']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "by bytes" in done.stdout
