"""Apertium's rule-based translation, offline, by its command: 150 to 600 lines of Alpaca a second, pair by pair.

A unit goes through one process a step, as blocks between blank lines: without these the rules reorder words across a
line break. Where no mode leads from one language to the other, a third stands between, mostly Spanish.
"""

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

import regex

from xllms.engines.protocol import EngineError, Usage
from xllms.languages import Language, all_languages
from xllms.recipe.engines import ApertiumSettings

INSTALL = (
    "apt-get install --no-install-recommends apertium apertium-eng-spa apertium-eng-cat apertium-en-gl apertium-eo-en "
    "apertium-hbs-eng apertium-es-pt apertium-spa-ita apertium-fr-es apertium-spa-ast apertium-oc-es"
)
# Apertium's names beside the ISO codes; the later, the better: eng-hbs_HR writes Croatian, eng-hbs a mixture.
_OTHER_CODES = (
    ("hbs", "bos_Latn"),
    ("hbs", "hrv_Latn"),
    ("hbs_BS", "bos_Latn"),
    ("hbs_HR", "hrv_Latn"),
    ("zlm", "zsm_Latn"),
    ("sqi", "als_Latn"),
    ("ara", "arb_Arab"),
    ("aze", "azj_Latn"),
)
_LINES_AT_ONCE = 2000  # what one process is given, so that memory stays bounded
_BREAK = regex.compile(r"(\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029])")
# A NUL ends Apertium's stream; half a surrogate pair is no UTF-8.
_CONTROL = regex.compile(r"[[\p{Cc}\p{Cs}]--\t]", regex.V1)


class ApertiumTranslator:
    """Translates with the language pairs that are installed.

    Args:
        settings: the command.

    Attributes:
        name: `apertium`.
        usage: texts translated so far.
    """

    name = "apertium"

    def __init__(self, settings: ApertiumSettings) -> None:
        self.settings = settings
        self.usage = Usage()

    def supports(self, source: Language, target: Language) -> bool:
        """Whether a mode, or two in a row, lead from one to the other.

        Raises:
            EngineError: Apertium is not installed.
        """
        return bool(self.route(source, target))

    def route(self, source: Language, target: Language) -> tuple[str, ...]:
        """Modes to go through, one or two; none where there is no way.

        Raises:
            EngineError: Apertium is not installed.
        """
        modes = self._modes
        if source == target:
            return ()
        direct = modes.get((source.code, target.code))
        if direct:
            return (direct,)
        # The pivot with the most pairs is the one that most work went into: Spanish before Esperanto.
        pairs = Counter(code for pair in modes for code in pair)
        between = [code for code in pairs if (source.code, code) in modes and (code, target.code) in modes]
        if not between:
            return ()
        pivot = min(between, key=lambda code: (-pairs[code], code))
        return modes[source.code, pivot], modes[pivot, target.code]

    def translate(self, texts: Sequence[str], source: Language, target: Language) -> list[str]:
        """Each text in `target`, in order; line breaks and the space around lines are kept.

        Raises:
            EngineError: Apertium is not installed, has no way between the two, or lost a line.
        """
        route = self.route(source, target)
        if not route:
            raise EngineError(
                f"apertium: no way from {source.name} to {target.name} in the installed pairs; see `apertium -l` and "
                "`apt-cache search apertium`"
            )
        pieces = [_BREAK.split(text) for text in texts]
        spoken = [line.strip() for text in pieces for line in text[::2]]
        for mode in route:
            spoken = self._through(mode, spoken)
        translated = iter(spoken)
        self.usage.requests += len(texts)
        return ["".join(_rebuilt(text, translated)) for text in pieces]

    def _through(self, mode: str, lines: list[str]) -> list[str]:
        """Each line through one mode; a blank line stays as it is."""
        done = list(lines)
        there = [index for index, line in enumerate(lines) if line.strip()]
        for start in range(0, len(there), _LINES_AT_ONCE):
            part = there[start : start + _LINES_AT_ONCE]
            blocks = self._run(mode, [_CONTROL.sub(" ", lines[index]) for index in part])
            for index, block in zip(part, blocks, strict=True):
                done[index] = block.strip()
        return done

    def _run(self, mode: str, blocks: list[str]) -> list[str]:
        answer = self._call("-u", mode, given="\n\n".join(blocks))
        found = answer.removesuffix("\n").split("\n\n")
        if len(found) != len(blocks):
            raise EngineError(
                f"apertium {mode}: {len(blocks)} lines went in and {len(found)} came out; the pair's data may be "
                "damaged: reinstall it, or use another translator for this pair"
            )
        return found

    @cached_property
    def _modes(self) -> dict[tuple[str, str], str]:
        """(source, target) FLORES codes -> the mode's name."""
        codes = _codes()
        known: dict[tuple[str, str], tuple[int, str]] = {}
        for mode in sorted(self._call("-l").split()):
            ends = [codes.get(end, {}) for end in mode.split("-")]
            if len(ends) != 2:
                continue  # a variant, such as eng-cat-bytecode
            for source, source_rank in ends[0].items():
                for target, target_rank in ends[1].items():
                    rank = source_rank + target_rank
                    if source != target and rank >= known.get((source, target), (0, ""))[0]:
                        known[source, target] = rank, mode
        return {pair: mode for pair, (_, mode) in known.items()}

    def _call(self, *arguments: str, given: str = "") -> str:
        command = shutil.which(self.settings.command)
        if command is None:
            raise EngineError(f"{self.settings.command}: no such command; install Apertium: `{INSTALL}`")
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # in the C locale it stops at the first accent
        done = subprocess.run(
            [command, *arguments], input=given.encode(), capture_output=True, env=environment, check=False
        )
        if done.returncode:
            said = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines() or ["no message"]
            raise EngineError(f"apertium {' '.join(arguments)}: failed with status {done.returncode}: {said[0][:200]}")
        return done.stdout.decode(errors="replace")


def _codes() -> dict[str, dict[str, int]]:
    """Apertium's language code -> FLORES codes that it stands for, each with how well it fits."""
    found: dict[str, dict[str, int]] = {}
    for language in all_languages():
        if "-" in language.bcp47:  # not in the script that is usual, which Apertium's codes mean
            continue
        for code in (language.code.partition("_")[0], language.bcp47):
            found.setdefault(code, {})[language.code] = 1
    for rank, (code, flores) in enumerate(_OTHER_CODES, 1):
        found.setdefault(code, {})[flores] = rank
    return found


def _rebuilt(text: Sequence[str], translated: Iterable[str]) -> Iterable[str]:
    """A text split at its breaks, with each line's translation in its place."""
    lines = iter(translated)
    for index, piece in enumerate(text):
        if index % 2:
            yield piece
        elif not piece.strip():
            next(lines)
            yield piece
        else:
            head = piece[: len(piece) - len(piece.lstrip())]
            yield head + next(lines) + piece[len(piece.rstrip()) :]
