"""What a run will take before it is started, `xllms plan`: tokens, steps, operations, hours, memory, disk, money.

Every figure comes from the best that is there, and says so: what the run's folder holds already, data with the model's
tokenizer, or the recipe's own counts with an assumption that is named as one.
"""

from xllms.planning.gpus import Gpu, find_gpu
from xllms.planning.options import Options, read_gpus
from xllms.planning.planner import plan
from xllms.planning.run_plan import LanguageRow, RunPlan, StagePlan
from xllms.planning.table import as_json, format_plan

__all__ = [
    "Gpu",
    "LanguageRow",
    "Options",
    "RunPlan",
    "StagePlan",
    "as_json",
    "find_gpu",
    "format_plan",
    "plan",
    "read_gpus",
]
