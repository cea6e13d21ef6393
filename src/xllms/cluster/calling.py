"""Calling a scheduler's commands: its own words where it refuses, and one line where there is none."""

import shutil
import subprocess
from collections.abc import Sequence

from xllms.errors import InputError, XllmsError

_PATIENCE = 120  # seconds; a busy controller answers late


class Refused(XllmsError):
    """A scheduler said no; quotes it."""


def call(words: Sequence[str], scheduler: str, stdin: str = "") -> str:
    """What a scheduler's command prints.

    Args:
        words: the command.
        scheduler: its name, for messages.
        stdin: what it reads.

    Raises:
        InputError: the command is not on this machine.
        Refused: it failed or did not answer; in its own words.
    """
    if shutil.which(words[0]) is None:
        raise InputError(
            f"there is no {scheduler} on this machine (`{words[0]}` is not found); log in where jobs are submitted, or "
            "take `--cluster local`"
        )
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{scheduler}: `{words[0]}` did not answer in {_PATIENCE} s; try again later") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        raise Refused(f"{scheduler}: {' / '.join(said[:3]) or f'`{words[0]}` ended with {done.returncode}'}")
    return done.stdout
