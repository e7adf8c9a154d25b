"""Take docs/report.png: the first screens of a report, by a headless Chromium.

python docs/tools/shoot_report.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.helpers.browser import Browser, find_browser  # noqa: E402  the tests speak to it, too

SCENARIO = ROOT / "scenarios" / "never_converges.toml"
OUT = ROOT / "docs" / "report.png"
WIDTH, HEIGHT = 1120, 1530


def main() -> None:
    """Run the scenario and take the picture."""
    if find_browser() is None:
        sys.exit("Chromium is not installed. On Debian: apt install chromium")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        command = [sys.executable, "-m", "hostsim", "run", str(SCENARIO), "--no-files", "--quiet", "--html", str(page)]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        with Browser() as browser:
            browser.size(WIDTH, HEIGHT)
            browser.scheme("light")
            browser.open(page)
            OUT.write_bytes(browser.picture(full=False))
    print(OUT.relative_to(ROOT))


if __name__ == "__main__":
    main()
