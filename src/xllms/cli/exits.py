"""How a command ends: every foreseeable failure is one line on standard error and an exit code."""

import errno
import os
import sys

from xllms.cli.app import app
from xllms.errors import InputError, Stopped, XllmsError, one_line
from xllms.processes import is_main

_INTERRUPTED = 130


def main() -> None:
    """Entry point: every foreseeable failure is one line on standard error and an exit code."""
    sys.exit(guarded(sys.argv[1:]))


def guarded(arguments: list[str]) -> int:
    """Run a command line; its exit code."""
    try:
        result = app(args=arguments, standalone_mode=False)
    except XllmsError as error:
        # Wrong input, and having stopped as asked, is the same in every process: the main one says it for all.
        if isinstance(error, InputError | Stopped) and not is_main():
            return error.exit_code
        return _fail(str(error), error.exit_code)
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
    print(f"xllms: {one_line(message)}", file=sys.stderr)
    return code
