"""COMET and COMET-Kiwi (Rei et al. 2020, 2022) by their own command, `comet-score` of unbabel-comet.

It pins old libraries (transformers 4, numpy 1, and a pkg_resources that setuptools 81 dropped), so it lives in an
environment of its own and is spoken to by files:

    python -m venv comet
    comet/bin/pip install unbabel-comet "setuptools<81"
    comet/bin/comet-score --help

The model is a name on the hub, fetched at the first use, or a `.ckpt` file with `hparams.yaml` one folder above it.
COMET-Kiwi's models ask for an accepted licence there. A model that reads references says so itself if it gets none.
"""

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from xllms.errors import InputError, XllmsError

COMMAND = "comet-score"


def segment_scores(
    sources: Sequence[str],
    outputs: Sequence[str],
    references: Sequence[str] | None,
    model: str,
    command: str = COMMAND,
    gpus: int = 0,
) -> list[float]:
    """COMET's score of each translation, most of them 0 to 1; `mean_of` them is the system's.

    Args:
        sources: what was translated.
        outputs: translations, as many.
        references: as many, or None for a model that reads none (COMET-Kiwi).
        model: such as Unbabel/wmt22-comet-da, or a checkpoint file.
        command: how `comet-score` is called; may have arguments of its own.
        gpus: that COMET may use; 0 runs it on the CPU.

    Raises:
        InputError: the command is not there; says how to install it.
        XllmsError: it failed, or did not score every segment; quotes its last line.
        ValueError: no translations, or not as many of all.
    """
    texts = {"sources": sources, "translations": outputs} | ({} if references is None else {"references": references})
    if not outputs or len({len(side) for side in texts.values()}) != 1:
        raise ValueError("as many of all, and one at least: " + ", ".join(f"{len(v)} {k}" for k, v in texts.items()))
    words = command_words(command)
    with tempfile.TemporaryDirectory(prefix="xllms-comet-") as name:
        folder = Path(name)
        for side, lines in texts.items():
            _write_lines(folder / side, lines)
            words += [f"--{side}", str(folder / side)]
        result = folder / "scores.json"
        _run([*words, "--model", model, "--gpus", str(gpus), "--to_json", str(result), "--quiet", "--only_system"])
        return _read_scores(result, len(outputs))


def command_words(command: str = COMMAND) -> list[str]:
    """The words of a command line that can be called here.

    Raises:
        InputError: the command is not there; says how to install it.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"COMET: the command {command!r} cannot be read: {error}") from None
    if not words or shutil.which(words[0]) is None:
        raise InputError(
            f"COMET: no command {command!r} here; install it in an environment of its own (python -m venv comet; "
            'comet/bin/pip install unbabel-comet "setuptools<81") and name comet/bin/comet-score'
        )
    return words


def _write_lines(path: Path, texts: Sequence[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(re.sub(r"[\r\n]+", " ", text) + "\n" for text in texts)


def _run(words: Sequence[str]) -> None:
    # Its environment is not ours: a PYTHONPATH would bring our libraries into it.
    environment = {key: setting for key, setting in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode:
        said = [line.strip() for line in (done.stdout + "\n" + done.stderr).splitlines() if line.strip()]
        raise XllmsError(f"COMET: {words[0]} ended with {done.returncode}: {said[-1] if said else 'it said nothing'}")


def _read_scores(path: Path, expected: int) -> list[float]:
    try:
        (segments,) = json.loads(path.read_text(encoding="utf-8")).values()
        scores = [float(segment["COMET"]) for segment in segments]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise XllmsError(f"COMET: its result is not in the form of unbabel-comet 2.2 ({error!r})") from error
    wrong = [number for number, score in enumerate(scores, 1) if not math.isfinite(score)]
    if wrong:
        raise XllmsError(f"COMET: {len(wrong)} of {len(scores)} scores are no numbers, first that of item {wrong[0]}")
    if len(scores) != expected:
        raise XllmsError(f"COMET: it scored {len(scores)} of {expected} items")
    return scores
