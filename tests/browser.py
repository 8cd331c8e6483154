"""TensorBoard in a real browser: a picture of each tab.

python -m tests.browser outputs/DAY/RUN --out FOLDER. Needs Chromium and its driver (Debian: apt install
chromium chromium-driver) and the extra "browser".
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

TABS = {
    "time_series": "#timeseries",
    "scalars": "#scalars",
    "custom_scalars": "#custom_scalars",
    "images": "#images",
    "distributions": "#distributions",
    "histograms": "#histograms",
    "text": "#text",
    "hparams": "#hparams",
    "projector": "#projector",
}
"""The name of a picture, and where in TensorBoard it is of."""
SIZE = (1600, 1200)
LIMIT = 60.0  # seconds that a page may take

TEXT = """
const said = [], seen = [document];
while (seen.length) {
  const root = seen.pop();
  for (const element of root.querySelectorAll('*')) {
    if (element.shadowRoot) seen.push(element.shadowRoot);
    if (element.tagName === 'IFRAME' && element.contentDocument) seen.push(element.contentDocument);
    if (['SCRIPT', 'STYLE', 'TEMPLATE'].includes(element.tagName)) continue;
    for (const node of element.childNodes)
      if (node.nodeType === 3 && node.textContent.trim()) said.push(node.textContent.trim());
  }
}
return said.join('\\n');
"""
"""All words of a page, whose parts hide theirs from each other."""


def missing() -> str | None:
    """List the missing parts that a browser needs."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        return "Chromium and chromedriver are not installed"
    try:
        import selenium  # noqa: F401
    except ImportError:
        return 'the extra "browser" is not installed'
    return None


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address of a TensorBoard of these runs, which has read them."""
    place = folder.resolve()  # of which the pages show no more than its name
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", place.name, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--load_fast", "false", "--reload_interval", "1"],
        cwd=place.parent,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "http://" in line)
        address = next(word for word in line.split() if word.startswith("http://"))
        until = time.monotonic() + LIMIT
        while urlopen(f"{address}data/runs").read() in (b"[]", b"") and time.monotonic() < until:
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.communicate()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for word in (
        "headless=new",
        "no-sandbox",
        "disable-dev-shm-usage",
        "enable-unsafe-swiftshader",
    ):
        options.add_argument(f"--{word}")
    options.add_argument(f"--window-size={SIZE[0]},{SIZE[1]}")
    service = webdriver.ChromeService(str(shutil.which("chromedriver")))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


def words(driver: Any, address: str, tab: str, wanted: tuple[str, ...] = ()) -> str:
    """Return the text of a tab once all that is wanted is there, or as much as is after LIMIT seconds."""
    driver.get("about:blank")
    driver.get(address + TABS[tab])
    until, said = time.monotonic() + LIMIT, ""
    while time.monotonic() < until:
        time.sleep(0.5)
        before, said = said, str(driver.execute_script(TEXT))
        if said == before and all(word in said for word in wanted):
            break
    return said


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.browser", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of a run, or of several")
    parser.add_argument("--out", type=Path, required=True, help="where the pictures go")
    parser.add_argument("--tab", choices=TABS, action="append", help="one of the tabs (all)")
    options = parser.parse_args()
    if (lacks := missing()) is not None:
        parser.exit(2, f"{lacks}. {__doc__}")
    options.out.mkdir(parents=True, exist_ok=True)
    with tensorboard(options.runs) as address, browser() as driver:
        for tab in options.tab or TABS:
            words(driver, address, tab)
            time.sleep(2)  # what is drawn after it is said
            driver.save_screenshot(str(options.out / f"{tab}.png"))
            print(options.out / f"{tab}.png")


if __name__ == "__main__":
    main()
