"""Commands around a run: ask its model, merge and export it, compare runs, look at answers, and the references."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from xllms.cli.app import app
from xllms.errors import InputError


@app.command()
def generate(
    instruction: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[Path, typer.Option("--model", metavar="RUN", help="Folder of a run, such as runs/quickstart.")],
    language: Annotated[str, typer.Option("--language", help="Language of the answer: name or code.")] = "English",
    given: Annotated[str, typer.Option("--input", help="Further text that the instruction is about.")] = "",
    stage: Annotated[
        str | None,
        typer.Option("--stage", help="base, sft or dpo; the last one that is finished if not given."),
    ] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 0.0,
    seed: int = 0,
) -> None:
    """Answer an instruction in a language with the tuned model.

    Example: xllms generate --model runs/quickstart --language Swahili 'What is the country "Norway" called in Swahili?'
    """
    from xllms.generation import answer

    said = answer(model, instruction, language, given, stage, max_new_tokens, temperature, seed)
    print(said.text)
    print(f"[{said.model}; asked in {said.language}; {said.verdict}]", file=sys.stderr)


@app.command()
def merge(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/quickstart.")],
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the whole model goes; must not exist yet.")],
    stage: Annotated[
        str | None, typer.Option("--stage", help="sft or dpo; the last one that is finished if not given.")
    ] = None,
    dtype: Annotated[
        str,
        typer.Option("--dtype", help="float32 answers as base + adapter do; bfloat16 is half as large, and rounds."),
    ] = "float32",
) -> None:
    """Merge a run's adapter into its base model: one folder that any library loads.

    Example: xllms merge runs/quickstart runs/merged --stage dpo
    """
    from xllms.merging import merge as merge_run

    print(merge_run(run, output, stage, dtype))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/quickstart.")],
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the files go; must not exist yet.")],
    stage: Annotated[str, typer.Option("--stage", help="instructions, or feedback for its pairs.")] = "instructions",
    form: Annotated[
        str,
        typer.Option("--form", help="xllms, alpaca, trl, messages, sharegpt; of pairs: xllms, authors, trl, messages."),
    ] = "xllms",
    container: Annotated[str, typer.Option("--as", help="jsonl, json or parquet.")] = "jsonl",
    language: Annotated[list[str] | None, typer.Option("--language", help="Name, code or group; repeatable.")] = None,
    push: Annotated[str, typer.Option("--push", metavar="OWNER/NAME", help="Send it to the hub, too.")] = "",
) -> None:
    """Write a run's instructions or preference pairs in a form that other tools read.

    Example: xllms export runs/quickstart exported --form trl --as parquet --language thirty
    """
    from xllms.exporting import export as export_run

    for name, number in export_run(run, output, stage, form, container, language or (), push).items():
        print(f"{output / name}: {number:,} records")


@app.command()
def tokens(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="A run's instructions folder, a data file, or a TSV.")],
    model: Annotated[str, typer.Option("--model", help="Whose tokenizer: as in a recipe's model.name.")],
    template: Annotated[str, typer.Option("--template", help="alpaca or chat.")] = "alpaca",
    max_length: Annotated[
        list[int] | None, typer.Option("--max-length", min=1, help="Lengths to cut at; repeatable.")
    ] = None,
    language: Annotated[str, typer.Option("--language", help="Of a file whose rows do not say theirs.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="Also write table, plot and page here.")
    ] = None,
) -> None:
    """What a tokenizer costs each language: fertility, bytes per token, what max_length cuts off.

    Example: xllms tokens runs/quickstart/instructions --model gemma3-270m --max-length 512 --output tokens
    """
    from xllms.token_report import main as token_report

    print(token_report(model, data, template, max_length or (256, 512, 1024, 2048), output, language=language))


@app.command()
def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="RUN[:MODEL]...", help="runs/a:sft runs/b:dpo; without MODEL its last one.")
    ],
    table: Annotated[
        list[str] | None, typer.Option("--table", help="xcopa.ranked, or a benchmark for all its tables; repeatable.")
    ] = None,
    own: Annotated[list[str] | None, typer.Option("--own", help="File of a benchmark of your own; repeatable.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="Also write scores and report page here.")
    ] = None,
) -> None:
    """Hold models against each other on the items that all answered: paired tests, over and within languages.

    Example: xllms compare runs/quickstart:sft runs/quickstart:dpo --output compared
    """
    from xllms.comparing import compare as compare_models
    from xllms.comparing import no_run, write
    from xllms.report import build, scores_table

    if output is not None:
        no_run(output)
    scores = compare_models(models, table or (), own or ())
    print(scores_table(scores))
    if output is not None:
        write(scores, output)
        print(f"\nreport: {build(output)}")


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/quickstart.")],
    table: Annotated[str, typer.Option("--table", help="Table of scores, such as xcopa.ranked; the first one.")] = "",
    model: Annotated[str, typer.Option("--model", help="base, sft or dpo; the last one.")] = "",
    language: Annotated[list[str] | None, typer.Option("--language", help="Name or code; repeatable; all.")] = None,
    worst: Annotated[int, typer.Option("--worst", min=1, help="How many of each language.")] = 3,
    only: Annotated[
        str, typer.Option("--only", help="Answers in the right, wrong or undecided language, empty or unparsed ones.")
    ] = "",
) -> None:
    """Print the worst answers of a model: what was asked, said, read and right, and the language it is in.

    Example: xllms show runs/quickstart --language Swahili --only wrong
    """
    from xllms.showing import show as show_worst

    print(show_worst(run, table, model, language or (), worst, only))


@app.command()
def languages(
    query: Annotated[
        str | None,
        typer.Argument(help="A name, a code, a group (hundred, thirty, flores-200), a script or a class."),
    ] = None,
) -> None:
    """Print the languages that xllms knows; with a query, those that match it."""
    from xllms.languages import all_languages, get, group, group_names, search
    from xllms.languages.table import format_table

    if query is None:
        found = list(all_languages())
    elif query in group_names():
        found = list(group(query))
    else:
        found = search(query) or [get(query)]  # get raises, with the nearest names
    print(format_table(found), end="")


@app.command()
def recipe(key: Annotated[str, typer.Argument(help="Only keys that begin so, such as sft.")] = "") -> None:
    """Print every key that a recipe may have, with its default and meaning."""
    from xllms.recipe_file import describe

    lines = [line for line in describe() if line.startswith(key)]
    if not lines:
        raise InputError(f"recipe: no key begins with `{key}`; `xllms recipe` prints all")
    print("\n".join(lines))
