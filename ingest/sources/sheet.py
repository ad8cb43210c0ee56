"""The sheet of a workbook that is read: which one, and what its appearance does not show."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ingest.exceptions import ConfigurationError, SourceError, did_you_mean
from ingest.plurals import counted
from ingest.sources.files import InputFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.sources.spreadsheets import SheetFacts

ROWS_NAMED = 3
"""How many rows or cells a note names."""
SUFFIXES = {
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xltx": "xlsx",
    ".xltm": "xlsx",
    ".xlam": "xlsx",
    ".xlsb": "xlsb",
    ".xls": "xls",
    ".ods": "ods",
}
"""The kinds of workbooks, by the suffix of the file's name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sheet:
    """One sheet of a workbook, opened by calamine."""

    name: str
    kind: str
    """The kind of workbook, such as ``xlsx``."""
    cells: Any
    """calamine's sheet."""
    facts: SheetFacts
    """What calamine does not report."""
    notes: tuple[str, ...]
    """Notes on what the sheet's appearance does not show, a sentence each."""


def open_sheet(file: InputFile, chosen: str | int | None, stack: ExitStack) -> Sheet:
    """Open the chosen sheet, or the only visible one with data; ``stack`` closes the workbook."""
    from ingest.sources.spreadsheets import find_kind, scan

    calamine = _import_calamine(file.name)
    path = stack.enter_context(_on_disk(file))
    content = stack.enter_context(path.open("rb"))
    kind = find_kind(content, file.name)
    with _explained(file.name):
        if SUFFIXES.get(path.suffix.lower()) == kind:  # from_path() relies on the suffix
            workbook = calamine.CalamineWorkbook.from_path(str(path))
        else:
            content.seek(0)
            workbook = calamine.CalamineWorkbook.from_filelike(content)
        sheets = [it for it in workbook.sheets_metadata if "WorkSheet" in str(it.typ)]
        stack.callback(workbook.close)
    candidates, notes = _candidates(sheets, chosen, file.name)
    opened: list[tuple[str, SheetFacts, Any]] = []
    for sheet in candidates:
        facts = scan(content, kind, sheet, file.name)
        with _explained(file.name):
            cells = workbook.get_sheet_by_name(sheet)
        opened.append((sheet, facts, cells))
        filled = [it for it in opened if it[2].start is not None]
        if len(filled) > 1:
            others = [it.name for it in sheets if "Visible" in str(it.visible).split(".")]
            raise SourceError(
                f"{file.name} has several sheets with data, such as {filled[0][0]!r} and "
                f"{filled[1][0]!r}, of {', '.join(map(repr, others))}: choose one with "
                "sheet (--sheet), by its name or its number from 1."
            )
    filled = [it for it in opened if it[2].start is not None]
    name, facts, cells = (filled or opened)[0]
    notes += _hidden_facts(f"the sheet {name!r} of {file.name}", facts, cells)
    return Sheet(name=name, kind=kind, cells=cells, facts=facts, notes=tuple(notes))


def cell_name(row: int, column: int) -> str:
    """Return the name of a cell, such as ``B7``."""
    from ingest.sources.spreadsheets.facts import letters

    return f"{letters(column)}{row}"


def _candidates(
    sheets: Sequence[Any], chosen: str | int | None, source: str
) -> tuple[list[str], list[str]]:
    """Return the name of the chosen sheet, or of all visible sheets, and notes on hidden ones."""
    names = [sheet.name for sheet in sheets]
    visible = [sheet.name for sheet in sheets if str(sheet.visible).endswith(".Visible")]
    hidden = [name for name in names if name not in visible]
    if chosen is not None:
        name = _choose(chosen, names, source)
        is_hidden = name in hidden
        return [name], [f"Warning: the sheet {name!r} of {source} is hidden."] if is_hidden else []
    cure = f"{', '.join(map(repr, hidden))}. Name one with sheet (--sheet) to read it."
    if not visible:
        raise SourceError(
            f"{source} has no visible sheet with cells"
            + (f", but hidden ones: {cure}" if hidden else ".")
        )
    if not hidden:
        return visible, []
    return visible, [f"Warning: {source} has hidden sheets, which were not read: {cure}"]


