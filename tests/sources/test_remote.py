"""Files in storages, in buckets and on web servers."""

import builtins
import gzip
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from ingest import detect
from ingest.exceptions import ConfigurationError, SourceError
from ingest.sources import SourceOptions, open_source
from ingest.sources.addresses import has_hidden_parts, hide, without_credentials
from tests.sources.read_source import read
from tests.sources.web_server import bucket_address, serve
from tests.sources.workbooks import make

CSV = b"a,b\n1,2\n"


@pytest.fixture
def server():
    with serve(**{"/rows.csv": CSV, "/bucket/dir/rows.csv": CSV}) as running:
        yield running


@pytest.fixture
def kept(settings, tmp_path):
    settings.STORAGES = {
        **settings.STORAGES,
        "memory": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "disk": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": tmp_path / "disk"},
        },
    }
    for alias in ("memory", "disk"):
        storages[alias].save("in/rows.csv", ContentFile(CSV))


def refused(address):
    with pytest.raises((SourceError, ConfigurationError)) as caught:
        read(address)
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_a_file_on_a_web_server(server):
    got = read(f"http://{server.host}/rows.csv")
    assert (got.columns, got.texts) == (("a", "b"), [("1", "2")])
    assert got.name == f"http://{server.host}/rows.csv"
    assert got.bytes_read == got.bytes_total == len(CSV)
    assert detect(f"http://{server.host}/rows.csv").options.delimiter == ","


def test_a_file_in_a_bucket(server):
    got = read(bucket_address(server, "bucket/dir/rows.csv"))
    assert got.texts == [("1", "2")]
    assert got.name == "s3://bucket/dir/rows.csv"
    assert all("SECRETPART" not in str(asked) for asked in server.asked)


@pytest.mark.usefixtures("kept")
def test_a_file_of_a_storage():
    for alias in ("memory", "disk"):
        got = read(f"storage:{alias}/in/rows.csv")
        assert (got.texts, got.name) == ([("1", "2")], f"storage:{alias}/in/rows.csv")
    with open_source("storage:disk/in/rows.csv") as source:
        assert source.paths
    assert refused("storage:disk/in/no.csv") == "There is no file 'storage:disk/in/no.csv'."
    assert refused("storage:disk/../../x.csv") == (
        "'storage:disk/../../x.csv' is outside of its storage."
    )
    assert "Did you mean 'disk'?" in refused("storage:dsk/in/rows.csv")
    assert "must be written as storage:ALIAS/NAME" in refused("storage:rows.csv")


def test_every_format_by_the_names_end(server, tmp_path):
    make(tmp_path / "rows.xlsx", [["a"], [1]])
    pq.write_table(pa.table({"a": [1]}), tmp_path / "rows.parquet")
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.jsonl", '{"a": 1}')
    for name in ("rows.xlsx", "rows.parquet", "rows.zip"):
        server.files[f"/{name}"] = (tmp_path / name).read_bytes()
        server.files[f"/bucket/{name}"] = server.files[f"/{name}"]
    server.files["/rows.jsonl.gz"] = gzip.compress(b'{"a": 1}\n')
    for name in ("rows.xlsx", "rows.parquet", "rows.zip", "rows.jsonl.gz"):
        assert (name, read(f"http://{server.host}/{name}?download=1").rows) == (name, [(1,)])
    assert read(bucket_address(server, "bucket/rows.xlsx")).rows == [(1,)]
    assert read(bucket_address(server, "bucket/rows.zip")).rows == [(1,)]


def test_several_addresses(server):
    server.files["/more.csv"] = b"b,a\n4,3\n"
    got = read([f"http://{server.host}/rows.csv", f"http://{server.host}/more.csv?x=1"])
    assert got.texts == [("1", "2"), ("3", "4")]


def test_credentials_are_in_no_message(server):
    address = f"http://user:pass-word@{server.host}/rows.csv?sig=signature#part"
    got = read(address)
    assert got.name == f"http://{server.host}/rows.csv"
    assert server.asked[-1][2].startswith("Basic ")
    assert refused(address.replace("rows", "no")) == (
        f"There is no file 'http://{server.host}/no.csv'."
    )
    away = refused("http://user:pass-word@127.0.0.1:9/rows.csv?sig=signature")
    assert away.startswith("'http://127.0.0.1:9/rows.csv' cannot be read: ")
    assert not any(secret in away for secret in ("pass-word", "signature", "user"))
    assert refused(bucket_address(server, "bucket/no.csv")) == (
        "There is no file 's3://bucket/no.csv'."
    )


