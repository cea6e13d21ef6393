"""A Python that has lm-evaluation-harness: this one, or an environment over it that is made once in the cache.

The environment sees this one's packages, so both sides run the same torch and transformers; only what lm-eval wants
besides is installed into it (a minute).
"""

import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version

from xllms.models.shipped import cache_folder

VERSION = "0.4.13"


def lmeval_python() -> str:
    """Path of that Python."""
    try:
        if version("lm_eval") == VERSION:
            return sys.executable
    except PackageNotFoundError:
        pass
    target = cache_folder() / f"lm-eval-{VERSION}-py{sys.version_info.major}{sys.version_info.minor}"
    python, ready = target / "bin" / "python", target / "ready"
    if not ready.exists():
        print(f"installing lm_eval {VERSION} once into {target}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(target)], check=True)
        packages = next((target / "lib").glob("python3*/site-packages"))
        (packages / "beneath.pth").write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([str(python), "-m", "pip", "install", "-qq", f"lm_eval=={VERSION}"], check=True)
        ready.touch()
    return str(python)
