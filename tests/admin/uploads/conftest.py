import pytest
from django.conf import settings as project
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from ingest.models import Upload
from tests.admin.uploads import runners

STEPS = ("file", "mapping", "options", "preview", "check", "confirm")
ADD = reverse("admin:ingest_upload_add")


@pytest.fixture(autouse=True)
def folder(tmp_path, settings):
    """Where uploads are kept, and who performs loads: this process."""
    runners.numbers.clear()
    settings.INGEST = {
        **project.INGEST,
        "UPLOAD_FOLDER": str(tmp_path / "uploads"),
        "RUNNER": "tests.admin.uploads.runners.at_once",
    }
    return tmp_path / "uploads"


@pytest.fixture
def way(admin_client, django_capture_on_commit_callbacks):
    return Way(admin_client, django_capture_on_commit_callbacks)


@pytest.fixture
def way_of(django_capture_on_commit_callbacks):
    """The way as another client goes it."""
    return lambda client: Way(client, django_capture_on_commit_callbacks)


class Way:
    """Goes the way from a file to a load, as a browser does."""

    def __init__(self, client, capture):
        self.client = client
        self._capture = capture
        self.key = ""

    def upload(self, content, name="statement.csv", model="finance.Account"):
        if isinstance(content, str):
            content = content.encode()
        file = SimpleUploadedFile(name, content)
        response = self.client.post(ADD, {"model": model, "file": file})
        if response.status_code == 302:
            self.key = response.url.strip("/").split("/")[-2]
        return response

    @property
    def found(self):
        return Upload.objects.get(pk=self.key)

    def address(self, step):
        return reverse(f"admin:ingest_upload_{step}", args=[self.key])

    def get(self, step):
        return self.client.get(self.address(step))

    def post(self, step, **fields):
        with self._capture(execute=True):
            return self.client.post(self.address(step), {"action": "continue", **fields})

    def inputs(self, step):
        """Return what the form of a step would post as it is."""
        context = self.get(step).context
        if step == "mapping":
            return {
                name: value
                for row in context["rows"]
                for name, value in (
                    (f"source-{row.name}", row.choice),
                    (f"lookup-{row.name}", row.lookup),
                    (f"constant-{row.name}", row.constant),
                    (f"formats-{row.name}", row.formats),
                )
            }
        form = context["form"]
        return {field.name: field.value() for field in form if field.value() not in {None, False}}

    def go(self, to, start="file", **changed):
        """Post each step as it is, from ``start`` up to one that is to be shown."""
        for step in STEPS[STEPS.index(start) : STEPS.index(to)]:
            fields = self.inputs(step) if step in {"file", "mapping", "options"} else {}
            response = self.post(step, **{**fields, **changed.get(step, {})})
            said = response.context and (response.context["error"], self.found.check_result)
            assert response.status_code == 302, (step, said)
        return self.get(to)
