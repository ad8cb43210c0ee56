"""Reads a whole source, in a form that tests can compare."""

import io

import pyarrow as pa

from ingest.sources import SourceOptions, open_source


class Pipe(io.RawIOBase):
    """A file that can be read only once, a few bytes at a time, like standard input."""

    name = "pipe"

    def __init__(self, content, part=None):
        self._file = io.BytesIO(content)
        self._part = part

    def readable(self):
        return True

    def read(self, size=-1):
        return self._file.read(min(size, self._part) if self._part and size > 0 else size)


class Got:
    """Everything that was read from a source."""

    def __init__(self, given, **options):
        self.rows, self.records, self.rejects, self.lines, self.sources = [], [], [], [], []
        self.skipped = self.read = self.bytes_read = 0
        self.spans = []
        with open_source(given, SourceOptions(**options)) as source:
            self.columns = source.columns
            self.name = source.name
            for batch in source.batches():
                self._add(batch)
            self.bytes_total = source.bytes_total

    def _add(self, batch):
        columns = [
            column.to_pylist() if isinstance(column, pa.Array) else column
            for column in batch.columns
        ]
        rows = list(zip(*columns, strict=True))
        assert len(rows) == len(batch.records)
        self.rows += rows
        self.records += batch.records
        self.rejects += batch.rejects
        self.lines += [batch.find_line(record) for record in batch.records]
        self.sources += [batch.source] * len(rows)
        self.skipped += batch.skipped
        self.read += batch.records_read
        self.bytes_read = batch.byte_span[1]
        self.spans.append(batch.byte_span)

    @property
    def texts(self):
        return [tuple(cell.decode() for cell in row) for row in self.rows]

    @property
    def reasons(self):
        return {reject.record: reject.reason for reject in self.rejects}


def read(given, **options):
    return Got(io.BytesIO(given) if isinstance(given, bytes) else given, **options)
