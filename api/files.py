"""Files in requests and answers: tables that are sent to be read, and tables to download."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Request, Response
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from app.errors import InvalidInput
from app.services.import_mapping import guess_mapping, unclear_columns
from app.services.tabular import write_csv, write_excel
from fl.features import FieldProblem

CSV = "text/csv"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FORM = "multipart/form-data"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_MAPPING: TypeAdapter[dict[str, str | None]] = TypeAdapter(dict[str, str | None])
_LONGEST_MAPPING = 20_000  # characters
_MOST_MAPPING_PROBLEMS = 20

Format = Literal["csv", "xlsx"]


@dataclass(frozen=True)
class SentFile:
    """A table as a client sent it.

    Attributes
    ----------
    name
        As the client calls it, for sentences about it.
    mapping
        Field -> heading, as JSON text; None to have it guessed.
    is_json
        It is no file, but JSON.
    """

    content: bytes
    name: str
    mapping: str | None = None
    is_json: bool = False


async def sent_file(request: Request) -> SentFile:
    """Read a file that is the whole body, or the part `file` of a form with an optional part `mapping`.

    A dependency: it runs once the caller is known, and reads no more than the address accepts.
    """
    kind = _media_type(request)
    if kind != FORM:
        name = "The Excel workbook" if kind == EXCEL else "The file"
        return SentFile(await request.body(), name, is_json=kind == "application/json")
    try:
        form = await request.form(max_files=1, max_fields=1, max_part_size=_LONGEST_MAPPING)
    except ValueError as error:  # of the parser, which Starlette lets through
        raise HTTPException(400) from error
    try:
        file, mapping = form.get("file"), form.get("mapping")
        if not isinstance(file, UploadFile):
            raise InvalidInput([FieldProblem("file", "The form has no file; send it as the part `file`.")])
        if not isinstance(mapping, str | None):
            raise InvalidInput([FieldProblem("mapping", "The mapping is JSON text, not a file.")])
        return SentFile(await file.read(), file.filename or "The file", mapping)
    finally:
        await form.close()


def _media_type(request: Request) -> str:
    """Return the content type of a request's body, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def mapping_of(text: str | None, *, header: Sequence[str], fields: Iterable[str]) -> dict[str, str | None]:
    """Return which heading is which of `fields`: as the client says, or else as the headings suggest.

    Raises
    ------
    InvalidInput
        If what the client says is not a JSON object, names a field that does not exist or a heading that the file
        has not; or if two headings suggest the same field.
    """
    known = tuple(fields)
    if text is None:
        guessed, unclear = guess_mapping(header), unclear_columns(header)
        problems = [
            FieldProblem("mapping", f"Several columns may be {name}. Say which one in `mapping`.")
            for name in known
            if name in unclear
        ]
        mapping = {name: guessed[name] for name in known}
    else:
        try:
            mapping = _MAPPING.validate_json(text, strict=True)
        except ValidationError:
            sentence = 'The mapping must be a JSON object like {"age": "Age in years"}.'
            raise InvalidInput([FieldProblem("mapping", sentence)]) from None
        problems = [
            FieldProblem("mapping", f"There is no field {name[:40]!r}. The fields are: {', '.join(known)}.")
            for name in mapping
            if name not in known
        ]
        problems += [
            FieldProblem("mapping", f"The file has no column {heading[:40]!r}.")
            for heading in mapping.values()
            if heading is not None and heading not in header
        ]
    if problems:
        raise InvalidInput(problems[:_MOST_MAPPING_PROBLEMS])
    return mapping


def file_body() -> dict[str, Any]:
    """Return the OpenAPI description of a body that `sent_file` reads."""
    properties = {
        "file": {"type": "string", "format": "binary"},
        "mapping": {"type": "string", "description": "JSON: field -> heading of its column"},
    }
    form = {"schema": {"type": "object", "required": ["file"], "properties": properties}}
    return {"required": True, "content": {CSV: _BINARY, EXCEL: _BINARY, FORM: form}}


def download(
    headings: Sequence[str], rows: Iterable[Sequence[object]], *, name: str, format: Format
) -> Response:
    """Return a table as a file to be saved under `name` and the day."""
    cells = ([_cell(value) for value in row] for row in rows)
    if format == "xlsx":
        content, kind = write_excel(headings, cells, sheet=name), EXCEL
    else:
        content, kind = write_csv(headings, cells), f"{CSV}; charset=utf-8"
    named = f"fedcost-{name}-{datetime.datetime.now(datetime.UTC):%Y-%m-%d}.{format}"
    return Response(
        content, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{named}"'}
    )


def _cell(value: object) -> object:
    # A spreadsheet knows no time zones.
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat(timespec="seconds")
    return str(value) if isinstance(value, uuid.UUID) else value


DOWNLOAD_RESPONSE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {CSV: _BINARY, EXCEL: _BINARY}}
}
