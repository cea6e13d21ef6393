"""The house holds: imports point one way, stages do not know each other, and what needs no torch loads none."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "xllms"
STAGES = {"instructions", "training", "feedback", "evaluation", "report"}
FOUNDATION = {
    "__init__",
    "errors",
    "executors",
    "formats",
    "records",
    "manifest",
    "memory",
    "predictions",
    "processes",
    "progress",
    "recipe",
    "recipe_file",
    "languages",
    "splits",
    "stopping",
}
SHARED = {"metrics", "prompting", "packing", "engines", "models"}
SEVERAL_STAGES = {
    "checking",
    "pipeline",
    "cli",
    "cluster",
    "comparing",
    "exporting",
    "generation",
    "merging",
    "planning",
    "showing",
    "token_report",
    "__main__",
}
TORCH_FREE = (
    "xllms.cli",
    "xllms.recipe",
    "xllms.recipe_file",
    "xllms.records",
    "xllms.manifest",
    "xllms.processes",
    "xllms.progress",
    "xllms.languages",
    "xllms.languages.identification",
    "xllms.splits",
    "xllms.metrics.text",
    "xllms.metrics.across_languages",
    "xllms.instructions.stage",
    "xllms.evaluation.stage",
    "xllms.evaluation.benchmarks.flores",
    "xllms.evaluation.benchmarks.paws_x",
    "xllms.evaluation.benchmarks.xcopa",
    "xllms.evaluation.judge",
    "xllms.comparing",
    "xllms.showing",
    "xllms.languages.confusion",
    "xllms.metrics.item_statistics",
    "xllms.metrics.translation",
    "xllms.metrics.rouge",
    "xllms.predictions",
    "xllms.prompting",
    "xllms.engines.openai",
    "xllms.engines.cache",
    "xllms.engines.factory",
    "xllms.exporting",
    "xllms.formats",
    "xllms.executors",
    "xllms.report",
    "xllms.pipeline",
    "xllms.planning",
    "xllms.cluster.submission",
    "xllms.stopping",
)
LONGEST = 350
MODULES = sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    """The first part of a module's name below xllms: a file's own, or its folder's."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


ROOMS = {room(path) for path in MODULES}


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(room that is imported, line), wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            inside = node.module == "xllms"  # from xllms import pipeline
            names = [f"xllms.{alias.name}" for alias in node.names] if inside else [str(node.module)]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "xllms":
                yield rest[0] if rest and rest[0] in ROOMS else "__init__", node.lineno


def strangers(rooms: set[str], may_know: set[str]) -> list[str]:
    """Imports of these rooms that reach beyond themselves and what they may know."""
    paths = [path for path in MODULES if room(path) in rooms]
    assert {room(path) for path in paths} == rooms
    return [
        f"{path.relative_to(SOURCE)}:{line}: {name}"
        for path in paths
        for name, line in imports(path)
        if name not in may_know | {room(path)}
    ]


def test_every_room_has_its_place() -> None:
    assert len(MODULES) > 40
    assert ROOMS == FOUNDATION | SHARED | STAGES | SEVERAL_STAGES


def test_the_foundation_knows_nothing_above_it() -> None:
    assert strangers(FOUNDATION, FOUNDATION) == []


def test_languages_know_only_what_an_error_is() -> None:
    assert strangers({"languages"}, {"errors"}) == []


def test_what_stages_share_knows_no_stage() -> None:
    assert strangers(SHARED, FOUNDATION | SHARED) == []


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_knows_no_other(stage: str) -> None:
    assert strangers({stage}, FOUNDATION | SHARED) == []


def test_only_the_pipeline_knows_all_stages() -> None:
    known = {name for name, _ in imports(SOURCE / "pipeline.py")}
    assert known >= STAGES
    assert strangers({"cli"}, FOUNDATION | SEVERAL_STAGES | {"report"}) == []


def test_what_needs_no_torch_loads_none() -> None:
    code = (
        "import importlib, json, sys\n"
        "found = {}\n"
        f"for name in {TORCH_FREE!r}:\n"
        "    importlib.import_module(name)\n"
        "    found[name] = [m for m in ('torch', 'transformers', 'peft', 'safetensors') if m in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: [] for name in TORCH_FREE}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_is_one_idea(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST
    if lines:
        assert ast.get_docstring(ast.parse("\n".join(lines))), "what is it?"
