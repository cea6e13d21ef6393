"""From model settings to a model, a tokenizer and a way to batch; what is chosen by itself is said with the reason."""

import contextlib
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from xllms.errors import InputError
from xllms.models.shipped import SHIPPED, shipped_model
from xllms.packing.logprobs import Batching, base_model, choose_batching
from xllms.prompting import PromptTemplate
from xllms.recipe import ModelSettings

ADAPTER_FILE = "adapter_config.json"


@dataclass
class Loaded:
    """A model ready to run, with what is needed to talk to it."""

    model: nn.Module
    template: PromptTemplate
    batching: Batching


def load(settings: ModelSettings, template: str, adapter: Path | None = None) -> Loaded:
    """Load a base model, with an adapter on it if one is named.

    Raises:
        InputError: no such model, a folder without weights, an adapter of another template or model.
    """
    quiet()
    source = resolve(settings.name)
    device = _device(settings)
    dtype, reason = _dtype(settings, device)
    model = _from_pretrained(AutoModelForCausalLM, settings.name, source, dtype=dtype).to(device)
    model.requires_grad_(False)
    prompt = PromptTemplate(load_tokenizer(settings), "chat" if template == "chat" else "alpaca")
    _say(f"model {settings.name}: {device}, {str(dtype).removeprefix('torch.')} ({reason})")
    batching = _batching(settings, model)
    held: nn.Module = model
    if adapter is not None:
        prompt.check(adapter)
        held = load_adapter(model, adapter)
    return Loaded(held.eval(), prompt, batching)


def base_of(loaded: Loaded) -> PreTrainedModel:
    """The transformers model that was loaded."""
    return base_model(loaded.model)


def load_adapter(model: PreTrainedModel, folder: Path, *, trainable: bool = False) -> nn.Module:
    """Put the adapter in `folder` on `model`.

    Raises:
        InputError: no adapter there, or one that does not fit the model.
    """
    from peft import PeftModel

    if not (folder / ADAPTER_FILE).exists():
        raise InputError(f"{folder}: no adapter here ({ADAPTER_FILE} is missing); run `xllms sft RECIPE` first")
    try:
        adapted: nn.Module = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    except Exception as error:
        if not _is_about_files(error):
            raise
        raise InputError(
            f"{folder}: the adapter is damaged or does not fit this model: {_first_line(error)}; run its stage again"
        ) from None
    return adapted


def load_tokenizer(settings: ModelSettings) -> PreTrainedTokenizerBase:
    """The tokenizer of the model that `settings` name.

    Raises:
        InputError: there is none.
    """
    quiet()
    tokenizer: PreTrainedTokenizerBase = _from_pretrained(AutoTokenizer, settings.name, resolve(settings.name))
    return tokenizer


def resolve(name: str) -> str:
    """A name in a recipe -> what transformers loads: a folder, or a hub id.

    Raises:
        InputError: a folder that is not there, or has no config or weights.
    """
    if name == SHIPPED:
        return str(shipped_model())
    path = Path(name).expanduser()
    if not path.exists():
        if name.startswith(("/", ".", "~")):  # no hub id begins so
            raise InputError(f"model {name}: no such folder")
        return name
    if not (path / "config.json").exists():
        raise InputError(f"{path}: not a model folder: it has no config.json")
    if not any(path.glob("*.safetensors")) and not any(path.glob("pytorch_model*.bin")):
        raise InputError(f"{path}: no weights here (*.safetensors); download them or name another model")
    return str(path)


def quiet() -> None:
    """Only what the user can act on: no progress bars and notices of the libraries below."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    transformers_logging.set_verbosity_error()
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|accelerate)\.")
    with contextlib.suppress(AttributeError):
        transformers_logging.disable_progress_bar()


def _from_pretrained(factory: Any, name: str, source: str, **kwargs: Any) -> Any:
    try:
        return factory.from_pretrained(source, **kwargs)
    except Exception as error:
        if not _is_about_files(error):
            raise
        if name == source and not Path(name).exists():
            why = f"no such folder here, and no such model on the hub, or no hub in reach: {_first_line(error)}"
            raise InputError(f"model {name}: cannot be loaded: {why} (the model that ships is {SHIPPED})") from None
        raise InputError(f"model {name}: cannot be loaded, damaged or cut off: {_first_line(error)}") from None


def _is_about_files(error: Exception) -> bool:
    """Whether a library failed on what it read, and not on a mistake of ours."""
    if type(error).__name__ == "OutOfMemoryError":
        return False
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, (OSError, ValueError, RuntimeError)) or library.startswith(("safetensors", "huggingface"))


def _device(settings: ModelSettings) -> torch.device:
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise InputError("model.device: cuda: no CUDA device or no CUDA build of torch; see the README to install one")
    return torch.device("cuda" if available and settings.device != "cpu" else "cpu")


def _dtype(settings: ModelSettings, device: torch.device) -> tuple[torch.dtype, str]:
    if settings.dtype != "auto":
        return getattr(torch, settings.dtype), "as the recipe says"
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return (torch.bfloat16, "native on this GPU") if fast else (torch.float32, "this GPU has no bfloat16")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "avx512_bf16" in flags or "amx_bf16" in flags:
        return torch.bfloat16, "native on this CPU, about twice as fast"
    return torch.float32, "this CPU has no native bfloat16"


def _batching(settings: ModelSettings, model: PreTrainedModel) -> Batching:
    if settings.batching == "padded":
        return "padded"
    batching, reason = choose_batching(model)
    if batching == "padded":
        if settings.batching == "trie":
            raise InputError(f"model.batching: trie: {reason}; use `auto` or `padded`")
        _say(f"padded batches: {reason}: shared prefixes are run again for each example")
    return batching


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _say(text: str) -> None:
    print(text, file=sys.stderr)
