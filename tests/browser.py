"""A page in a real browser: headless Chromium, a new profile, and no network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-dev-shm-usage", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip
SCRIPT = """<script>onload = () => {
const all = [...document.images], wide = document.documentElement;
const asked = performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'));
document.title = 'shown ' + all.filter(i => i.complete && i.naturalWidth > 0).length
  + ' of ' + all.length + ', requests ' + asked.length
  + ', overflow ' + Math.max(0, wide.scrollWidth - wide.clientWidth);
}</script></body>"""


def find() -> str | None:
    """The browser, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def verdict(page: Path, folder: Path) -> tuple[int, int, int, int]:
    """Pictures that have loaded, pictures, requests, and pixels that the page is too wide.

    A copy of the page tells them itself; `folder` is empty and gets the copy and the profile.
    """
    copy = folder / "copy.html"
    copy.write_text(page.read_text("utf-8").replace("</body>", SCRIPT), "utf-8")
    command = [find(), *FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1100,900"]
    shown = subprocess.run(
        [*command, "--virtual-time-budget=20000", "--dump-dom", copy.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    ).stdout  # fmt: skip
    told = re.search(r"<title>shown (\d+) of (\d+), requests (\d+), overflow (\d+)</title>", shown)
    assert told, shown[:500]
    loaded, pictures, requests, overflow = map(int, told.groups())
    return loaded, pictures, requests, overflow
