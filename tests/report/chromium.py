"""Debian's Chromium without a window: what a page becomes in it, and what it looks like."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--virtual-time-budget=2000",
)  # fmt: skip


def program() -> str:
    """Where Chromium is; the test is skipped where it is not."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium fonts-noto-core)")
    return found


def dump(page: Path) -> str:
    """The document as it is after its scripts, and what they put off for two seconds, have run."""
    return _run(page, 1280, 900, "--dump-dom")


def screenshot(page: Path, picture: Path, width: int, height: int) -> None:
    """Write what a window of that size shows."""
    _run(page, width, height, f"--screenshot={picture}")


def with_script(page: Path, script: str) -> Path:
    """A copy of the page that runs one script more, and has no policy that would forbid it."""
    html = page.read_text(encoding="utf-8")
    start = html.index('<meta http-equiv="Content-Security-Policy"')
    html = html[:start] + html[html.index(">", start) + 1 :]
    copy = page.with_name("copy.html")
    copy.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    return copy


def _run(page: Path, width: int, height: int, action: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        arguments = [*_FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", action]
        done = subprocess.run(
            [program(), *arguments, page.resolve().as_uri()], capture_output=True, text=True, check=False, timeout=180
        )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
