"""Files of several formats with refused records: the same table and rejects, whoever loads them."""

import pytest
from django.conf import settings
from django.db import connection

from tests.loading.dask_cluster import Cluster
from tests.performance.customer import fill_segments
from tests.performance.customers.models import Customer
from tests.performance.stream import BAD, contents, load_files, write_files

pytestmark = pytest.mark.django_db(transaction=True)
FILES, ROWS = 12, 1_200


@pytest.fixture
def cluster(tmp_path):
    facts = connection.settings_dict
    url = f"postgres://{facts['USER']}@/{facts['NAME']}?host={facts['HOST']}&port={facts['PORT']}"
    cluster = Cluster(tmp_path, url, settings=settings.SETTINGS_MODULE)
    yield cluster
    cluster.end()


def test_a_stream_by_processes_and_by_dask(tmp_path, cluster):
    write_files(tmp_path, ROWS, FILES)
    fill_segments()
    found = {}
    by_dask = {"scheduler": cluster.address}
    ways = {"alone": {}, "2 workers": {"workers": 2}, "4 workers": {"workers": 4}, "Dask": by_dask}
    for name, who in ways.items():
        result = load_files(tmp_path, ROWS, FILES, **who)
        rejected = FILES * (len(BAD) + 1)
        assert (result.rows, result.rejected) == (ROWS - rejected, rejected)
        assert Customer.objects.count() == ROWS - rejected
        assert result.load.options["how"].get("order") == ("any" if name == "Dask" else None)
        found[name] = contents(result)
        Customer.objects.all().delete()
    assert found["2 workers"] == found["4 workers"] == found["alone"]
    del found["alone"]["rejects in order"]
    assert found["Dask"] == found["alone"]