def _hidden_facts(name: str, facts: SheetFacts, cells: Any) -> Iterator[str]:
    """Yield notes on what the sheet's appearance does not show."""
    from ingest.sources.spreadsheets.facts import letters

    if facts.hidden:
        yield (
            f"Warning: {name} has {counted(len(facts.hidden), 'hidden row')}, such as "
            f"{facts.hidden[0]:,}, which are read like any others."
        )
    last = 0 if cells.end is None else cells.end[1] + 1
    columns = sorted(
        {at for start, stop in facts.hidden_columns for at in range(start, min(stop, last) + 1)}
    )
    if columns:
        shown = ", ".join(map(letters, columns[:ROWS_NAMED]))
        yield (
            f"Warning: {name} has {counted(len(columns), 'hidden column')}, such as {shown}, "
            "which are read like any others."
        )
    if facts.zeros:
        shown = ", ".join(map(letters, sorted(facts.zeros)[:ROWS_NAMED]))
        yield (
            f"Warning: {name} has numbers that are shown with leading zeros, in column "
            f"{shown}: they are read without them. Format such a column as text, and enter "
            "its cells again."
        )
    if facts.unknown:
        shown = ", ".join(cell_name(*it) for it in facts.unknown[:ROWS_NAMED])
        yield (
            f"Warning: {name} has {counted(len(facts.unknown), 'cell')} with a formula and "
            f"without its value, such as {shown}: they are read as empty cells. Open it with a "
            "spreadsheet program and save it, so that they get their values."
        )
    merged = len(cells.merged_cell_ranges or facts.merged)
    if merged:
        yield (
            f"Warning: {name} has {counted(merged, 'range')} of merged cells: only the first "
            "cell of each has its value, and the others are empty."
        )


def _choose(chosen: str | int, names: Sequence[str], source: str) -> str:
    """Return the name of the sheet with this name, or with this number, from 1."""
    if isinstance(chosen, str) and chosen in names:
        return chosen
    if isinstance(chosen, int) or chosen.isdecimal():
        number = int(chosen)
        if 1 <= number <= len(names):
            return names[number - 1]
        raise SourceError(
            f"{source} has {counted(len(names), 'sheet')}: there is no sheet {number}."
        )
    raise SourceError(
        f"{source} has no sheet {chosen!r}.{did_you_mean(chosen, names)} Its sheets are "
        f"{', '.join(map(repr, names))}."
    )


def sheet_names(given: Any) -> tuple[str, ...]:
    """Return the names of the visible sheets of a workbook, compressed or not."""
    from ingest.sources.spreadsheets import find_kind

    with ExitStack() as stack:
        file = InputFile(given)
        stack.callback(file.close)
        calamine = _import_calamine(file.name)
        content = stack.enter_context(stack.enter_context(_on_disk(file)).open("rb"))
        find_kind(content, file.name)  # checks that it can be unpacked
        content.seek(0)
        try:
            with _explained(file.name):
                workbook = calamine.CalamineWorkbook.from_filelike(content)
        except SourceError:
            return ()  # the error is reported when the workbook is read
        with workbook:
            return tuple(
                sheet.name
                for sheet in workbook.sheets_metadata
                if "WorkSheet" in str(sheet.typ) and str(sheet.visible).endswith(".Visible")
            )


@contextmanager
def _on_disk(file: InputFile) -> Iterator[Path]:
    """Yield the path of the file itself, or of a copy that can be read from any position."""
    if file.can_seek and file.path is not None:
        yield file.path
        return
    with tempfile.NamedTemporaryFile(prefix="ingest-") as copy:
        shutil.copyfileobj(cast("IO[bytes]", file), copy, 1 << 20)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn calamine's exceptions into ``SourceError``."""
    from ingest.sources.archive import protected

    calamine = _import_calamine(name)
    try:
        yield
    except calamine.PasswordError as error:
        raise protected(name) from error
    except (calamine.CalamineError, OSError, ValueError) as error:
        raise _damaged(name, error) from error
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # from Rust; not an Exception
            raise _damaged(name, error) from error
        raise


def _damaged(name: str, error: BaseException) -> SourceError:
    return SourceError(
        f"{name} is truncated or damaged, and cannot be read as a workbook ({error}). Open "
        "it with a spreadsheet program and save it again, or save it as CSV."
    )


def _import_calamine(name: str) -> Any:
    try:
        import python_calamine
    except ImportError as error:
        raise ConfigurationError(
            f"{name} is a workbook, and python-calamine, which reads it, is not installed: "
            "pip install 'django-ingest[excel]'."
        ) from error
    return python_calamine
