"""Chromium without a window, for tests of the report page.

Debian's chromium is driven by Playwright's Python package, which is in the lock; no browser is
downloaded. On a developer's machine without one the tests are skipped and say how to get it. In
CI (CI=true) it is installed once, and a browser that is still missing is a failure.
"""

import functools
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
GET = "apt-get update && apt-get install -y --no-install-recommends chromium"


@functools.cache
def chromium():
    """The path of a browser; skips, or fails in CI, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    in_ci = os.environ.get("CI", "").lower() == "true"
    said = ""
    if found is None and in_ci and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(
            ["sh", "-c", GET],
            check=False,
            env=os.environ | quiet,
            capture_output=True,
            text=True,
            timeout=600,
        )
        said = done.stderr[-2000:]
        found = next(filter(None, map(shutil.which, NAMES)), None)
    return found, f"no chromium here; to run this test: {GET}\n{said}", in_ci


def path_of_chromium():
    """As `chromium`; what the cache has is said for every test."""
    found, why, in_ci = chromium()
    if found is None:
        (pytest.fail if in_ci else pytest.skip)(why)
    return found


@contextmanager
def launched(*switches):
    """A browser; one serves all pages of a module."""
    from playwright.sync_api import sync_playwright

    path = path_of_chromium()
    with sync_playwright() as driver:
        usual = ["--no-sandbox", "--mute-audio", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=path, args=[*usual, *switches])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser, path, **context):
    """A page from disk that must ask nothing of a network and have no word for the console."""
    made = browser.new_context(**context)
    made.set_default_timeout(30_000)
    page, said, asked = made.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: said.append(f"{request.failure}: {request.url}"))
    try:
        page.goto(path.as_uri())
        yield page
        assert asked
        assert all(url.startswith(("file:", "data:")) for url in asked), asked
        # A sound whose loading is broken off, by the next one's or a reload, is no failure.
        broken_off = [line for line in said if line.startswith("net::ERR_ABORTED: ")]
        bad = [line for line in said if line not in broken_off]
        assert bad == [], bad
    finally:
        made.close()


@contextmanager
def visited(browser, address, script="", **context):
    """A page of a server that must ask nobody else and have no word for the console.

    `script` runs before the page's own, in place of what this machine has not.
    """
    made = browser.new_context(**context)
    made.set_default_timeout(30_000)
    made.add_init_script(script)
    page, said, asked = made.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(address)
        page.locator("body[data-ready]").wait_for()
        yield page
        own = (address.split("/#")[0], "blob:", "data:")
        assert asked
        assert all(url.startswith(own) for url in asked), asked
        assert said == [], said
    finally:
        made.close()
