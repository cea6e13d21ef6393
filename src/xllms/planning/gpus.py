"""What a GPU can do, from its vendor's data sheet: `gpus.csv`.

Matrix products in dense bfloat16 (fp16 on the two that have none), without sparsity; float32 without TF32, as torch
multiplies by default. H100 is the SXM module. xllms computes in bfloat16 or float32 alone, so V100 and T4 run at
their float32 rate.
"""

import csv
import difflib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from xllms.errors import InputError

_ALIASES = {"a100": "A100-80", "h100-sxm": "H100", "4090": "RTX-4090", "3090": "RTX-3090"}


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: as in `gpus.csv`.
        memory_gb: of 10^9 bytes.
        tflops: 10^12 operations a second, in `format`.
        format: bf16, or fp16 where there is no bf16.
        float32_tflops: the same in float32.
        bandwidth_tbs: memory, 10^12 bytes a second.
    """

    name: str
    memory_gb: float
    tflops: float
    format: str
    float32_tflops: float
    bandwidth_tbs: float

    @property
    def has_bfloat16(self) -> bool:
        """Whether it multiplies bfloat16 natively."""
        return self.format == "bf16"


def find_gpu(name: str) -> Gpu:
    """A GPU by name; case, spaces and hyphens do not count.

    Raises:
        InputError: unknown; names the nearest ones.
    """
    known = {_key(gpu.name): gpu for gpu in all_gpus()}
    wanted = _key(_ALIASES.get(name.strip().casefold().replace(" ", "-"), name))
    if wanted in known:
        return known[wanted]
    near = [known[key].name for key in difflib.get_close_matches(wanted, known, n=3, cutoff=0.4)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(g.name for g in all_gpus())}"
    raise InputError(f"--gpu {name}: unknown GPU; {hint}")


@cache
def all_gpus() -> tuple[Gpu, ...]:
    """Those of `gpus.csv`."""
    with files("xllms.planning").joinpath("gpus.csv").open(encoding="utf-8") as file:
        return tuple(
            Gpu(
                row["name"],
                float(row["memory_gb"]),
                float(row["tflops"]),
                row["format"],
                float(row["float32_tflops"]),
                float(row["bandwidth_tbs"]),
            )
            for row in csv.DictReader(file)
        )


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
