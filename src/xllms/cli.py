"""The `xllms` command: parses, calls one stage, nothing more.

Imports at the top are kept light: help and a typo answer in a fraction of a second, and never load torch.
"""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from xllms.errors import InputError, XllmsError
from xllms.processes import is_main

app = typer.Typer(
    name="xllms",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Take an open language model to a hundred languages.\n\n"
    "A recipe (YAML) runs as stages, each from files to files: instructions, sft, feedback, dpo, evaluate, report. "
    "`run` does them all; a stage that is done is skipped, one that was killed goes on.",
    epilog="Start here: xllms run recipes/quickstart.yaml",
)

_INTERRUPTED = 130

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
        help="Folder with benchmark files (xcopa/...); adds xcopa to the benchmarks.",
    ),
]


@app.command()
def run(recipe: RecipePath, set_: Sets = None, overwrite: Overwrite = False, data: DataFolder = None) -> None:
    """Run all stages of a recipe, then print the before/after table and the path of the report.

    Example: xllms run recipes/quickstart.yaml --set output=runs/mine --set sft.learning_rate=2e-4
    """
    from xllms.pipeline import STAGES

    output = _run(recipe, set_, STAGES, overwrite, data)
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
def evaluate(recipe: RecipePath, set_: Sets = None, overwrite: Overwrite = False, data: DataFolder = None) -> None:
    """Stage 5: measure the base model and each tuned one, language by language.

    Example: xllms evaluate recipes/quickstart.yaml --data DIR --overwrite
    """
    output = _run(recipe, set_, ("evaluation",), overwrite, data)
    from xllms.report import summary_table

    print(summary_table(output))


@app.command()
def report(recipe: RecipePath, set_: Sets = None) -> None:
    """Write report.html from what the run holds (no torch needed)."""
    print(_run(recipe, set_, ("report",), False) / "report" / "report.html")


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


def main() -> None:
    """Entry point: every foreseeable failure is one line on standard error and an exit code."""
    sys.exit(_guarded(sys.argv[1:]))


def _guarded(arguments: list[str]) -> int:
    try:
        result = app(args=arguments, standalone_mode=False)
    except XllmsError as error:
        # Wrong input is the same in every process: the main one says it for all.
        return (
            error.exit_code if isinstance(error, InputError) and not is_main() else _fail(str(error), error.exit_code)
        )
    except KeyboardInterrupt:
        return _stopped()
    except BrokenPipeError:  # the reader went away, such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        return _missing(error)
    except Exception as error:
        return _unexpected(error)
    if result == _INTERRUPTED:  # typer takes Ctrl-C for a result
        return _stopped()
    return int(result) if isinstance(result, int) else 0


def _stopped() -> int:
    return _fail("stopped; what was finished is kept: run the same command again to go on", _INTERRUPTED)


def _unexpected(error: Exception) -> int:
    """Click's own errors, a full disk, and what nobody foresaw."""
    if type(error).__name__ == "Abort":
        return _stopped()
    shown = getattr(error, "format_message", None)
    if type(error).__name__ == "NoArgsIsHelpError" and shown is not None:
        print(shown(), file=sys.stderr)
        return 2
    if shown is not None:
        return _fail(f"{shown()} (see `xllms --help`)", getattr(error, "exit_code", 2))
    text = str(error)
    if (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)) or "No space left" in text:
        return _fail(
            "no space left on the disk; free some and run the same command again: what was finished is kept",
            1,
        )
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return _fail("out of memory; lower token_budget or max_length of the stage, or set model.dtype: bfloat16", 1)
    if os.environ.get("XLLMS_DEBUG"):
        raise error
    first = (text.strip().splitlines() or [""])[0]
    return _fail(f"{type(error).__name__}: {first} (a bug, please report it; XLLMS_DEBUG=1 shows where)", 1)


def _missing(error: ModuleNotFoundError) -> int:
    name = (error.name or "").partition(".")[0]
    if name in ("torch", "transformers", "peft", "accelerate", "safetensors"):
        return _fail(
            f"{name} is not installed; run `pip install -e '.[train]'` in the checkout (torch first, see the README)", 2
        )
    return _unexpected(error)


def _fail(message: str, code: int) -> int:
    print(f"xllms: {message}", file=sys.stderr)
    return code


def _print_tuned(stage: Path) -> None:
    if is_main():
        print(next(stage / name for name in ("adapter", "model") if (stage / name).exists()))


def _run(
    path: Path, sets: list[str] | None, stages: tuple[str, ...], overwrite: bool, data: Path | None = None
) -> Path:
    from xllms.recipe_file import load_recipe

    overrides = list(sets or [])
    if data is not None:
        overrides.append(f"evaluation.data={json.dumps(str(data))}")
    recipe: Any = load_recipe(path, overrides)
    if data is not None:
        names = ", ".join(dict.fromkeys([*recipe.evaluation.benchmarks, "xcopa"]))
        recipe = load_recipe(path, [*overrides, f"evaluation.benchmarks=[{names}]"])
    from xllms import pipeline

    pipeline.run(recipe, stages, overwrite=overwrite)
    output: Path = recipe.output
    return output


if __name__ == "__main__":
    main()
