"""What a stage takes of a GPU's memory, and whether it fits: an estimate, not measured on a GPU.

Weights, gradients and AdamW's two moments follow the code: a frozen base model in bfloat16 (or 4 bits) with a float32
adapter, or all weights in float32. Activations are what a decoder keeps for the backward pass: the inputs of its matrix
products, norms and gate for each node of a pass, whatever attention it has.
"""

from dataclasses import dataclass

from xllms.planning.gpus import Gpu
from xllms.planning.model_size import ModelSize
from xllms.recipe import ModelSettings, TrainingSettings

_RUNTIME = 1.5e9  # CUDA context, kernels' work space, fragments
_NF4 = 0.516  # bytes of a weight in 4 bits with its doubly quantized constants (Dettmers et al. 2023)
_TRAINED = 16  # bytes of a trained weight: itself, its gradient, two moments, all in float32
_TILE = 64e6  # logits are never whole: a tile of them


@dataclass(frozen=True)
class GpuMemory:
    """Bytes on one GPU.

    Attributes:
        weights: of the frozen model.
        trained: weights, gradients and optimiser state.
        activations: of one pass.
        total: with what the runtime takes.
        available: on the GPU; none where no GPU is named.
        advice: what to do where it does not fit; empty where it does.
    """

    weights: float
    trained: float
    activations: float
    total: float
    available: float | None
    advice: str = ""

    @property
    def fits(self) -> bool:
        """Whether a tenth of the memory is left, or no GPU was named."""
        return self.available is None or self.total <= 0.9 * self.available


def training_memory(
    stage: str, size: ModelSize, model: ModelSettings, settings: TrainingSettings, adapter: int | None, gpu: Gpu | None,
    gpus: int,
) -> GpuMemory:  # fmt: skip
    """Memory of one GPU in a training stage; `adapter` is its number of weights, None where all are trained."""
    wide = 4 if adapter is None or model.dtype == "float32" or (gpu is not None and not gpu.has_bfloat16) else 2
    shards = gpus if settings.parallel == "fsdp" else 1
    weights = 0.0 if adapter is None else frozen_bytes(size, model, wide) / shards
    trained = _TRAINED * (size.total if adapter is None else adapter) / shards
    if shards > 1:  # a layer is put together where it is run, and the next one fetched meanwhile
        weights += 2 * wide * size.in_layers / size.shape.layers + wide * size.head
    activations = _activations(size, settings, wide)
    total = weights + trained + activations + _RUNTIME
    available = gpu.memory_gb * 1e9 if gpu is not None else None
    found = GpuMemory(weights, trained, activations, total, available)
    if found.fits:
        return found
    return GpuMemory(
        weights, trained, activations, total, available, _advice(stage, found, model, settings, adapter, gpus)
    )


def asking_memory(size: ModelSize, model: ModelSettings, gpu: Gpu | None) -> GpuMemory:
    """Memory of a stage that asks the model; keys and values take half of what is left, whatever that is."""
    wide = 4 if model.dtype == "float32" or (gpu is not None and not gpu.has_bfloat16) else 2
    weights = frozen_bytes(size, model, wide)
    available = gpu.memory_gb * 1e9 if gpu is not None else None
    found = GpuMemory(weights, 0, 0, weights + _RUNTIME, available)
    advice = "" if found.fits else "take a larger GPU, or set model.quantization: nf4"
    return GpuMemory(weights, 0, 0, weights + _RUNTIME, available, advice)


def frozen_bytes(size: ModelSize, model: ModelSettings, wide: int) -> float:
    """Bytes of the base model: 4 bits are for the matrices of the layers, not for embedding and head."""
    if model.quantization == "nf4":
        return _NF4 * size.in_layers + wide * (size.total - size.in_layers)
    return wide * size.total


def _activations(size: ModelSize, settings: TrainingSettings, wide: int) -> float:
    shape, budget = size.shape, settings.token_budget or 8192
    heads = (shape.heads + shape.key_heads) * shape.head_width
    layer = 8 * shape.hidden + 4 * shape.inner + 3 * heads
    kept = shape.hidden * shape.layers + layer if settings.gradient_checkpointing else layer * shape.layers
    return wide * budget * kept + _TILE


def _advice(
    stage: str, memory: GpuMemory, model: ModelSettings, settings: TrainingSettings, adapter: int | None, gpus: int
) -> str:
    """The one thing that helps most, by what is largest."""
    room = 0.9 * (memory.available or 0) - _RUNTIME
    if memory.activations > max(memory.weights, memory.trained) or memory.weights + memory.trained < room:
        if not settings.gradient_checkpointing:
            return f"set {stage}.gradient_checkpointing: true, or lower {stage}.token_budget"
        return f"lower {stage}.token_budget"
    if adapter is None:
        more = "" if gpus > 1 else f" on several GPUs (--gpus {stage}=8)"
        if settings.parallel == "ddp":
            return f"set {stage}.parallel: fsdp{more}, or sft.tuning: lora"
        return "take more GPUs, or set sft.tuning: lora"
    if model.quantization == "none":
        return f"set model.quantization: nf4, or {stage}.parallel: fsdp on several GPUs"
    return f"take a larger GPU; {stage}.parallel: fsdp shares the weights among several"
