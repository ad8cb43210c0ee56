"""The way from a file to a load, and its undo, without a mouse."""

import pytest
from django.contrib.auth import get_user_model
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ingest.models import Load
from tests.admin.uploads.browser.test_chromium import CONTINUE
from tests.admin.uploads.conftest import ADD, STEPS
from tests.admin.uploads.test_way import REFUSED, numbers

pytestmark = pytest.mark.django_db(transaction=True)

MOST_TABS = 100
FOCUS = """
const shown = (it) => ["outlineStyle", "outlineWidth", "boxShadow", "borderTopColor",
  "textDecoration", "backgroundColor", "color"].map((name) => getComputedStyle(it)[name]).join();
const it = document.activeElement;
it.style.transition = "none";
const focused = shown(it);
it.blur();
const plain = shown(it);
it.focus({focusVisible: true});
const {width, height} = it.getBoundingClientRect();
const label = it.labels?.[0]?.innerText || it.ariaLabel || it.innerText || it.value || it.title
  || document.getElementById(it.getAttribute("aria-labelledby"))?.innerText;
return [focused !== plain, width > 1 && height > 1, Boolean(label && label.trim()), it.outerHTML];
"""


class Keyboard:
    """Presses keys, and checks whatever has the focus in the page's content."""

    def __init__(self, browser):
        self.browser = browser

    def tab_to(self, selector):
        """Press Tab until the element has the focus; everything on the way must be visible."""
        wanted = self.browser.one(selector)
        for _ in range(MOST_TABS):
            ActionChains(self.browser.driver).send_keys(Keys.TAB).perform()
            focused = self.browser.driver.switch_to.active_element
            if self.browser.driver.execute_script(
                "return document.querySelector('#content').contains(arguments[0])", focused
            ):
                is_shown, has_size, has_label, html = self.browser.driver.execute_script(FOCUS)
                assert (is_shown, has_size, has_label) == (True, True, True), html
            if focused == wanted:
                return focused
        pytest.fail(f"Tab does not reach {selector}.")

    def press(self, selector, key=Keys.ENTER):
        """Tab to a button or a link, press a key on it, and wait for the next page."""
        element = self.tab_to(selector)
        before = self.browser.driver.find_element(By.TAG_NAME, "html")
        element.send_keys(key)
        self.browser._wait_for_page_after(before)


@pytest.mark.parametrize(("scheme", "language"), [("light", "en"), ("dark", "ar")])
def test_the_way_and_the_undo(chromium, visit, tmp_path, settings, scheme, language):
    settings.LANGUAGE_CODE = language
    get_user_model().objects.create_user("root")
    file = tmp_path / "accounts.csv"
    file.write_text(REFUSED)
    browser = visit(chromium)
    browser.show(scheme=scheme)
    keyboard = Keyboard(browser)
    browser.open(f"{ADD}?model=finance.Account")
    keyboard.tab_to("input[type=file]").send_keys(str(file))
    keyboard.press("input[type=submit]")
    for step in STEPS[:-1]:
        assert browser.driver.current_url.endswith(f"/{step}/")
        keyboard.press(CONTINUE)
    keyboard.tab_to("input[name=rejects]").send_keys(Keys.SPACE)
    keyboard.press("button[value=confirm]")
    load = Load.objects.get()
    assert (load.status, numbers()) == ("loaded", ["DE1", "DE2"])
    keyboard.press(".object-tools a[href='../undo/']")
    keyboard.press("input.ingest-destructive")
    assert numbers() == []
    assert browser.complaints() == []
