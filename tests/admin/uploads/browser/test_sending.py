"""What a browser shows while it sends a large file."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from selenium.webdriver.common.keys import Keys

from ingest.models import Upload
from tests.admin.uploads.browser import cutting
from tests.admin.uploads.conftest import ADD

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1024 * 1024
BYTES = 50 * MEGABYTE
SLOW, FAST = 5 * MEGABYTE, -1
"""Bytes a second; with FAST the browser does not wait."""
BAR = "progress[id=ingest-sent]"
STOP = "[data-ingest-stop]"
TOLD = "[data-ingest-told]"
UPLOAD = "input[type=submit]"
WATCH = """
window.seen = [];
const section = document.querySelector("[data-ingest-sending]");
new MutationObserver(() => window.seen.push([
  section.querySelector("progress").value, section.querySelector("[data-ingest-text]").textContent,
])).observe(section, {subtree: true, childList: true, attributes: true});
"""
FOCUSED = "return document.activeElement === document.querySelector(arguments[0])"


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "accounts.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("user__username,number,name,currency,opened_on\n")
        for number in range(BYTES // 50):
            file.write(f"root,DE{number:020d},Giro account,EUR,2025-01-31\n")
    assert BYTES < path.stat().st_size < 2 * BYTES
    return path


@pytest.fixture
def small_file(tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_text("user__username,number\nroot,DE1\n")
    return path


@pytest.fixture
def limit(chromium):
    """Let the browser send only so many bytes a second."""

    def limit(rate):
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
        chromium.driver.execute_cdp_cmd("Network.enable", {})
        chromium.driver.execute_cdp_cmd(
            "Network.emulateNetworkConditions", {**conditions, "uploadThroughput": rate}
        )

    yield limit
    limit(FAST)


def begin(browser, file):
    browser.open(f"{ADD}?model=finance.Account")
    browser.one("input[type=file]").send_keys(str(file))
    browser.driver.execute_script(WATCH)
    browser.one(UPLOAD).send_keys(Keys.ENTER)


def share(browser):
    return browser.driver.execute_script(f"return document.querySelector('{BAR}').value")


def is_on_the_next_step(browser):
    return browser.driver.current_url.endswith("/file/")


def test_the_progress_of_a_large_file_is_shown(chromium, visit, large_file, limit):
    browser = visit(chromium)
    limit(SLOW)
    begin(browser, large_file)
    assert browser.one(BAR).is_displayed()
    assert browser.one(BAR).accessible_name == "Sending the file"
    assert browser.one(BAR).aria_role == "progressbar"
    assert not browser.one(UPLOAD).is_enabled()
    browser.wait(lambda: share(browser) > 0.3)
    seen = browser.driver.execute_script("return window.seen")
    shares = [value for value, _ in seen]
    assert shares == sorted(shares)
    assert len(set(shares)) > 3
    size = f"{large_file.stat().st_size / MEGABYTE:.0f}"
    assert any(f" MB of {size}" in text and "%" in text for _, text in seen), seen
    limit(FAST)
    browser.wait(lambda: is_on_the_next_step(browser))
    assert Upload.objects.get().size == large_file.stat().st_size
    assert browser.complaints() == []


@pytest.mark.parametrize("key", [Keys.ENTER, Keys.ESCAPE])
def test_sending_can_be_cancelled_and_begun_again(
    chromium, visit, large_file, limit, small_file, key
):
    browser = visit(chromium)
    limit(SLOW)
    begin(browser, large_file)
    browser.wait(lambda: share(browser) > 0.1)
    assert browser.driver.execute_script(FOCUSED, STOP)
    browser.driver.switch_to.active_element.send_keys(key)
    assert browser.texts(TOLD) == ["The upload was cancelled. Nothing was stored."]
    assert not browser.one(BAR).is_displayed()
    assert browser.driver.execute_script(FOCUSED, UPLOAD)
    limit(FAST)
    assert Upload.objects.count() == 0
    browser.one("input[type=file]").send_keys(str(small_file))
    browser.press(UPLOAD)
    assert is_on_the_next_step(browser)
    assert Upload.objects.get().size == small_file.stat().st_size
    assert browser.complaints() == []


def test_a_connection_that_ends_is_told_of(chromium, visit, large_file):
    browser = visit(chromium)
    cutting.uploads.set()
    try:
        begin(browser, large_file)
        browser.wait(browser.one(TOLD).is_displayed)
    finally:
        cutting.uploads.clear()
    assert browser.texts(TOLD)[0].startswith("The upload failed: the connection ended")
    assert not browser.one(BAR).is_displayed()
    assert Upload.objects.count() == 0
    browser.complaints()  # of the request that failed
    browser.press(UPLOAD)
    assert is_on_the_next_step(browser)
    assert browser.complaints() == []


def test_a_file_that_is_refused_is_told_of_and_another_can_be_sent(
    chromium, visit, tmp_path, small_file
):
    empty = tmp_path / "empty.csv"
    empty.touch()
    browser = visit(chromium)
    begin(browser, empty)
    browser.wait(lambda: browser.texts(".errorlist"))
    assert browser.texts(".errorlist") == ["The file is empty: there is nothing to load."]
    field = browser.one("input[type=file]")
    assert field.get_attribute("aria-invalid") == "true"
    assert browser.driver.execute_script(FOCUSED, "input[type=file]")
    assert Upload.objects.count() == 0
    field.send_keys(str(small_file))
    browser.press(UPLOAD)
    assert is_on_the_next_step(browser)
    assert browser.complaints() == []


def test_who_is_logged_out_meanwhile_is_sent_to_the_login(chromium, visit, large_file):
    browser = visit(chromium)
    browser.open(f"{ADD}?model=finance.Account")
    browser.one("input[type=file]").send_keys(str(large_file))
    Session.objects.all().delete()
    browser.press(UPLOAD)
    browser.wait(lambda: "/login/?next=" in browser.driver.current_url)
    assert Upload.objects.count() == 0
    browser.complaints()  # of the connection, if the server ended it


def test_an_answer_that_is_no_page_of_ours_is_told_of(chromium, visit, small_file):
    browser = visit(chromium)
    browser.open(f"{ADD}?model=finance.Account")
    browser.driver.execute_script(
        "document.querySelector('form[enctype] [name=csrfmiddlewaretoken]').value = 'x'"
    )
    browser.one("input[type=file]").send_keys(str(small_file))
    browser.one(UPLOAD).click()
    browser.wait(browser.one(TOLD).is_displayed)
    assert browser.texts(TOLD) == [
        "The upload failed: the server answered with error 403. Reload this page, and try again."
    ]
    assert browser.one(UPLOAD).is_enabled()
    assert Upload.objects.count() == 0
    browser.complaints()  # of the answer
