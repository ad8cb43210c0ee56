"""What a browser shows if a server, a worker, a session or a person stops in the middle."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone
from selenium.webdriver import ActionChains

from ingest.models import Load, Upload
from tests.admin.uploads.browser.test_chromium import CONTINUE, upload
from tests.admin.uploads.conftest import STEPS
from tests.admin.uploads.test_way import ACCOUNTS, numbers

pytestmark = pytest.mark.django_db(transaction=True)

AWAY = "[data-ingest-away]"


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


@pytest.fixture
def statement(tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_text(ACCOUNTS)
    return path


@pytest.fixture
def nobody_works(settings):
    """The runner takes the number of a load, and no worker ever asks for it."""
    settings.INGEST = {**settings.INGEST, "RUNNER": "tests.admin.uploads.runners.never"}


def go_to(browser, last):
    for _ in STEPS[: STEPS.index(last)]:
        browser.press(CONTINUE)
    assert browser.driver.current_url.endswith(f"/{last}/")


def set_offline(browser, is_offline):
    """Make each request fail, as while the server is restarted."""
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions", {**conditions, "offline": is_offline}
    )


def go_away_and_come_back(browser):
    set_offline(browser, True)
    browser.wait(browser.one(AWAY).is_displayed)
    set_offline(browser, False)
    browser.wait(lambda: not browser.one(AWAY).is_displayed())
    browser.complaints()  # of the requests that failed


def test_the_dry_run_goes_on_after_the_server_was_away(chromium, visit, statement, nobody_works):
    browser = visit(chromium)
    upload(browser, statement)
    go_to(browser, "check")
    go_away_and_come_back(browser)
    result = {"error": "It was stopped."}
    Upload.objects.update(state=Upload.State.CHECKED, check_result=result)
    browser.wait(lambda: "It was stopped." in "".join(browser.texts("#content")))
    assert browser.one("button[value=begin]").is_displayed()


def test_the_load_goes_on_after_the_server_was_away(chromium, visit, statement, settings):
    browser = visit(chromium)
    upload(browser, statement)
    go_to(browser, "confirm")
    settings.INGEST = {**settings.INGEST, "RUNNER": "tests.admin.uploads.runners.never"}
    browser.press("button[value=confirm]")
    assert browser.texts(".ingest-state")[0].startswith("Waiting")
    go_away_and_come_back(browser)
    long_ago = timezone.now() - timedelta(seconds=40)
    Load.objects.update(started_at=long_ago, seen_at=long_ago)
    browser.wait(lambda: "Waiting for 4" in "".join(browser.texts(".ingest-state")))
    browser.driver.refresh()
    assert "check that a worker is running" in browser.text
    Load.objects.update(status=Load.Status.FAILED, error="No.", ended_at=timezone.now())
    browser.wait(lambda: browser.texts(".ingest-state") == ["Failed"])
    assert numbers() == []


def test_a_dry_run_that_no_worker_begins_can_be_run_again(chromium, visit, statement, nobody_works):
    browser = visit(chromium)
    upload(browser, statement)
    go_to(browser, "check")
    assert "The dry run is starting." in browser.text
    Upload.objects.update(seen_at=timezone.now() - timedelta(seconds=31))
    browser.wait(lambda: "check that a worker is running" in "".join(browser.texts("#content")))
    browser.wait(lambda: browser.driver.find_elements("css selector", "button[value=begin]"))
    assert browser.complaints() == []


def test_who_is_logged_out_logs_in_and_is_back(chromium, visit, statement, nobody_works):
    browser = visit(chromium)
    upload(browser, statement)
    go_to(browser, "check")
    address = browser.driver.current_url
    Session.objects.all().delete()
    browser.wait(lambda: "/login/?next=" in browser.driver.current_url)
    boss = get_user_model().objects.get(username="boss")
    boss.set_password("pw")
    boss.save()
    browser.one("#id_username").send_keys("boss")
    browser.one("#id_password").send_keys("pw")
    browser.press("input[type=submit]")
    assert browser.driver.current_url == address


def test_a_double_click_loads_once(chromium, visit, statement):
    browser = visit(chromium)
    upload(browser, statement)
    go_to(browser, "confirm")
    button = browser.one("button[value=confirm]")
    ActionChains(browser.driver).double_click(button).perform()
    # The second request is answered while the first one loads: its page shows the load's progress.
    browser.wait(lambda: browser.texts(".ingest-state") == ["Loaded"])
    assert (Load.objects.get().status, numbers()) == ("loaded", ["DE1", "DE2"])


def test_two_tabs_load_once_and_the_second_shows_the_load(chromium, visit, statement):
    browser = visit(chromium)
    upload(browser, statement)
    go_to(browser, "confirm")
    first, address = browser.driver.current_window_handle, browser.driver.current_url
    browser.driver.switch_to.new_window("tab")
    try:
        browser.driver.get(address)
        browser.wait(lambda: browser.driver.find_elements("css selector", "[value=confirm]"))
        browser.driver.switch_to.window(first)
        browser.press("button[value=confirm]")
        second = next(it for it in browser.driver.window_handles if it != first)
        browser.driver.switch_to.window(second)
        browser.press("button[value=confirm]")
        load = Load.objects.get()
        assert browser.driver.current_url.endswith(
            reverse("admin:ingest_load_change", args=[load.pk])
        )
        browser.driver.back()  # to a step of a confirmed load
        browser.driver.refresh()
        assert browser.driver.current_url.endswith(f"/load/{load.pk}/change/")
    finally:
        for other in set(browser.driver.window_handles) - {first}:
            browser.driver.switch_to.window(other)
            browser.driver.close()
        browser.driver.switch_to.window(first)
    assert numbers() == ["DE1", "DE2"]
