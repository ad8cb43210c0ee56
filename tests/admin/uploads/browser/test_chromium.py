"""The whole way in a real browser, under a strict content security policy."""

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from finance.models import Account
from ingest.models import Load, Upload
from tests.admin.uploads.conftest import ADD, STEPS
from tests.admin.uploads.test_way import REFUSED, numbers

pytestmark = pytest.mark.django_db(transaction=True)

ACCOUNTS = reverse("admin:finance_account_changelist")
SIZES = {"": (1440, 860), "-phone": (390, 844)}
SCHEMES = {"": "light", "-dark": "dark"}
"""Each by the end of the name of its picture."""
CONTINUE = "button[value=continue]"


@pytest.fixture(autouse=True)
def root():
    return get_user_model().objects.create_user("root")


@pytest.fixture
def statement(tmp_path):
    path = tmp_path / "accounts.csv"
    path.write_text(REFUSED)
    return path


def upload(browser, file):
    browser.open(f"{ADD}?model=finance.Account")
    browser.one("input[type=file]").send_keys(str(file))
    browser.press("input[type=submit]")


def go_the_way(browser, file, see=lambda _: None):
    browser.open(ACCOUNTS)
    browser.click("Load a file")
    see("choose")
    browser.one("input[type=file]").send_keys(str(file))
    browser.press("input[type=submit]")
    for step in STEPS[:-1]:
        assert browser.driver.current_url.endswith(f"/{step}/")
        see(step)
        browser.press(CONTINUE)
    see("confirm")
    browser.one("input[name=rejects]").click()
    browser.press("button[value=confirm]")


def overflows(browser):
    """Return by how many pixels the page is wider than the window."""
    return browser.driver.execute_script(
        "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def test_the_whole_way(chromium, visit, statement, request):
    browser = visit(chromium)
    takes_pictures = request.config.getoption("screenshots")

    def see(step):
        for suffix, size in SIZES.items():
            for ending, scheme in SCHEMES.items() if takes_pictures else [("", "light")]:
                browser.show(size, scheme)
                if takes_pictures:
                    browser.take_picture(f"upload-{step}{suffix}{ending}")
            assert overflows(browser) <= 0, (step, suffix)
        browser.show(SIZES[""])
        current = browser.texts("[aria-current=step]")
        assert len(current) == 1

    go_the_way(browser, statement, see)
    load = Load.objects.get()
    assert browser.driver.current_url.endswith(f"/load/{load.pk}/change/")
    assert (load.status, load.loaded, load.rejected) == ("loaded", 2, 2)
    assert numbers() == ["DE1", "DE2"]
    assert browser.complaints() == []


def test_the_whole_way_without_scripts_in_the_dark(chromium_without_scripts, visit, statement):
    browser = visit(chromium_without_scripts)
    browser.show(scheme="dark")
    go_the_way(browser, statement)
    assert numbers() == ["DE1", "DE2"]


def test_a_clerk_goes_the_way_from_right_to_left(chromium, visit, statement, settings):
    settings.LANGUAGE_CODE = "ar"
    browser = visit(chromium, "upload_load", "add_account")
    upload(browser, statement)
    assert browser.one("html").get_attribute("dir") == "rtl"
    for step in STEPS[:3]:
        assert overflows(browser) <= 0, step
        browser.press(CONTINUE)
    assert Account.objects.count() == 0
    assert browser.complaints() == []


def test_the_pages_are_tried_under_a_strict_policy(chromium, visit):
    browser = visit(chromium)
    browser.open(ADD)
    policy = "fetch(location).then((it) => arguments[0](it.headers.get('Content-Security-Policy')))"
    assert browser.driver.execute_async_script(policy).startswith("default-src 'none'")


def test_a_file_that_is_too_large_is_told_of_before_it_is_sent(
    chromium, visit, statement, settings
):
    settings.INGEST = {**settings.INGEST, "UPLOAD_BYTES": 10}
    browser = visit(chromium)
    browser.open(f"{ADD}?model=finance.Account")
    field = browser.one("input[type=file]")
    field.send_keys(str(statement))
    said = browser.driver.execute_script("return arguments[0].validationMessage", field)
    assert said == "The file is larger than allowed."


def test_who_goes_back_uploads_again(chromium, visit, statement):
    browser = visit(chromium)
    upload(browser, statement)
    browser.driver.back()
    button = browser.one("input[type=submit]")
    assert button.is_enabled()
    browser.driver.execute_script(
        "arguments[0].disabled = true; window.dispatchEvent(new Event('pageshow'))", button
    )
    assert button.is_enabled()  # as where the browser shows the page as it was left
    browser.one("input[type=file]").send_keys(str(statement))
    browser.press("input[type=submit]")
    assert browser.driver.current_url.endswith("/file/")
    assert Upload.objects.count() == 2
    assert browser.complaints() == []
