"""A real browser without a window, that opens files of this machine and nothing else."""

import shutil
import time
from contextlib import contextmanager

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser():
    """Return the path of a browser, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def missing() -> str:
    """Say why there is no browser; empty if there is one."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed: pip install selenium"
    if browser() is None or shutil.which("chromedriver") is None:
        return "no Chromium with its driver: apt-get install chromium chromium-driver"
    return ""


@contextmanager
def opened(page, width=1280, height=900, dark=False):
    """Open a page in Chromium, yield its driver, and fail on anything that its console complains of."""
    if why := missing():
        pytest.skip(why)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    # Nothing is looked up or loaded: the page has to do without.
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
        driver.get(page.resolve().as_uri())
        wait(driver, "return document.getElementById('report').getAttribute('aria-busy') === 'false'")
        yield driver
        complaints(driver)
    finally:
        driver.quit()


def wait(driver, condition, seconds=60):
    """Wait until a script says yes; what the console said tells why it does not."""
    until = time.monotonic() + seconds
    while not driver.execute_script(condition):
        complaints(driver)
        assert time.monotonic() < until, condition
        time.sleep(0.05)


def click_on_map(driver, item):
    """Click the map where an item is, as a person does."""
    from selenium.webdriver import ActionChains

    canvas = driver.find_element("css selector", "canvas.map")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    x, y = driver.execute_script("return Report.map.at(arguments[0])", item)
    size = canvas.size
    ActionChains(driver).move_to_element_with_offset(
        canvas, round(x - size["width"] / 2), round(y - size["height"] / 2)
    ).click().perform()


def drag(driver, element, begin, end):
    """Drag across an element between two shares of its width."""
    from selenium.webdriver import ActionChains

    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    width = element.size["width"]
    ActionChains(driver).move_to_element_with_offset(
        element, round((begin - 0.5) * width), 0
    ).click_and_hold().move_by_offset(round((end - begin) * width), 0).release().perform()


def complaints(driver):
    """Fail on warnings and errors of the page, and on anything that it wanted to load."""
    said = [entry["message"] for entry in driver.get_log("browser") if entry["level"] != "INFO"]
    assert not said, said
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map((r) => r.name)")
    assert not [name for name in loaded if not name.startswith(("data:", "blob:"))], loaded
