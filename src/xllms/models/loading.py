"""From model settings to a model, a tokenizer and a way to batch; what is chosen by itself is said with the reason."""

import contextlib
import importlib.util
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from xllms.errors import InputError
from xllms.memory import release_memory
from xllms.models.shipped import SHIPPED, shipped_model
from xllms.packing.logprobs import Batching, base_model, choose_batching
from xllms.packing.lora_linear import fuse_lora
from xllms.processes import local_rank, say
from xllms.prompting import PromptTemplate
from xllms.recipe import ModelSettings

ADAPTER_FILE = "adapter_config.json"
MODEL_FOLDER = "model"
Trained = Literal["nothing", "adapter", "all"]


@dataclass
class Loaded:
    """A model ready to run, with what is needed to talk to it."""

    model: nn.Module
    template: PromptTemplate
    batching: Batching


def load(settings: ModelSettings, template: str, tuned: Path | None = None, *, trained: Trained = "nothing") -> Loaded:
    """Load a base model, or what a stage has made of it.

    Args:
        settings: the base model, and how to hold it.
        template: `alpaca` or `chat`.
        tuned: folder of a finished training stage; its adapter is put on the base model, or its model taken instead.
        trained: which weights will be trained: of the adapter in `tuned`, or all, which are held in float32 then.

    Raises:
        InputError: no such model, a folder without weights, an adapter of another template or model.
    """
    quiet()
    release_memory()  # the model before goes before the next one comes
    own = tuned_folder(tuned) if tuned is not None else None
    whole = own if own is not None and own.name == MODEL_FOLDER else None
    name, source = (str(whole), str(whole)) if whole else (settings.name, resolve(settings.name))
    device = _device(settings)
    dtype, reason = _dtype(settings, device)
    if trained == "all":
        dtype, reason = torch.float32, "all weights are trained: steps below bfloat16's 2^-8 would be lost"
    prompt = PromptTemplate(load_tokenizer(settings), "chat" if template == "chat" else "alpaca")
    if own is not None:
        prompt.check(own)
    model = _weights(settings, name, source, dtype, device).requires_grad_(trained == "all")
    say(f"model {settings.name}: {device}, {str(dtype).removeprefix('torch.')} ({reason})")
    batching = _batching(settings, model)
    held: nn.Module = model
    if own is not None and whole is None:
        held = load_adapter(model, own, trainable=trained == "adapter")
    return Loaded(held.eval(), prompt, batching)


def tuned_folder(stage: Path) -> Path:
    """Where a finished training stage keeps what it tuned: `adapter/`, or `model/` where all weights were.

    Raises:
        InputError: neither is there.
    """
    for folder in (stage / "adapter", stage / MODEL_FOLDER):
        if folder.exists():
            return folder
    raise InputError(f"{stage}: no adapter and no model here; run `xllms {stage.name} RECIPE` first")


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
        adapted = fuse_lora(PeftModel.from_pretrained(model, folder, is_trainable=trainable))
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
    if not available or settings.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", local_rank())


def _weights(
    settings: ModelSettings, name: str, source: str, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    more: dict[str, Any] = {}
    if settings.quantization == "nf4":
        more = {"quantization_config": _nf4(device, dtype), "device_map": {"": device}}
    model = _from_pretrained(AutoModelForCausalLM, name, source, dtype=dtype, **more)
    loaded: PreTrainedModel = model if more else model.to(device)
    return loaded


def _nf4(device: torch.device, dtype: torch.dtype) -> Any:
    """Four bits a weight, as in QLoRA (Dettmers et al. 2023): normal-float, its constants quantized again."""
    if device.type != "cuda":
        raise InputError("model.quantization: nf4: needs a CUDA device; use quantization: none here")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError("model.quantization: nf4: bitsandbytes is not installed; run `pip install bitsandbytes`")
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


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
        say(f"padded batches: {reason}: shared prefixes are run again for each example")
    return batching


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
