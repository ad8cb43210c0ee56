import pytest
from django.conf import settings as project
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client, override_settings
from pytest_django.live_server_helper import LiveServer

from tests.end_to_end.browser.driver import open_browser


@pytest.fixture(scope="module")
def chromium():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def chromium_without_scripts():
    with open_browser(scripts=False) as browser:
        yield browser


@pytest.fixture(scope="package")
def server(django_db_setup):
    # Not `live_server`: that has its middleware before a test can add to it.
    browser = "tests.end_to_end.browser"
    extra = [f"{browser}.driver.strict_policy", "tests.admin.uploads.browser.cutting.cut"]
    hosts = ["localhost", "testserver"]
    with override_settings(MIDDLEWARE=[*project.MIDDLEWARE, *extra], ALLOWED_HOSTS=hosts):
        started = LiveServer("localhost")
        yield started
        started.stop()


@pytest.fixture
def visit(server):
    """Give a browser in which somebody is logged in: a superuser, or a clerk with these rights."""

    def visit(browser, *permissions):
        users = get_user_model().objects
        if permissions:
            user = users.create_user("clerk", is_staff=True)
            user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        else:
            user = users.create_superuser("boss")
        client = Client()
        client.force_login(user)
        browser.server = server.url
        browser.log_in(client)
        return browser

    return visit
