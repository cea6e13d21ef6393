"""The `xllms` command itself: its help, and nothing that takes time to import."""

import typer

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
