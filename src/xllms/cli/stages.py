"""Commands that run stages of a recipe: parse, call one stage, say where its files are."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from xllms.cli.app import app
from xllms.errors import InputError
from xllms.processes import is_main

RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="YAML file, such as recipes/quickstart.yaml.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set sft.lora.r=16. May be repeated."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Make stages again whose settings changed, and those after them.")
]
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        exists=True,
        file_okay=False,
        help="Folder with benchmark files: xcopa/, paws_x/, ...",
    ),
]
Benchmarks = Annotated[
    list[str] | None,
    typer.Option("--benchmark", metavar="NAME", help="Measure this too: xcopa, flores, ./mine.py. May be repeated."),
]


@app.command()
def run(
    recipe: RecipePath,
    set_: Sets = None,
    overwrite: Overwrite = False,
    data: DataFolder = None,
    benchmark: Benchmarks = None,
) -> None:
    """Run all stages of a recipe, then print the before/after table and the path of the report.

    Example: xllms run recipes/quickstart.yaml --set output=runs/mine --set sft.learning_rate=2e-4
    """
    from xllms.pipeline import STAGES

    output = _run(recipe, [*(set_ or ()), *_measured(recipe, set_, data, benchmark)], STAGES, overwrite)
    from xllms.report import summary_table

    print(summary_table(output))
    print(f"\nreport: {output / 'report' / 'report.html'}")


@app.command()
def instructions(recipe: RecipePath, set_: Sets = None, overwrite: Overwrite = False) -> None:
    """Stage 1: build the instruction data of every language (no torch needed)."""
    print(_run(recipe, set_, ("instructions",), overwrite) / "instructions")


@app.command()
def sft(recipe: RecipePath, set_: Sets = None, overwrite: Overwrite = False) -> None:
    """Stage 2: supervised fine-tuning on the instruction data: an adapter (LoRA, QLoRA) or all weights.

    Several GPUs or machines: torchrun --nproc-per-node 4 -m xllms sft RECIPE
    """
    _print_tuned(_run(recipe, set_, ("sft",), overwrite) / "sft")


@app.command()
def feedback(recipe: RecipePath, set_: Sets = None, overwrite: Overwrite = False) -> None:
    """Stage 3: sample answers from the tuned model, rank them, write preference pairs."""
    print(_run(recipe, set_, ("feedback",), overwrite) / "feedback" / "preferences")


@app.command()
def dpo(recipe: RecipePath, set_: Sets = None, overwrite: Overwrite = False) -> None:
    """Stage 4: preference training on the pairs or rankings: DPO, or another of `xllms recipe dpo.loss`."""
    _print_tuned(_run(recipe, set_, ("dpo",), overwrite) / "dpo")


@app.command()
def evaluate(
    recipe: RecipePath,
    set_: Sets = None,
    overwrite: Overwrite = False,
    data: DataFolder = None,
    benchmark: Benchmarks = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Answer only the Kth of N parts, beside processes that answer the others; then run it without.",
        ),
    ] = None,
) -> None:
    """Stage 5: measure the base model and each tuned one, language by language.

    What is measured already stays; a benchmark, a language or a model more is added to it.

    Example: xllms evaluate recipes/quickstart.yaml --data DIR --benchmark xcopa --benchmark paws_x
    """
    sets = [*(set_ or ()), *_measured(recipe, set_, data, benchmark)]
    if part is not None:
        print(_run(recipe, sets, ("evaluation",), overwrite, _numbers(part)) / "evaluation" / "predictions")
        return
    output = _run(recipe, sets, ("evaluation",), overwrite)
    from xllms.report import summary_table

    print(summary_table(output))


@app.command()
def report(recipe: RecipePath, set_: Sets = None) -> None:
    """Write report.html from what the run holds (no torch needed)."""
    print(_run(recipe, set_, ("report",), False) / "report" / "report.html")


def _print_tuned(stage: Path) -> None:
    if is_main():
        print(next(stage / name for name in ("adapter", "model") if (stage / name).exists()))


def _measured(path: Path, sets: list[str] | None, data: Path | None, benchmarks: list[str] | None) -> list[str]:
    """What `--data` and `--benchmark` say, as keys of the recipe."""
    from xllms.recipe.evaluation import BENCHMARKS
    from xllms.recipe_file import load_recipe

    if data is None and not benchmarks:
        return []
    given = [] if data is None else [f"evaluation.data={json.dumps(str(data))}"]
    named: Any = load_recipe(path, [*(sets or ()), *given]).evaluation.benchmarks
    if data is not None and not benchmarks and all(name == "facts" for name in named):
        there = [name for name in BENCHMARKS if (data / name).is_dir()]
        raise InputError(
            f"--data {data}: which benchmark? Add --benchmark NAME"
            + (f"; it holds {', '.join(there)}" if there else f", one of {', '.join(BENCHMARKS)}")
        )
    return [*given, f"evaluation.benchmarks={json.dumps(list(dict.fromkeys([*named, *(benchmarks or ())])))}"]


def _numbers(part: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", part, re.ASCII)
    if found is None:
        raise InputError(f"--part {part}: give K/N, the Kth of N parts, such as 3/16")
    return int(found[1]), int(found[2])


def _run(
    path: Path,
    sets: list[str] | None,
    stages: tuple[str, ...],
    overwrite: bool,
    part: tuple[int, int] | None = None,
) -> Path:
    from xllms import pipeline
    from xllms.recipe_file import load_recipe

    recipe = load_recipe(path, list(sets or ()))
    pipeline.run(recipe, stages, overwrite=overwrite, part=part)
    return recipe.output
