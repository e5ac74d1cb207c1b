"""Read CSV and TSV files. The number of cells in each line is checked, and texts are not changed."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hf_bat.errors import HfBatError
from hf_bat.files import MAX_DOCUMENT_BYTES, check_gzip, parse_json, read_bytes

_LONGEST_CELL = 1 << 30
# Arrow integers have 64 bits.
_LARGEST = 2**63
# Floats represent all whole numbers below this one.
EXACT = 2**53
# Which of the first four bytes are NUL in ASCII characters.
_NULLS = {
    (False, True, False, True): "utf-16-le",
    (True, False, True, False): "utf-16-be",
    (False, True, True, True): "utf-32-le",
    (True, True, True, False): "utf-32-be",
}
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,18})")
_DECIMAL = re.compile(r"-?\d+\.\d*([eE][+-]?\d+)?")


@dataclass(frozen=True)
class FileScan:
    """The hash of a text file's content, and its encoding."""

    sha256: str
    encoding: str


def scan_text(path: Path, is_json: bool = False) -> FileScan:
    """Read all lines of a text file, which may be gzipped, and check them before parsing.

    Some problems are reported late or not at all by parsers: a file that is not UTF-8 (or UTF-16 with a
    byte-order mark), a damaged gzip file, and JSON rows that are not objects.
    """
    digest = hashlib.sha256()
    try:
        if path.suffix == ".gz":
            check_gzip(path)
        with _open_bytes(path) as file:
            encoding = _detect_encoding(file.read(4))
            file.seek(0)
            if encoding.startswith(("utf-16-", "utf-32")):
                raise HfBatError(
                    f"it is {encoding.upper()} text, not UTF-8; save it as UTF-8 (`iconv -f {encoding} -t "
                    "utf-8`)"
                )
            first = next((line.strip() for line in file if line.strip()), b"")
            first = first.removeprefix(codecs.BOM_UTF8)
            file.seek(0)
            if is_json and encoding != "utf-16":
                _check_json(path, first)
            is_lines = is_json and first[:1] + first[-1:] == b"{}"
            decoder = codecs.getincrementaldecoder(encoding)()
            for number, line in enumerate(file, start=1):
                digest.update(line)
                # pyarrow ends the process if a block of lines starts with null.
                if is_lines and line.strip() == b"null":
                    raise HfBatError(f"line {number} is null, not an object; remove it")
                try:
                    decoder.decode(line)
                except UnicodeDecodeError as error:
                    byte = f"byte 0x{error.object[error.start]:02x}"
                    raise HfBatError(
                        f"line {number} is not UTF-8 text ({byte}); save the file as UTF-8 (from Windows: "
                        "`iconv -f cp1252 -t utf-8`)"
                    ) from error
    except HfBatError as error:
        raise HfBatError(f"cannot read {path}: {error}") from error
    except OSError as error:
        raise HfBatError(f"cannot read {path}: {error.strerror or error}") from error
    return FileScan(digest.hexdigest(), encoding)


def _check_json(path: Path, first: bytes) -> None:
    """Check the first line of JSON lines, or a list of rows."""
    if first.startswith(b"["):
        data = read_bytes(path, MAX_DOCUMENT_BYTES).removeprefix(codecs.BOM_UTF8)
        if not all(isinstance(row, dict) for row in parse_json(data)):
            raise HfBatError("its list holds other values than objects")
    elif first and not first.startswith(b"{"):
        raise HfBatError("its first line is not a JSON object")


def _open_bytes(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def _detect_encoding(start: bytes) -> str:
    """Return the encoding indicated by a byte-order mark or by NUL bytes in the first four, or UTF-8.

    "utf-16" has a byte-order mark. Without one, the order is part of the name.
    """
    # The mark of UTF-16 is the beginning of the one of UTF-32.
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # A header or a brace is ASCII, so the other bytes of its characters are NUL.
    are_null = tuple(not byte for byte in start)
    if are_null in _NULLS:
        return _NULLS[are_null]
    return "utf-8-sig" if start.startswith(codecs.BOM_UTF8) else "utf-8"


def read_table(path: Path, delimiter: str, texts: Collection[str] = ()) -> dict[str, list[Any]]:
    """Read a CSV or TSV file with a header. Return a dict of column -> values.

    Args:
        path: The file, which may be gzipped.
        delimiter: Delimiter between cells.
        texts: Text columns. Their cells are not parsed as numbers.

    Returns:
        The columns. If all cells of a column are numbers or empty, they are converted to integers or
        floats, and empty cells to `None`. Otherwise the cells are strings.

    Raises:
        HfBatError: If the number of cells in a line differs from the header, or quotes do not match. The
            message states the line.
    """
    encoding = scan_text(path).encoding
    quoting = csv.QUOTE_MINIMAL
    if delimiter == "\t":
        quoting = detect_tsv_quoting(path, encoding)
    with _open_text(path, encoding) as file:
        lines = _read_lines(file, path, delimiter, quoting)
        _, header = next(lines, (0, []))
        if not header:
            raise HfBatError(f"{path} contains no rows")
        _check_delimiter(path, header, delimiter)
        names = _name_columns(header, path)
        rows: list[list[str]] = []
        suspects: list[tuple[int, int]] = []
        for (first, last), cells in lines:
            if len(cells) != len(names):
                raise HfBatError(_describe_width(path, first, last, cells, header, delimiter))
            if last > first and _looks_joined(cells, delimiter):
                suspects.append((first, len(rows)))
            rows.append(cells)
    if not rows:
        raise HfBatError(f"{path} contains no rows")
    columns = {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    _check_joined(path, suspects, columns, rows, delimiter)
    return {
        name: values if name in texts else _parse_numbers(values)
        for name, values in columns.items()
    }


def _open_text(path: Path, encoding: str) -> TextIO:
    """Open a text file, which may be gzipped, for `csv`, which handles line endings itself."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    stream: TextIO = opener(path, "rt", encoding=encoding, errors="replace", newline="")
    return stream


def detect_tsv_quoting(path: Path, encoding: str = "utf-8-sig") -> int:
    """Detect whether a TSV file quotes its cells, as pandas does, or contains plain quotes, as in GLUE."""
    widths = set()
    with _open_text(path, encoding) as file, _allow_long_cells():
        try:
            for cells in csv.reader(file, delimiter="\t", strict=True):
                # A plain quote at the start of a cell swallows all rows up to the next quote.
                if any("\t" in cell and "\n" in cell for cell in cells):
                    return csv.QUOTE_NONE
                widths.add(len(cells))
        except csv.Error:
            return csv.QUOTE_NONE
    # With quoted cells, every row has the same number of cells. Blank lines have none.
    return csv.QUOTE_MINIMAL if len(widths - {0}) < 2 else csv.QUOTE_NONE


@contextmanager
def _allow_long_cells() -> Iterator[None]:
    """Allow `csv` to read cells of more than 131,072 characters."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_lines(
    file: TextIO, path: Path, delimiter: str, quoting: int
) -> Iterator[tuple[Any, list[str]]]:
    """Yield the cells of each row with its first and last line. Blank lines are skipped."""
    with _allow_long_cells():
        # Strict, because a quote inside a quoted cell would be dropped silently.
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)  # type: ignore[arg-type]
        last = 0
        try:
            for cells in reader:
                first, last = last + 1, reader.line_num
                if cells:
                    yield (first, last), cells
        except csv.Error as error:
            raise HfBatError(
                f"{path}, line {last + 1}: its quotes do not match ({error}); write a quote inside a quoted "
                "cell twice"
            ) from error


