"""What every side is given: token ids that xllms' prompting made, from real data."""

import functools
import json
import random
import tempfile
from pathlib import Path
from typing import Any

from xllms.instructions import stage as instructions
from xllms.languages import resolve
from xllms.prompting import PromptTemplate
from xllms.recipe_file import load_recipe
from xllms.records import Instruction
from xllms.splits import read_split

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
Sequences = list[list[list[int]]]  # [prompt ids, completion ids] of each sequence of one example


def case(name: str, task: str, examples: list[Sequences], steps: int = 1) -> dict[str, Any]:
    """One thing to train: `examples` in `steps` optimiser steps."""
    return {"name": name, "task": task, "examples": examples, "steps": steps}


def plain(template: PromptTemplate, count: int, tokens: tuple[int, int] = (60, 340)) -> list[Sequences]:
    """Instructions in four languages without any template: but for BOS nothing is shared."""
    records = []
    for language in ("en", "fr", "ru", "zh"):
        rows = _jsonl(DATA / "seed_tasks" / f"{language}.jsonl")
        records += [(f"{row['instruction']}\n{row.get('input') or ''}", row["output"]) for row in rows]
    for language in ("en", "zh"):
        rows = _json(DATA / "llamafactory_demo" / f"alpaca_{language}_demo.json")
        records += [(f"{row['instruction']}\n{row.get('input') or ''}", row["output"]) for row in rows]
    random.Random(0).shuffle(records)
    found: list[Sequences] = []
    firsts: set[tuple[int, ...]] = set()
    for prompt, output in records:
        ids = [list(template.plain_ids(prompt.strip() + "\n")), list(template.completion_ids(output))]
        first = tuple(ids[0][:3])
        if tokens[0] <= len(ids[0]) + len(ids[1]) <= tokens[1] and first not in firsts:
            firsts.add(first)  # no two begin alike
            found.append([ids])
        if len(found) == count:
            return found
    raise SystemExit(f"only {len(found)} examples of {tokens} tokens in {DATA}")


def short(template: PromptTemplate, count: int) -> list[Sequences]:
    """The quickstart's instructions."""
    return [[_ids(template, r.instruction, r.input, r.output)] for r in quickstart_records()[:count]]


def pairs(template: PromptTemplate, count: int, longest: int = 400) -> list[Sequences]:
    """Preference pairs in English and Chinese; a prompt is shared by its two answers."""
    rows = [
        row
        for language in ("en", "zh")
        for row in _json(DATA / "llamafactory_demo" / f"dpo_{language}_demo.json")
        if len(row["conversations"]) == 1
    ]
    random.Random(0).shuffle(rows)
    found = []
    for row in rows:
        prompt = row["conversations"][0]["value"]
        both = [_ids(template, prompt, "", row[side]["value"]) for side in ("chosen", "rejected")]
        if max(len(p) + len(c) for p, c in both) <= longest:
            found.append(both)
        if len(found) == count:
            return found
    raise SystemExit(f"only {len(found)} pairs of up to {longest} tokens in {DATA}")


def ranked(template: PromptTemplate, count: int, answers: int) -> list[Sequences]:
    """The quickstart's instructions, each with its answer and those of its neighbours: as feedback ranks them."""
    records = quickstart_records()
    found = []
    for start in range(count):
        row = records[start]
        outputs = list(dict.fromkeys(record.output for record in records[start : start + 4 * answers]))[:answers]
        found.append([_ids(template, row.instruction, row.input, output) for output in outputs])
    return found


def of_length(template: PromptTemplate, length: int, count: int) -> list[Sequences]:
    """Running text cut into examples of exactly `length` tokens, a quarter of each its prompt."""
    text = "\n".join(
        row["output"]
        for language in ("en", "zh")
        for row in _json(DATA / "llamafactory_demo" / f"alpaca_{language}_demo.json")
    )
    ids = list(template.plain_ids(text[: 12 * length * count]))
    bos, ids = ids[0], ids[1:]
    cut = [[bos, *ids[i * (length - 1) : (i + 1) * (length - 1)]] for i in range(count)]
    assert all(len(row) == length for row in cut)
    return [[[row[: length // 4], row[length // 4 :]]] for row in cut]


@functools.cache
def quickstart_records() -> list[Instruction]:
    """Training records of recipes/quickstart.yaml, shuffled as its seed says."""
    recipe = load_recipe(ROOT / "recipes" / "quickstart.yaml")
    with tempfile.TemporaryDirectory() as folder:
        instructions.run(recipe.instructions, resolve(recipe.languages), recipe.seed, Path(folder))
        records = [record for rows in read_split(Path(folder), "train").values() for record in rows]
    random.Random(recipe.seed).shuffle(records)
    return records


def _ids(template: PromptTemplate, instruction: str, input: str, output: str) -> list[list[int]]:
    sequence = template.sequence(instruction, input, output)
    return [list(sequence.prompt), list(sequence.completion)]


def _json(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise SystemExit(f"{path} is missing: the benchmark reads the data beside the checkout (../shared/data)")
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return rows


def _jsonl(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise SystemExit(f"{path} is missing: the benchmark reads the data beside the checkout (../shared/data)")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
