"""No file of the user's is harmed by what a load writes."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from finance.models import Account
from ingest import ConfigurationError, IngestError, LedgerError, TooManyRejects, load, resume
from ingest.loading.output_files import OutputFiles
from ingest.models import Load
from tests.factories import UserFactory
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.django_db(transaction=True)

OUTPUTS = ("reject_log", "reject_file")
TEXT = "user,number,name\n1,A,x\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rows():
    user = UserFactory().pk
    path = Path("rows.csv")
    path.write_text(f"user,number,name\n{user},A,x\n{user},A,y\n{user},B,z\n")
    return path


def names():
    return {path.name for path in Path().iterdir()}


def refused(source, **options):
    with pytest.raises(ConfigurationError) as caught:
        load(Account, source, on_error="reject", **options)
    return str(caught.value)


def linked(path, kind):
    link = Path(f"link{path.suffix}")
    if kind == "symbolic link":
        link.symlink_to(path)
    elif kind == "hard link":
        link.hardlink_to(path)
    elif kind == "other spelling":
        return f"../{path.absolute().parent.name}/{path.name}"
    elif kind == "absolute":
        return path.absolute()
    elif kind == "link to a link":
        Path("between.csv").symlink_to(path)
        link.symlink_to("between.csv")
    else:
        return path
    return link


@pytest.mark.parametrize("option", OUTPUTS)
@pytest.mark.parametrize(
    "kind",
    ["itself", "symbolic link", "hard link", "other spelling", "absolute", "link to a link"],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_is_never_the_source(option, kind, overwrite):
    path = Path("rows.csv")
    path.write_text(TEXT)
    name = linked(path, kind)
    got = refused(path, **{option: name}, overwrite=overwrite)
    what = "The reject log" if option == "reject_log" else "The reject file"
    assert (
        got == f"{what} {str(Path(name))!r} is the source 'rows.csv' itself: give it another name."
    )
    assert path.read_text() == TEXT
    assert names() <= {"rows.csv", "link.csv", "between.csv"}


@pytest.mark.parametrize("given", ["an open file", "compressed", "several", "a pattern"])
def test_an_output_is_never_a_source_of_another_kind(given):
    path = Path("rows.csv.gz" if given == "compressed" else "rows.csv")
    path.write_bytes(gzip.compress(TEXT.encode()) if path.suffix == ".gz" else TEXT.encode())
    before = path.read_bytes()
    Path("a.csv").write_text(TEXT)
    Path("link.csv").symlink_to(path)
    with path.open("rb") as file:
        sources = {"an open file": file, "several": ["a.csv", path], "a pattern": "*.csv"}
        got = refused(sources.get(given, path), reject_log="link.csv", overwrite=True)
    assert "is the source" in got
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["rows.csv", "/dev/stdin", "/proc/self/fd/0"])
def test_an_output_is_never_what_standard_input_reads(process, name):
    Path("rows.csv").write_text(TEXT)
    with Path("rows.csv").open("rb") as file:
        err = process("-", "--on-error", "reject", "--reject-log", name, "--overwrite", stdin=file)
    assert "is the source 'standard input' itself: give it another name." in err
    assert Path("rows.csv").read_text() == TEXT


@pytest.fixture
def process(settings):
    """Run the command in a process of its own; gives what it says on standard error."""

    def run(*arguments, code=2, **options):
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, str(root / "manage.py"), "bulk_load", "finance.Account", *arguments],
            stderr=subprocess.PIPE,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "settings.development"},
            check=False,
            timeout=PATIENCE_SECONDS,
            **options,
        )
        said = done.stderr.decode()
        assert done.returncode == code, said
        return said

    return run


@pytest.mark.parametrize("arguments", [[], ["--detect"], ["--preview"]])
def test_standard_output_is_never_the_source(process, arguments):
    Path("rows.csv").write_text(TEXT)
    with Path("rows.csv").open("ab") as file:
        err = process("rows.csv", *arguments, stdout=file)
    assert "Standard output goes to the source 'rows.csv' itself" in err
    assert Path("rows.csv").read_text() == TEXT


def test_an_output_is_never_the_layout(rows):
    layout = Path("my.toml")
    layout.write_text('others = "match"\n')
    before = layout.read_text()
    got = refused(rows, reject_log="my.toml", layout="my.toml", overwrite=True)
    assert got == "The reject log 'my.toml' is the layout 'my.toml' itself: give it another name."
    Path("link.csv").symlink_to("my.toml")
    with pytest.raises(CommandError, match=r"is the layout 'my.toml' itself"):
        call_command(
            *("bulk_load", "finance.Account", "rows.csv", "--layout", "my.toml", "--overwrite"),
            *("--on-error", "reject", "--reject-file", "link.csv"),
        )
    assert layout.read_text() == before


@pytest.mark.parametrize("is_there", [False, True])
def test_two_outputs_are_never_one_file(rows, is_there):
    if is_there:
        Path("r.csv").write_text("old")
    Path("link.csv").symlink_to("r.csv")
    got = refused(rows, reject_log="r.csv", reject_file="link.csv", overwrite=True)
    assert got == (
        "The reject file 'link.csv' is the reject log 'r.csv' itself: give it another name."
    )
    assert Path("r.csv").read_text() == "old" if is_there else True
    assert sorted(names()) == ["link.csv", *(["r.csv"]), "rows.csv"]


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_file_that_is_there_is_not_overwritten_unless_it_is_said(rows, option):
    old = Path("old.csv")
    old.write_text("precious")
    got = refused(rows, **{option: old})
    assert got.endswith(
        "'old.csv' already exists and is not empty: give it another name, or use --overwrite "
        "(overwrite=True) to replace it."
    )
    assert old.read_text() == "precious"
    old.chmod(0o640)
    got = load(Account, rows, on_error="reject", **{option: old}, overwrite=True)
    assert got.rejected == 1
    assert "duplicate key value" in old.read_text()
    assert "precious" not in old.read_text()
    assert old.stat().st_mode & 0o777 == 0o640
    assert sorted(names()) == ["old.csv", "rows.csv"]


@pytest.mark.parametrize("option", OUTPUTS)
def test_an_empty_file_is_taken(rows, option):
    Path("r.csv").touch()
    load(Account, rows, on_error="reject", **{option: "r.csv"})
    assert "duplicate key value" in Path("r.csv").read_text()


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_load_that_fails_before_it_refuses_anything_leaves_the_file(option):
    Path("r.csv").write_text("precious")
    Path("rows.csv").write_text("user,number,nmae\n")
    with pytest.raises(IngestError, match="nmae"):
        load(Account, "rows.csv", on_error="reject", **{option: "r.csv"}, overwrite=True)
    assert Path("r.csv").read_text() == "precious"
    assert sorted(names()) == ["r.csv", "rows.csv"]


def test_a_load_that_is_rolled_back_leaves_what_was_refused(rows):
    Path("r.csv").write_text("old")
    with pytest.raises(TooManyRejects):
        load(
            *(Account, rows),
            on_error="reject",
            reject_limit=0,
            reject_file="r.csv",
            reject_log="log.jsonl",
            overwrite=True,
        )
    assert "duplicate key value" in Path("r.csv").read_text()
    assert "duplicate key value" in Path("log.jsonl").read_text()


def test_a_result_still_has_its_rejects_when_the_log_is_replaced(rows):
    options = {"on_error": "reject", "reject_log": "log.jsonl"}
    first = load(Account, rows, **options)
    second = load(Account, rows, **options, overwrite=True)
    assert [reject.record for reject in first.rejects] == [2]
    assert [reject.record for reject in second.rejects] == [1, 2, 3]
    assert len(Path("log.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("option", OUTPUTS)
def test_a_file_that_another_load_is_writing(rows, option):
    seen = []

    def other(progress):
        if not seen:
            seen.append(refused(rows, **{option: "r.csv"}, overwrite=True))

    load(Account, rows, on_error="reject", **{option: "r.csv"}, progress=other)
    assert seen[0].endswith(
        "'r.csv' is being written by another load: give this one another name, or wait for the "
        "end of the other."
    )
    assert "duplicate key value" in Path("r.csv").read_text()
    # Both have ended: nobody holds it any more.
    load(Account, rows, on_error="reject", **{option: "r.csv"}, overwrite=True)


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("_time", range(20))
def test_only_one_of_many_that_open_a_file_at_once_has_it(is_there, _time):
    path = Path("out.csv")
    if is_there:
        path.write_text("old")
    barrier, opened, messages = threading.Barrier(8), [], []

    def work(number):
        files = OutputFiles(overwrite=True)
        barrier.wait()
        try:
            output = files.open(path, "The file")
        except ConfigurationError as error:
            messages.append(str(error))
            return
        output.file.write(b"%d\n" % number * 1000)
        output.publish()
        opened.append((number, output))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [(number, output)] = opened
    assert len(messages) == 7
    assert all("is being written by another load" in message for message in messages)
    output.release()
    output.file.close()
    assert path.read_bytes() == b"%d\n" % number * 1000


def test_the_lock_ends_with_the_load(rows):
    got = load(Account, rows, on_error="reject", reject_log="log.jsonl", reject_file="r.csv")
    for name in ("log.jsonl", "r.csv"):
        with Path(name).open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert len(list(got.rejects)) == 1


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("folder", "is a folder: give the name of a file in it."),
        ("pipe", "is a pipe or a device: what is rolled back must be cut off again"),
        ("/dev/full", "is a pipe or a device: what is rolled back must be cut off again"),
        ("nowhere/r.csv", "cannot be written: No such file or directory."),
        ("rows.csv/r.csv", "cannot be written: Not a directory."),
    ],
)
@pytest.mark.parametrize("option", OUTPUTS)
def test_what_cannot_be_an_output(rows, option, name, want):
    Path("folder").mkdir()
    os.mkfifo("pipe")
    assert want in refused(rows, **{option: name}, format="delimited")


def test_the_null_device_takes_everything(rows):
    got = load(
        *(Account, rows),
        on_error="reject",
        chunk_rows=1,
        reject_log="/dev/null",
        reject_file="/dev/null",
    )
    assert (got.rejected, len(list(got.rejects))) == (1, 1)


def test_overwrite_without_an_output_is_an_error(rows):
    assert refused(rows, overwrite=True) == (
        "overwrite is for a reject log or a reject file, and there is none: leave it out."
    )


def interrupt_after(rows):
    def stop(progress):
        if progress.rows > rows:
            raise KeyboardInterrupt

    return stop


@pytest.fixture
def many():
    user = UserFactory().pk
    lines = [f"{user},{'A' if number % 3 == 0 else number},x\n" for number in range(12)]
    Path("rows.csv").write_text("user,number,name\n" + "".join(lines))
    return {
        "chunk_rows": 4,
        "on_error": "reject",
        "reject_log": "log.jsonl",
        "reject_file": "r.csv",
        "resumable": True,
    }


def numbers_of_rejects():
    lines = Path("log.jsonl").read_text().splitlines()
    return [json.loads(line)["record"] for line in lines]


@pytest.mark.parametrize("rows", [0, 4], ids=["before the first chunk", "after it"])
@pytest.mark.parametrize("by_number", [False, True])
def test_a_resumed_load_goes_on_with_its_own_files(many, rows, by_number):
    with pytest.raises(KeyboardInterrupt):
        load(Account, "rows.csv", progress=interrupt_after(rows), **many)
    # As a process leaves them that is killed in the middle.
    with Path("log.jsonl").open("a") as log, Path("r.csv").open("a") as file:
        log.write("half a li")
        file.write("half a li")
    got = resume(Load.objects.get().pk) if by_number else load(Account, "rows.csv", **many)
    assert (got.read, got.rejected) == (12, 3)
    assert numbers_of_rejects() == [4, 7, 10]
    assert len(Path("r.csv").read_text().splitlines()) == 4
    assert [reject.record for reject in got.rejects] == [4, 7, 10]


@pytest.mark.parametrize("name", ["log.jsonl", "r.csv"])
def test_a_resumed_load_does_not_go_on_with_a_file_that_was_put_there(many, name):
    with pytest.raises(KeyboardInterrupt):
        load(Account, "rows.csv", progress=interrupt_after(4), **many)
    Path(name).unlink()
    Path(name).write_text("precious\n" * 100)
    with pytest.raises(IngestError, match="is no longer what this load has written: its first"):
        resume(Load.objects.get().pk)
    assert Path(name).read_text() == "precious\n" * 100


def test_a_resumed_load_with_another_log_writes_all_rejects_there(many):
    with pytest.raises(KeyboardInterrupt):
        load(Account, "rows.csv", progress=interrupt_after(4), **many)
    Path("other.jsonl").write_text("precious\n" * 100)
    with pytest.raises(ConfigurationError, match=r"other.jsonl' already exists"):
        load(Account, "rows.csv", **{**many, "reject_log": "other.jsonl"})
    assert Path("other.jsonl").read_text() == "precious\n" * 100
    load(Account, "rows.csv", **{**many, "reject_log": "another.jsonl"})
    assert len(Path("another.jsonl").read_text().splitlines()) == 3


def test_a_resumed_load_keeps_its_reject_file(many):
    with pytest.raises(KeyboardInterrupt):
        load(Account, "rows.csv", progress=interrupt_after(4), **many)
    Path("other.csv").write_text("precious\n" * 100)
    with pytest.raises(LedgerError, match=r"its reject file is '.*r.csv', which has the records"):
        load(Account, "rows.csv", **{**many, "reject_file": "other.csv"}, overwrite=True)
    assert Path("other.csv").read_text() == "precious\n" * 100
    assert load(Account, "rows.csv", **many).read == 12


def test_a_benchmark_writes_over_no_file():
    small = ("finance.Account", "--benchmark", "--rows", "50", "100", "--repeat", "1")
    Path("rows.csv").write_text(TEXT)
    Path("old.svg").write_text("precious")
    Path("old.json").hardlink_to("rows.csv")
    for options, want in [
        (["--plot", "old.svg"], "The file of --plot 'old.svg' already exists"),
        (["--json", "old.json"], "The file of --json 'old.json' already exists"),
        (
            ["--json", "old.json", "--source", "rows.csv", "--overwrite"],
            "The file of --json 'old.json' is the source 'rows.csv' itself",
        ),
        (
            ["--json", "b.svg", "--plot", "b.svg"],
            "The file of --plot 'b.svg' is the file of --json 'b.svg' itself",
        ),
        (["--overwrite"], "--overwrite is for files that are written, and there is none"),
    ]:
        with pytest.raises(CommandError) as caught:
            call_command("bulk_load", *small, *options)
        assert want in str(caught.value)
    assert Path("rows.csv").read_text() == TEXT
    assert Path("old.svg").read_text() == "precious"
    assert not Path("b.svg").exists()
    options = [
        "--methods",
        "copy",
        "executemany",
        "--plot",
        "old.svg",
        "--json",
        "new.json",
        "--overwrite",
        "--progress",
        "none",
    ]
    call_command("bulk_load", *small, *options, stdout=io.StringIO())
    assert "<svg" in Path("old.svg").read_text()
    assert json.loads(Path("new.json").read_text())["table"]["model"] == "finance.Account"
