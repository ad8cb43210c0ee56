"""Chromium without a window, as a person would use it, against a server of the tests' own."""

import contextlib
import io
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.postgres.connection.servers.programs import find_program

PACKAGES = "chromium chromium-driver"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-proxy-server", "--disable-dev-shm-usage", "--window-size=1440,860"),
)
KINDS = ("script-src", "style-src", "img-src", "connect-src", "form-action")
POLICY = "; ".join(["default-src 'none'", *(f"{kind} 'self'" for kind in KINDS)])
PICTURES = Path(__file__).parents[3] / "docs" / "screenshots"
COLOURS = 256
SECONDS = 60
"""How long a page may take on a busy machine."""
POLL_SECONDS = 0.1


def strict_policy(get_response):
    """Middleware: forbid inline scripts and styles, as a careful project does."""

    def respond(request):
        response = get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return respond


@contextlib.contextmanager
def open_browser(*, scripts=True):
    chromium = find_program("chromium", PACKAGES)
    driver = find_program("chromedriver", PACKAGES)
    with tempfile.TemporaryDirectory(prefix="ingest-chromium-") as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = str(chromium)
        for flag in (*FLAGS, f"--user-data-dir={folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not scripts:
            no_scripts = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", no_scripts)
        browser = webdriver.Chrome(options=options, service=Service(str(driver)))
        try:
            yield Browser(browser)
        finally:
            browser.quit()


class Browser:
    """A browser, in the words of the tests."""

    def __init__(self, driver):
        self.driver = driver
        self.server = ""

    def log_in(self, client):
        """Take over the session of a test client that has logged in."""
        self.driver.get(f"{self.server}/static/admin/css/base.css")
        self.driver.delete_all_cookies()
        # Closed, as whoever looks at wide lists has it.
        self.driver.execute_script("localStorage.setItem('django.admin.navSidebarIsOpen', false)")
        value = client.cookies["sessionid"].value
        self.driver.add_cookie({"name": "sessionid", "value": value, "path": "/"})

    def open(self, address):
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.driver.get(f"{self.server}{address}")
        self._wait_for_page_after(before)

    def click(self, text):
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.driver.find_element(By.XPATH, f"//a[normalize-space()='{text}']").click()
        self._wait_for_page_after(before)

    def press(self, selector):
        before = self.driver.find_element(By.TAG_NAME, "html")
        self.one(selector).click()
        self._wait_for_page_after(before)

    def _wait_for_page_after(self, before):
        """Wait for the next page, and for all of it: its rows come after its beginning."""
        self.wait(lambda: _is_gone(before) and self._is_whole())

    def _is_whole(self):
        try:
            return self.driver.execute_script("return document.readyState") == "complete"
        except WebDriverException:  # between two pages
            return False

    def wait(self, condition):
        """Wait until the condition is true; the page may be replaced while it is looked at."""
        waiting = WebDriverWait(
            self.driver, SECONDS, POLL_SECONDS, ignored_exceptions=[StaleElementReferenceException]
        )
        return waiting.until(lambda _: condition())

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def texts(self, selector):
        """Return the texts of what is there as they are written: a style may show capitals."""
        found = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map((it) => it.textContent)",
            selector,
        )
        return [" ".join(text.split()) for text in found]

    @property
    def text(self):
        return self.one("body").text

    def show(self, size=(1440, 860), scheme="light"):
        """Give the window a size, and the pages the colours that a person prefers."""
        self.driver.set_window_size(*size)
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)

    def take_picture(self, name):
        """Keep what is on the screen for the docs, in few colours, which makes a small file."""
        from PIL import Image

        PICTURES.mkdir(exist_ok=True)
        shown = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        colours = shown.quantize(COLOURS, dither=Image.Dither.NONE)
        colours.save(PICTURES / f"{name}.png", optimize=True)

    def complaints(self):
        """Return what the console says went wrong, and forget it."""
        log = self.driver.get_log("browser")
        return [
            entry["message"]
            for entry in log
            if entry["level"] == "SEVERE" and "favicon.ico" not in entry["message"]
        ]


def _is_gone(element):
    try:
        element.is_enabled()
    except WebDriverException:  # one word for stale elements and for pages that are left
        return True
    return False
