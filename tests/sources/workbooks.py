"""Makes workbooks of each kind, including some that no program would write."""

import struct
import zipfile

import xlsxwriter
import xlwt

FORMATS = {
    "date": "yyyy-mm-dd",
    "moment": "yyyy-mm-dd hh:mm:ss",
    "time": "hh:mm",
    "length": "[h]:mm:ss",
    "percent": "0%",
}


class As:
    """A value with a number format."""

    def __init__(self, value, kind):
        self.value, self.kind = value, kind


class Formula:
    """A formula and its stored value."""

    def __init__(self, text, value=0):
        self.text, self.value = text, value


def fill(book, sheet, rows, row=0, column=0):
    for at, cells in enumerate(rows, row):
        for place, cell in enumerate(cells, column):
            if isinstance(cell, As):
                kind = book.add_format({"num_format": FORMATS[cell.kind]})
                is_number = isinstance(cell.value, float | int)
                write = sheet.write_number if is_number else sheet.write_datetime
                write(at, place, cell.value, kind)
            elif isinstance(cell, Formula):
                sheet.write_formula(at, place, cell.text, None, cell.value)
            elif isinstance(cell, str):
                sheet.write_string(at, place, cell)
            elif cell is not None:
                sheet.write(at, place, cell)


def make(path, *sheets, **options):
    """Write an .xlsx file; a sheet is given by its rows, or by a pair of its name and rows."""
    with xlsxwriter.Workbook(str(path), options) as book:
        for given in sheets:
            name, rows = given if isinstance(given, tuple) else (None, given)
            fill(book, book.add_worksheet(name), rows)
    return path


def change(path, member, function):
    """Rewrite one member of a workbook."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = function(members[member])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_ods(path, *rows, name="Table"):
    """Write an .ods file of the given rows' XML."""
    spaces = " ".join(
        f'xmlns:{short}="urn:oasis:names:tc:opendocument:xmlns:{long}:1.0"'
        for short, long in (("office", "office"), ("table", "table"), ("text", "text"))
    )
    calcext = 'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    body = "".join(rows)
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {spaces} {calcext} '
        f'office:version="1.3"><office:body><office:spreadsheet><table:table table:name="{name}">'
        f"{body}</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    manifest = (
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/>'
        '<manifest:file-entry manifest:full-path="content.xml" manifest:media-type="text/xml"/>'
        "</manifest:manifest>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("content.xml", content)
    return path


def ods_row(*cells, attributes=""):
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def ods_cell(shown, kind="string", attributes=""):
    value = f'office:value="{shown}"' if kind == "float" else ""
    return (
        f'<table:table-cell office:value-type="{kind}" {value} {attributes}>'
        f"<text:p>{shown}</text:p></table:table-cell>"
    )


def _record(kind, content=b""):
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size = len(content)
    while size >= 0x80:
        head, size = head + bytes([size & 0x7F | 0x80]), size >> 7
    return head + bytes([size]) + content


def _text(text):
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def make_xlsb(path, rows, hidden=(), hidden_columns=()):
    """Write an .xlsb file of one sheet; a cell that is bytes is an error's code.

    ``hidden_columns``: ranges of them, from 0.
    """
    last = struct.pack("<IIII", 0, len(rows), 0, 10)
    content = _record(0x81) + _record(0x94, last) + _record(0x186)
    for first, stop in hidden_columns:
        content += _record(0x3C, struct.pack("<IIIIH", first, stop, 2_340, 0, 1))
    content += _record(0x187) + _record(0x91)
    for at, cells in enumerate(rows):
        flags = 0x10 if at + 1 in hidden else 0
        content += _record(0, struct.pack("<IIHBBBI", at, 0, 300, 0, flags, 0, 0))
        for place, cell in enumerate(cells):
            head = struct.pack("<II", place, 0)
            if isinstance(cell, bytes):
                content += _record(3, head + cell)
            elif isinstance(cell, str):
                content += _record(6, head + _text(cell))
            elif cell is not None:
                content += _record(5, head + struct.pack("<d", cell))
    content += _record(0x92) + _record(0x82)
    sheet = struct.pack("<II", 0, 1) + _text("rId1") + _text("Table")
    book = b"".join(
        [_record(0x83), _record(0x8F), _record(0x9C, sheet), _record(0x90), _record(0x84)]
    )
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.bin", book)
        archive.writestr(
            "xl/_rels/workbook.bin.rels",
            f'<Relationships xmlns="{relations}"><Relationship Id="rId1" Type="http://schemas.'
            'openxmlformats.org/officeDocument/2006/relationships/worksheet" '
            'Target="worksheets/sheet1.bin"/></Relationships>',
        )
        archive.writestr("xl/worksheets/sheet1.bin", content)
    return path


def make_xls(path):
    book = xlwt.Workbook()
    sheet = book.add_sheet("Table")
    for at, row in enumerate([["a", "b"], [1, "x"], [2, None], [3, "z"]]):
        for place, cell in enumerate(row):
            if cell is not None:
                sheet.write(at, place, cell)
    sheet.row(2).set_cell_error(1, 0x2A)
    sheet.row(3).hidden = True
    book.save(str(path))
    return path


LOCKED = ("rows.xlsx", "rows.xlsm", "old.xls", "rows.ods", "rows.zip")
"""Names of files that ``make_locked`` makes."""


def make_locked(path):
    """Write a file that looks like one with a password, as far as the code reads it."""
    if path.suffix == ".ods":
        return _lock_ods(make_ods(path, ods_row(ods_cell("a"))))
    if path.suffix == ".zip":
        return _lock_zip(path)
    content = make_xls(path).read_bytes()
    if path.suffix == ".xls":  # after the stream's beginning, a record of another kind
        at = content.index(b"\x09\x08\x10\x00") + 20
        path.write_bytes(content[:at] + b"\x2f\x00" + content[at + 2 :])
        return path
    # An encrypted .xlsx is a compound file with a stream of this name; xlwt uses another name.
    place = content.rindex("Workbook".encode("utf-16-le"))
    package = "EncryptedPackage".encode("utf-16-le")
    entry = package + content[place + len(package) : place + 64]
    entry += (len(package) + 2).to_bytes(2, "little")
    path.write_bytes(content[:place] + entry + content[place + 66 :])
    return path


def _lock_ods(path):
    entry = b'media-type="text/xml"><manifest:encryption-data/></manifest:file-entry>'
    change(
        path, "META-INF/manifest.xml", lambda xml: xml.replace(b'media-type="text/xml"/>', entry)
    )
    return path


def _lock_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rows.csv", "a\n1\n")
    content = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + place] |= 1
    path.write_bytes(content)
    return path
