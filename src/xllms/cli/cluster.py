"""Commands that run a recipe's stages on a cluster: submit, and look after what was submitted."""

from pathlib import Path
from typing import Annotated

import typer

from xllms.cli.app import app
from xllms.cli.stages import RecipePath, Sets

Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/quickstart.")]
Stages = Annotated[
    list[str] | None,
    typer.Option("--stage", help="instructions, sft, feedback, dpo, evaluation or report; repeatable; all."),
]


@app.command()
def submit(
    recipe: RecipePath,
    cluster: Annotated[str, typer.Option("--cluster", metavar="NAME", help="A site of clusters.yaml, or local.")],
    stage: Stages = None,
    set_: Sets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the scripts, submit nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit as the first job that failed.")] = False,
    clusters: Annotated[
        Path | None, typer.Option("--clusters", metavar="FILE", help="Instead of clusters.yaml here.")
    ] = None,
) -> None:
    """Submit a recipe's stages as jobs that wait for each other, on LSF, Slurm or this machine: all of them or none.

    Example: xllms submit recipes/xllama-100.yaml --cluster mine --dry-run
    """
    from xllms.cluster.scheduler import scheduler_of
    from xllms.cluster.site import find_site
    from xllms.cluster.status import status_table
    from xllms.cluster.submission import place_of, planned
    from xllms.cluster.submission import submit as submit_run
    from xllms.recipe_file import load_recipe

    site, loaded = find_site(cluster, clusters), load_recipe(recipe, list(set_ or ()))
    if dry_run:
        place = place_of(loaded.output)
        for script in planned(loaded, site, stage or (), scheduler_of(site, place.folder), place):
            print(script)
        return
    submission = submit_run(loaded, site, cluster, stage or ())
    print(status_table(submission))
    if wait:
        raise typer.Exit(submission.wait())


@app.command()
def status(
    run: Run,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit as the first job that failed.")] = False,
) -> None:
    """Where a run's jobs and stages stand: the scheduler's word and the files', in one table."""
    from xllms.cluster.status import status_json, status_table
    from xllms.cluster.submission import Submission

    submission = Submission(run)
    code = submission.wait() if wait else 0
    print(status_json(submission) if as_json else status_table(submission))
    if code:
        raise typer.Exit(code)


@app.command()
def logs(
    run: Run,
    stage: Stages = None,
    task: Annotated[int | None, typer.Option("--task", help="One task of the evaluation.")] = None,
    lines: Annotated[int, typer.Option("--lines", min=1, help="Of each log, the last ones.")] = 20,
) -> None:
    """What a run's jobs have said."""
    from xllms.cluster.status import log_lines
    from xllms.cluster.submission import Submission

    for line in log_lines(Submission(run), stage or (), task, lines):
        print(line)


@app.command()
def cancel(run: Run, stage: Stages = None) -> None:
    """Cancel a run's jobs, or one stage's and those that wait for it; what is finished is kept."""
    from xllms.cluster.submission import Submission

    ended = Submission(run).cancel(stage or ())
    print("\n".join(f"{job.name}: job {job.id} is cancelled" for job in ended) or "nothing to cancel: all have ended")
