"""Files that are whole or absent, and stages that are done when their manifest says so.

A file is written under a temporary name and renamed. A stage writes `started.json` first (its settings and inputs)
and `manifest.json` last (what came out). Between the two, every finished unit stays where it is, so a killed stage
goes on where it stopped, and a stage whose settings or inputs changed is refused instead of being mixed with old files.
"""

import contextlib
import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from xllms import __version__
from xllms.errors import InputError, XllmsError

MANIFEST = "manifest.json"
STARTED = "started.json"
_TEMPORARY = ".part-"
_LIBRARIES = ("babel", "pycld2", "sacrebleu", "torch", "transformers", "peft", "accelerate")


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write `path` so that a reader, or a crash at any moment, finds the old file or the whole new one.

    Raises:
        XllmsError: the disk is full or the folder cannot be written; names the folder.
    """
    with whole_or_absent(path) as file:
        file.write(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def whole_or_absent(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes its name when the block ends well, and is gone when not.

    Raises:
        XllmsError: the disk is full or the folder cannot be written; names the folder.
    """
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise disk_error(error, path) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def disk_error(error: OSError, path: Path) -> XllmsError:
    """The one line for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return XllmsError(
            f"{path.parent}: no space left on the disk; free some and run the same command again: "
            "what was finished is kept"
        )
    return XllmsError(f"{path}: cannot be written: {error.strerror or error}")


def sha256_file(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Hex digest of a JSON value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """The value in a JSON file.

    Raises:
        InputError: missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text; remove the file to have it made again") from None
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not JSON: {error.msg}; remove the file to have it made again"
        ) from None


class ChangedSettings(InputError):
    """A stage's folder was begun with other settings or inputs than it is asked for now."""


class FolderBusy(InputError):
    """Another process is at work in a stage's folder."""


class StageFolder:
    """The folder of one stage of one run: knows whether it is done, and what it was made with.

    Args:
        path: the folder, such as runs/quickstart/sft.
        stage: the stage's name, for messages.
        settings: everything that decides the stage's output, as a JSON value.
        inputs: folder name -> fingerprint of the stages that this one reads.
    """

    def __init__(self, path: Path, stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        self.path = path
        self.stage = stage
        self.made_with = {"stage": stage, "settings": dict(settings), "inputs": dict(inputs)}
        self._begun = time.monotonic()

    @property
    def done(self) -> bool:
        """True when the manifest is there. Made with other settings: an error, see `check`."""
        self.check()
        return (self.path / MANIFEST).exists()

    def check(self) -> None:
        """Refuse to mix files that were made with different settings.

        Raises:
            ChangedSettings: the folder was begun with other settings or inputs; names them and the way out.
        """
        if not (self.path / STARTED).exists():
            return
        before = read_json(self.path / STARTED)
        if before == json.loads(json.dumps(self.made_with)) or self._nothing_made:
            return
        changed = _changed_keys(before, self.made_with)
        raise ChangedSettings(
            f"{self.path}: was made with other settings ({'; '.join(changed[:3])}). Add `--overwrite` to make this "
            "stage and those after it again, or write elsewhere with `--set output=FOLDER`"
        )

    def begin(self) -> None:
        """Open the folder for work: note what it is made with, and clear what a killed process left half-written."""
        self.check()
        hold(self.path)
        if self.path.exists():
            for leftover in self.path.rglob(f"{_TEMPORARY}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        if self._nothing_made or not (self.path / STARTED).exists():
            write_atomic(self.path / STARTED, json.dumps(self.made_with, indent=1, ensure_ascii=False) + "\n")

    @property
    def _nothing_made(self) -> bool:
        """The folder was begun and holds nothing yet: a refused attempt binds nobody to its settings."""
        made = [path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith(_TEMPORARY)]
        return [path.name for path in made] == [STARTED]

    def finish(self, counts: Mapping[str, Any], data: list[Path], **more: Any) -> None:
        """Write the manifest: from now on the stage is done.

        Args:
            counts: what came out, what was dropped and why; any JSON value.
            data: the files that later stages read; their digests are this stage's identity.
            more: further facts worth keeping.
        """
        manifest = {
            **self.made_with,
            "files": {str(p.relative_to(self.path)): sha256_file(p) for p in sorted(data)},
            "counts": dict(counts),
            **more,
            "seconds": round(time.monotonic() - self._begun, 1),
            "peak_memory_gb": _peak_memory_gb(),
            "versions": {"xllms": __version__, "python": platform.python_version(), **_library_versions()},
        }
        write_atomic(self.path / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
        release(self.path)

    def manifest(self) -> dict[str, Any]:
        """The manifest of a finished stage.

        Raises:
            InputError: the stage has not been run.
        """
        return read_manifest(self.path)


_held: dict[Path, IO[str]] = {}  # locks of this process; the system lets go of them when it ends, however it ends


def hold(folder: Path) -> None:
    """Hold a stage's folder for this process; does nothing where the system or the file system has no locks.

    Raises:
        FolderBusy: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    path = _lock_of(folder)
    if path in _held:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise disk_error(error, path) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            file.seek(0)
            owner = file.read().strip()
            file.close()
            raise FolderBusy(
                f"{folder}: another process is at work here (number {owner}); wait for it, or write elsewhere with "
                "`--set output=FOLDER`"
            ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    _held[path] = file


def release(folder: Path) -> None:
    """Let go of a folder, if this process holds it."""
    path = _lock_of(folder)
    file = _held.pop(path, None)
    if file is not None:
        path.unlink(missing_ok=True)
        file.close()


def _lock_of(folder: Path) -> Path:
    """Beside the folder, which holds nothing but what the stage made."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.lock")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished stage's folder.

    Raises:
        InputError: no manifest; says which command makes it.
    """
    path = folder / MANIFEST
    if not path.exists():
        command = {"evaluation": "evaluate"}.get(folder.name, folder.name)
        raise InputError(f"{folder}: stage '{folder.name}' is not finished; run `xllms {command} RECIPE` first")
    value = read_json(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a manifest; remove the folder to have the stage run again")
    return value


def output_fingerprint(folder: Path) -> str:
    """Identity of what a finished stage gave to later stages: a digest over its files' digests."""
    return fingerprint(read_manifest(folder)["files"])


def _peak_memory_gb() -> float:
    """Largest resident size of this process so far; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9, 2)


def _library_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _changed_keys(before: Any, now: Any, prefix: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, Mapping):
        found = []
        for key in sorted({*before, *now}):
            name = f"{prefix}.{key}" if prefix else str(key)
            found += _changed_keys(before.get(key), now.get(key), name)
        return found
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [key for at, (one, other) in pairs for key in _changed_keys(one, other, f"{prefix}.{at}")]
    if before == now:
        return []
    if prefix.startswith("inputs."):
        return [f"{prefix.removeprefix('inputs.')} gave other data"]
    shown = [text if len(text) <= 40 else text[:37] + "..." for text in (json.dumps(before), json.dumps(now))]
    return [f"{prefix.removeprefix('settings.')}: {shown[0]} then, {shown[1]} now"]
