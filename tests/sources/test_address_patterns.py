"""Patterns of addresses in buckets and storages."""

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from ingest import detect
from ingest.exceptions import ConfigurationError, SourceError
from ingest.sources import open_source
from tests.sources.read_source import read
from tests.sources.web_server import bucket_address, serve

FILES = {
    "in/2025/a.csv": b"a,b\n1,2\n",
    "in/2025/b.csv": b"b,a\n4,3\n",
    "in/2026/a b+.csv": b"a,b\n5,6\n",
    "in/2026/deep/er/c.csv": b"a,b\n7,8\n",
    "in/2026/.hidden.csv": b"a,b\n0,0\n",
    "in/.old/d.csv": b"a,b\n0,0\n",
    "in/readme.txt": b"none",
}
PATTERNS = [
    ("in/2025/*.csv", ["1", "3"]),
    ("in/*/a*.csv", ["1", "5"]),
    ("in/**/*.csv", ["1", "3", "5", "7"]),
    ("in/2026/**/*.csv", ["5", "7"]),
    ("in/202[56]*/**/[ac]*.csv", ["1", "5", "7"]),
    ("in/2026/.h*.csv", ["0"]),
]


@pytest.fixture
def server():
    with serve() as running:
        running.files = {f"/bucket/{name}": content for name, content in FILES.items()}
        yield running


@pytest.fixture(params=["memory", "disk"])
def alias(request, settings, tmp_path):
    settings.STORAGES = {
        **settings.STORAGES,
        "memory": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "disk": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "disk"},
        },
    }
    for name, content in FILES.items():
        storages[request.param].save(name, ContentFile(content))
    return request.param


@pytest.mark.parametrize(("pattern", "want"), PATTERNS)
def test_in_a_bucket(server, pattern, want):
    if "[" in pattern:
        pattern = pattern.replace("[", "%5B").replace("]", "%5D")
    got = read(bucket_address(server, f"bucket/{pattern}"))
    assert [first for first, _ in got.texts] == want
    assert "SECRETPART" not in got.name


@pytest.mark.parametrize(("pattern", "want"), PATTERNS)
def test_in_a_storage(alias, pattern, want):
    got = read(f"storage:{alias}/{pattern}")
    # A storage may save a file under another name than the given one, such as a_b.csv.
    assert [first for first, _ in got.texts] == want


def test_names_of_its_files(server):
    with open_source(bucket_address(server, "bucket/in/*/*.csv")) as source:
        assert source.name == (
            "3 files from s3://bucket/in/2025/a.csv to s3://bucket/in/2026/a%20b%2B.csv"
        )
        assert source.bytes_total == 24
        names = [batch.source for batch in source.batches()]
    assert names[-1] == "s3://bucket/in/2026/a%20b%2B.csv"
    # The listing contains the sizes, so files are requested only to be read.
    assert sum(command == "HEAD" for command, *_ in server.asked) <= 2 * len(names) + 2


def test_patterns_among_others(server, tmp_path):
    (tmp_path / "x.csv").write_bytes(b"a,b\n9,9\n")
    pattern = bucket_address(server, "bucket/in/2025/*.csv")
    assert len(read([str(tmp_path / "*.csv"), pattern]).texts) == 3


def test_what_is_detected(server):
    found = detect(bucket_address(server, "bucket/in/2025/*.csv"))
    assert [column.name for column in found.columns] == ["a", "b"]


@pytest.mark.parametrize(
    ("pattern", "want"),
    [
        ("in/*.parquet", "No file matches 's3://bucket/in/*.parquet'."),
        ("no/*.csv", "No file matches 's3://bucket/no/*.csv'."),
    ],
)
def test_no_file_is_like_it(server, pattern, want):
    with pytest.raises(SourceError) as caught:
        open_source(bucket_address(server, f"bucket/{pattern}"))
    assert str(caught.value) == want


def test_a_storage_that_is_not_there(alias):
    with pytest.raises(ConfigurationError, match="There is no storage"):
        open_source(f"storage:{alias}x/*.csv")
    with pytest.raises(SourceError, match=r"No file matches 'storage:.*/no/\*\.csv'"):
        open_source(f"storage:{alias}/no/*.csv")
    with pytest.raises(SourceError, match="is outside of its storage"):
        open_source(f"storage:{alias}/../*.csv")


def test_a_star_in_a_web_address_is_one_of_its_name(server):
    server.files["/a*.csv"] = b"a,b\n1,2\n"
    assert read(f"http://{server.host}/a*.csv").texts == [("1", "2")]


def test_several_are_the_same_as_long_as_all_are(server):
    pattern = bucket_address(server, "bucket/in/2025/*.csv")

    def identity(given=pattern):
        with open_source(given) as source:
            return source.identity

    first = identity()
    assert first == identity() != ""
    server.files["/bucket/in/2025/b.csv"] = b"b,a\n4,44\n"
    assert identity() not in {first, ""}
    web = [f"http://{server.host}/bucket/in/2025/{name}.csv" for name in "ab"]
    assert identity(web) != ""
    server.has_stamps = False
    assert identity(web) == ""
