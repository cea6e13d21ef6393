"""The command that says what a run will take, before it is started."""

from pathlib import Path
from typing import Annotated

import typer

from xllms.cli.app import app
from xllms.cli.stages import RecipePath, Sets


@app.command()
def plan(
    recipe: RecipePath,
    set_: Sets = None,
    gpu: Annotated[str, typer.Option("--gpu", metavar="NAME", help="H100, A100-80, L40S, ...: planned for.")] = "",
    gpus: Annotated[
        str, typer.Option("--gpus", metavar="STAGE=N,...", help="How many share a stage: sft=4,dpo=8; 1 else.")
    ] = "",
    price: Annotated[float | None, typer.Option("--price", help="Money for an hour of one GPU.")] = None,
    efficiency: Annotated[
        float | None,
        typer.Option("--efficiency", help="Share of the data sheet's speed that is reached; 0.4 is assumed."),
    ] = None,
    parameters: Annotated[
        float | None, typer.Option("--parameters", metavar="N", help="Weights of a model not at hand: 7e9.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", exists=True, help="Texts like those to come, as `xllms tokens` reads them."),
    ] = None,
    measured_on: Annotated[
        str, typer.Option("--measured-on", metavar="GPU", help="What the run's finished stages ran on.")
    ] = "",
    all_languages: Annotated[bool, typer.Option("--all-languages", help="Every language's row.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object instead.")] = False,
) -> None:
    """What a run will take: tokens, steps, hours, memory, disk, money; no GPU is needed.

    Example: xllms plan recipes/xllama-100.yaml --gpu H100 --gpus sft=4,dpo=8 --price 2.5
    """
    from xllms.planning import Options, as_json, find_gpu, format_plan, read_gpus
    from xllms.planning import plan as plan_run
    from xllms.recipe_file import load_recipe

    options = Options(
        gpu=find_gpu(gpu) if gpu else None,
        gpus=read_gpus(gpus),
        price=price,
        efficiency=efficiency,
        parameters=parameters,
        data=data,
        measured_on=find_gpu(measured_on) if measured_on else None,
    )
    found = plan_run(load_recipe(recipe, set_ or ()), options)
    print(as_json(found) if json else format_plan(found, all_languages=all_languages), end="")
