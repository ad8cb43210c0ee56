"""No page of the way violates WCAG 2.1 AA, as far as axe-core finds out by itself."""

import subprocess

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse

from ingest.models import SavedLayout
from tests.admin.uploads.browser.test_chromium import go_the_way
from tests.admin.uploads.test_way import REFUSED
from tests.postgres.connection.servers.programs import find_program

AXE = "axe-core@4.14.1"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
RUN = """
const done = arguments[arguments.length - 1];
axe.run("#content", {runOnly: arguments[0]}).then((found) => done(found.violations.map(
  (it) => [it.id, it.help, it.nodes.map((node) => node.html + " " + node.failureSummary)])));
"""

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core, fetched by npm."""
    folder = tmp_path_factory.mktemp("axe")
    npm = find_program("npm", "npm")
    command = [npm, "install", "--silent", "--prefix", folder, AXE]
    subprocess.run(command, check=True, timeout=120)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_violates_the_rules(chromium, visit, tmp_path, axe, scheme):
    get_user_model().objects.create_user("root")
    file = tmp_path / "accounts.csv"
    file.write_text(REFUSED)
    browser = visit(chromium)
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    found = {}

    def look(step):
        browser.driver.execute_script(axe)
        if violations := browser.driver.execute_async_script(RUN, RULES):
            found[step] = violations

    go_the_way(browser, file, look)
    look("load")
    saved = SavedLayout.objects.create(
        name="Bank",
        model="finance.Account",
        layout='model = "finance.Account"\n',
        columns=["number"],
        owner=get_user_model().objects.get(username="boss"),
    )
    browser.open(reverse("admin:ingest_savedlayout_change", args=[saved.pk]))
    look("saved layout")
    browser.open(reverse("admin:ingest_upload_changelist"))
    look("uploads")
    assert found == {}
