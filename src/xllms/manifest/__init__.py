"""Files that are whole or absent, and stages that are done when their manifest says so.

A file is written under a temporary name and renamed. A stage writes `started.json` first (its settings and inputs)
and `manifest.json` last (what came out). Between the two, every finished unit stays where it is, so a killed stage
goes on where it stopped, and a stage whose settings or inputs changed is refused instead of being mixed with old files.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xllms import __version__
from xllms.errors import InputError
from xllms.manifest.files import (
    TEMPORARY,
    disk_error,
    fingerprint,
    read_json,
    sha256_file,
    whole_or_absent,
    write_atomic,
)
from xllms.manifest.locks import FolderBusy, hold, join, leave, release

__all__ = [
    "MANIFEST",
    "STARTED",
    "TEMPORARY",
    "ChangedSettings",
    "FolderBusy",
    "StageFolder",
    "disk_error",
    "fingerprint",
    "hold",
    "output_fingerprint",
    "read_json",
    "read_manifest",
    "release",
    "sha256_file",
    "whole_or_absent",
    "write_atomic",
]

MANIFEST = "manifest.json"
STARTED = "started.json"
_LIBRARIES = ("babel", "pycld2", "sacrebleu", "torch", "transformers", "peft", "accelerate")


class ChangedSettings(InputError):
    """A stage's folder was begun with other settings or inputs than it is asked for now."""


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
        if not self._begun_alike and not self._nothing_made:
            self._refuse()

    @property
    def _begun_alike(self) -> bool:
        started = self.path / STARTED
        return not started.exists() or read_json(started) == json.loads(json.dumps(self.made_with))

    def _refuse(self) -> None:
        changed = _changed_keys(read_json(self.path / STARTED), self.made_with)
        raise ChangedSettings(
            f"{self.path}: was made with other settings ({'; '.join(changed[:3])}). Add `--overwrite` to make this "
            "stage and those after it again, or write elsewhere with `--set output=FOLDER`"
        )

    def begin(self) -> None:
        """Open the folder for work: note what it is made with, and clear what a killed process left half-written."""
        self.check()
        hold(self.path)
        if self.path.exists():
            for leftover in self.path.rglob(f"{TEMPORARY}*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        self._write_started()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Open the folder for a part of the work, while other processes may be at work on other parts.

        Nothing is cleared: what looks half-written may be another's, who is at it.

        Args:
            name: the part's, such as part-3-of-16.

        Raises:
            FolderBusy: another process is at this part, or at the whole.
            ChangedSettings: the folder was begun with other settings.
        """
        self.check()
        hold(self.path, name)
        try:
            with contextlib.suppress(FolderBusy):
                hold(self.path)  # who comes first may mend what a refused attempt left
                self._write_started()
            join(self.path)
            if not (self.path / STARTED).exists():
                self._write_started()
            if not self._begun_alike:
                self._refuse()
            yield
        finally:
            leave(self.path)
            release(self.path, name)

    def _write_started(self) -> None:
        again = self._nothing_made
        if again or not (self.path / STARTED).exists():
            with whole_or_absent(self.path / STARTED, unless_there=not again) as file:
                file.write((json.dumps(self.made_with, indent=1, ensure_ascii=False) + "\n").encode())

    @property
    def _nothing_made(self) -> bool:
        """The folder was begun and holds nothing yet: a refused attempt binds nobody to its settings."""
        # Folders may go meanwhile, where another process is at work: `walk` minds it less than `rglob`.
        made = [name for _, _, names in os.walk(self.path) for name in names if not name.startswith(TEMPORARY)]
        return made == [STARTED]

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