def _check_delimiter(path: Path, header: list[str], delimiter: str) -> None:
    """Check that the header has no cells with other delimiters, and that it is a header."""
    line = delimiter.join(header)
    # Excel reads and removes this line, but other programs do not.
    if re.fullmatch(r"sep=.", line.strip().lower()):
        raise HfBatError(f"{path}: its first line, {line}, is for Excel only; remove this line")
    marks = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
    other = next((mark for mark in marks if mark != delimiter and mark in line), None)
    if len(header) == 1 and other is not None:
        raise HfBatError(
            f"{path}: its cells are separated by {marks[other]}, but the file name asks for "
            f"{marks[delimiter]}; save it with {marks[delimiter]}"
            f"{' or as .tsv' if other == chr(9) else ' or as .csv' if other == ',' else ''}"
        )


def _name_columns(header: list[str], path: Path) -> list[str]:
    # pandas writes its index with an empty name, and uses this name when it reads it.
    names = [name or f"Unnamed: {number}" for number, name in enumerate(header)]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise HfBatError(f"{path}: its header has column {repeated!r} twice; rename one")
    return names


def _describe_width(
    path: Path, first: int, last: int, cells: list[str], header: list[str], delimiter: str
) -> str:
    where = f"{path}, line {first}" if first == last else f"{path}, lines {first} to {last}"
    mark = "tab" if delimiter == "\t" else "comma"
    if last > first:
        advice = "a quote that opens a cell may have no end"
    elif len(cells) > len(header):
        advice = f"quote a cell that has a {mark} in it, and end no line with a {mark}"
    else:
        advice = f"give each line as many {mark}s as the header, and quote a cell with a line break"
    return f"{where}: {len(cells)} cells, but the header has {len(header)}; {advice}"


def _looks_joined(cells: list[str], delimiter: str) -> bool:
    """Return whether each line of a multi-line cell has the number of cells of the header."""
    text = delimiter.join(cells)
    return len(cells) > 1 and all(
        line.count(delimiter) == len(cells) - 1 for line in re.split(r"\r?\n", text)
    )


def _check_joined(
    path: Path,
    suspects: list[tuple[int, int]],
    columns: dict[str, list[str]],
    rows: list[list[str]],
    delimiter: str,
) -> None:
    """Raise an error if two single quote characters have joined several rows into one.

    The lines of a suspicious cell are rows if the last cells of its first line also occur in these columns
    of other rows. In a text with line breaks and commas, they do not.
    """
    if not suspects:
        return
    spans = {number for _, number in suspects}
    known: defaultdict[int, set[str]] = defaultdict(set)
    for place, values in enumerate(columns.values()):
        known[place] = {value for row, value in enumerate(values) if row not in spans}
    for line, number in suspects:
        cells = re.split(r"\r?\n", delimiter.join(rows[number]))[0].split(delimiter)
        if any(cell and cell in known[place] for place, cell in enumerate(cells)):
            raise HfBatError(
                f"{path}, line {line}: a quote joins this line and the next into one row; write a quote that "
                'is part of a text as "" and put the text in quotes'
            )


def _parse_numbers(values: list[str]) -> list[Any]:
    """Convert the cells of a column to numbers if all nonempty cells are numbers."""
    given = [value.strip() for value in values if value.strip()]
    if not given:
        return values
    # A number that is not in its usual form, such as 007, is text.
    if all(_is_integer(value, _LARGEST) for value in given):
        return [int(value) if value.strip() else None for value in values]
    # Two large integers may be the same float.
    if all(_is_integer(value, EXACT) or _DECIMAL.fullmatch(value) for value in given):
        return [float(value) if value.strip() else None for value in values]
    return values


def _is_integer(text: str, limit: int) -> bool:
    return bool(_INTEGER.fullmatch(text)) and abs(int(text)) < limit
