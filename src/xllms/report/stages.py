"""How a run was made: its recipe, and what each stage's manifest says."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xllms.errors import visible
from xllms.manifest import MANIFEST, read_json

STAGES = ("instructions", "sft", "feedback", "dpo", "evaluation")
_NOT_FACTS = {"stage", "settings", "inputs", "files", "counts", "seconds", "versions"}
# A manifest may count by language: 101 rows of a table that nobody reads.
_LONGEST_GROUP = 12


@dataclass(frozen=True)
class StageFacts:
    """One stage's manifest, flattened for a table."""

    name: str
    seconds: float | None
    versions: str
    files: int
    counts: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Making:
    """The recipe as text, the model's name in it, and the stages that are finished."""

    recipe: str
    model: str
    stages: tuple[StageFacts, ...]
    unfinished: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """All stages together."""
        return sum(stage.seconds or 0.0 for stage in self.stages)


def read_making(run: Path) -> Making:
    """Read `recipe.yaml` and the manifests of a run; what is absent is left out."""
    recipe_path = run / "recipe.yaml"
    recipe = recipe_path.read_text(encoding="utf-8", errors="replace") if recipe_path.is_file() else ""
    finished = [name for name in STAGES if (run / name / MANIFEST).is_file()]
    stages = tuple(_stage(name, read_json(run / name / MANIFEST)) for name in finished)
    return Making(visible(recipe), _model_name(recipe), stages, tuple(s for s in STAGES if s not in finished))


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: 48 s, 7 min 30 s, 2 h 5 min."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _stage(name: str, manifest: Mapping[str, Any]) -> StageFacts:
    seconds = manifest.get("seconds")
    return StageFacts(
        name=name,
        seconds=float(seconds) if isinstance(seconds, (int, float)) else None,
        versions=", ".join(f"{key} {value}" for key, value in (manifest.get("versions") or {}).items()),
        files=len(manifest.get("files") or ()),
        counts=tuple(_flat(manifest.get("counts") or {})),
        facts=tuple(_flat({key: value for key, value in manifest.items() if key not in _NOT_FACTS})),
    )


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, part in value.items():
        name = f"{prefix}{key}"
        if isinstance(part, Mapping) and len(part) > _LONGEST_GROUP:
            yield name, f"{len(part)} entries, see the manifest"
        elif isinstance(part, Mapping):
            yield from _flat(part, f"{name} · ")
        elif isinstance(part, int) and not isinstance(part, bool):
            yield name, f"{part:,}"
        else:
            yield name, _short(part)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return visible(text if len(text) <= 120 else f"{text[:117]}…")


def _model_name(recipe: str) -> str:
    try:
        model = (yaml.safe_load(recipe) or {}).get("model") or {}
        return str(model.get("name", ""))
    except (yaml.YAMLError, AttributeError):
        return ""