@pytest.mark.parametrize(
    ("address", "want"),
    [
        ("https://a.org/x.csv", "https://a.org/x.csv"),
        (
            "https://me:pw@a.org:8/x.csv?id=1&sig=2#f",
            "https://hidden@a.org:8/x.csv?id=hidden&sig=hidden",
        ),
        ("https://a.org/x.csv?token", "https://a.org/x.csv?token=hidden"),
        (
            "s3://k:s@b/x.csv?region=eu&session_token=t",
            "s3://hidden@b/x.csv?region=eu&session_token=hidden",
        ),
        ("storage:default/x.csv", "storage:default/x.csv"),
    ],
)
def test_what_of_an_address_is_kept(address, want):
    kept = without_credentials(address)
    assert kept == want
    assert has_hidden_parts(kept) == ("hidden" in want)
    assert without_credentials(kept) == kept


def test_a_file_is_the_same_as_long_as_its_stamp_is(server):
    address = f"http://{server.host}/rows.csv"

    def identity():
        with open_source(address, SourceOptions()) as source:
            return source.identity

    first = identity()
    assert first == identity() != ""
    server.files["/rows.csv"] = b"a,b\n1,3\n"
    assert identity() not in {first, ""}
    with open_source(address, SourceOptions()) as source:
        server.files["/rows.csv"] = b"a,b\n9,9\n"
        with pytest.raises(SourceError, match="was changed while it was read"):
            source.check_unchanged()
    server.has_stamps = False
    assert identity() == ""


def test_what_is_not_installed_is_named_with_its_extra(server, monkeypatch, tmp_path):
    import_ = builtins.__import__

    def without(name, *arguments, **options):
        if name.partition(".")[0] in {"fsspec", "python_calamine"}:
            raise ImportError(name)
        return import_(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(f"http://{server.host}/rows.csv").endswith(
        "pip install 'django-ingest[remote]'."
    )
    path = make(tmp_path / "rows.xlsx", [["a"], [1]])
    with pytest.raises(ConfigurationError, match=r"pip install 'django-ingest\[excel\]'\."):
        read(path)


@pytest.mark.parametrize(
    ("address", "said", "want"),
    [
        ("s3://ann:sesame@b/x", "ann may not read (sesame).", "hidden may not read (hidden)."),
        ("s3://ann:sesame@b/x", "s3://ann:sesame@b/x is gone.", "s3://b/x is gone."),
        ("s3://ann:sesame@b/x", "user_ann: 'sesame', \"ann\"", "user_hidden: 'hidden', \"hidden\""),
        ("s3://ann:sesame@b/x", "ann:sesame@b says no", "hidden@b says no"),
        ("s3://ann:sesame@b/x", "the planned bucket", ""),  # perhaps put there by the library
        ("s3://ann:sesame-open@b/x", "keysesame-open1", "keyhidden1"),
        ("s3://a:b@b/x", "cannot read", ""),
        ("s3://a:b@x/y", "NoSuchKey", "NoSuchKey"),
        ("s3://a:b@x/y", "s3://a:b@x/y", "s3://x/y"),
        ("s3://hid:den@x/y", "hid den", "hidden hidden"),
        ("s3://x%2By:p%40ss@b/f", "x+y, x%2By, p@ss, p%40ss", "hidden, hidden, hidden, hidden"),
        ("s3://b/x?region=eu-west-1&scheme=http", "no http in eu-west-1", "no http in eu-west-1"),
        ("https://h/x?v=3&sig=abcdefgh", "403, https://h/x?v=3&sig=abcdefgh", "403, https://h/x"),
        ("https://h/x?v=3&sig=abcdefgh", "403: sig abcdefgh", "403: sig hidden"),
        ("https://h/x?id=one&id=two", "one, two", "hidden, hidden"),
        ("https://h/x?token", "no token", "no hidden"),
    ],
)  # fmt: skip
def test_a_librarys_message_is_readable_without_credentials(address, said, want):
    assert hide(said, address) == want
