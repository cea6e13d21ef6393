"""What this machine holds of a model already: files of a local folder, of the converted one that ships, of the hub's
cache. Nothing is downloaded or converted: a plan has to answer at once, and without a network.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xllms.errors import InputError

if TYPE_CHECKING:
    from xllms.prompting import PromptTemplate

_SHIPPED = ("gemma3-270m", "smollm2")


def model_file(name: str, file: str) -> Path | None:
    """A file of a model, if it is here.

    Raises:
        InputError: the name is a folder's that is not there.
    """
    if name in _SHIPPED:
        return _existing(path / file for path in _converted(name))
    path = Path(name).expanduser()
    if path.exists() or name.startswith(("/", ".", "~")):
        if not (path / "config.json").exists():
            raise InputError(f"model {name}: no model folder here: it has no config.json")
        return _existing([path / file])
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file)
    return Path(found) if isinstance(found, str) else None


def tokenizer_at_hand(name: str, kind: Literal["alpaca", "chat"]) -> "PromptTemplate | None":
    """The model's tokenizer in its template; None where it is not here, or transformers is not installed."""
    if model_file(name, "tokenizer_config.json") is None or importlib.util.find_spec("transformers") is None:
        return None
    from transformers import AutoTokenizer

    from xllms.prompting import PromptTemplate

    path = model_file(name, "tokenizer_config.json")
    assert path is not None
    try:
        return PromptTemplate(AutoTokenizer.from_pretrained(path.parent, local_files_only=True), kind)
    except (OSError, ValueError):  # half a download
        return None


def tokenizer_bytes(name: str) -> int:
    """What the tokenizer's files take beside an adapter; a usual size where they are not here."""
    found = [path for file in ("tokenizer.json", "tokenizer_config.json") if (path := model_file(name, file))]
    return sum(path.stat().st_size for path in found) or 4_000_000


def _converted(name: str) -> list[Path]:
    try:
        from xllms.models.shipped import cache_folder
    except ImportError:  # converting takes torch: without it nothing was
        return []
    return sorted(cache_folder().glob(f"{name}-*"), reverse=True)


def _existing(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)
