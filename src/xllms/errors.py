"""What xllms says when it cannot go on: what is wrong, where, and what to do next.

A message may quote a data file or a model, whose text must neither act on a terminal nor break the one line.
"""

import re

# Embeddings, overrides and isolates reorder what stands around them. Marks such as U+200E and joiners such as
# U+200C stay: Persian and CLDR's numbers need them.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_BREAK = re.compile("[\t\n\u2028\u2029]")


def visible(text: str) -> str:
    """The text with control and reordering characters and lone surrogates spelled out, as ⟦U+202E⟧."""
    return _HIDDEN.sub(_spelled, text)


def one_line(text: str) -> str:
    """As `visible`, with line breaks and tabs spelled out, too."""
    return _BREAK.sub(_spelled, visible(text))


def _spelled(found: re.Match[str]) -> str:
    return f"⟦U+{ord(found[0]):04X}⟧"


class XllmsError(Exception):
    """A failure that the command line prints as one line, never as a traceback."""

    exit_code = 1


class InputError(XllmsError):
    """The user's input is wrong: a recipe, a data file, a name, a folder. Exit code 2."""

    exit_code = 2


class Stopped(XllmsError):
    """The work ended early because that was asked for; see `xllms.stopping`.

    Args:
        message: one line.
        kept: whether something was done and kept. Then the exit code is 75 (EX_TEMPFAIL in sysexits.h): the same
            command goes on. If not, it is 1, so that nobody starts a job over and over that never gets anywhere.
    """

    def __init__(self, message: str, *, kept: bool) -> None:
        super().__init__(message)
        self.exit_code = 75 if kept else 1
