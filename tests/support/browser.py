"""Look at a page in a real browser that reaches nothing but this machine."""

import shutil
import subprocess
from pathlib import Path

import pytest

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _browser() -> str:
    """The path of a browser; says so and skips where none is installed (Debian: the package chromium)."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium is installed, so the page is not looked at")
    return found


def look(url: str, profile: Path, *more: str) -> tuple[str, str]:
    """The page as the browser has it after loading, and what the browser logged."""
    options = [
        *(
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--hide-scrollbars",
        ),
        *("--enable-logging=stderr", "--window-size=1400,2200", f"--user-data-dir={profile}"),
        *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--dump-dom", *more),
    ]
    done = subprocess.run(
        [_browser(), *options, url], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout, done.stderr
