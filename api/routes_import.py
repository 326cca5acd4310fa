"""Patients of the caller's own hospital from a file."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query

from api.dependencies import May
from api.errors import InvalidTable
from api.files import SentFile, file_body, mapping_of, sent_file
from api.routing import Routes
from api.schemas import errors
from api.schemas_patients import ImportAnswer
from app.actor import Actor
from app.databases import site_session
from app.permissions import Permission
from app.services import imports
from app.services.import_mapping import FIELD_BY_NAME
from app.services.tabular import read_table

router = Routes("/patients", "patients")
Importer = Annotated[Actor, Depends(May(Permission.PATIENTS_IMPORT))]


@router.post(
    "/import",
    response_model=ImportAnswer,
    responses=errors(400, 413, 422, 503),
    openapi_extra={"requestBody": file_body()},
)
def import_patients(
    actor: Importer,
    file: Annotated[SentFile, Depends(sent_file)],
    check_only: Annotated[bool, Query(description="only say what the import would do")] = False,
    mapping: Annotated[
        str | None,
        Query(
            description='JSON: field -> heading of its column, as {"age": "Age in years"}; guessed if left out'
        ),
    ] = None,
) -> Any:
    """Import a CSV or Excel file whole or not at all; 422 with every problem by row and column.

    Patients who are on record already are not added again; a cost that was not known is filled in.
    """
    table = read_table(file.content, file.name)
    chosen = mapping_of(file.mapping or mapping, header=table.header, fields=FIELD_BY_NAME)
    check = imports.check_table(table, chosen)
    if check.problems:
        raise InvalidTable(check.problems)
    answer = {
        "checked_only": check_only,
        "rows": len(check.rows),
        "costs_known": sum(row.insurance_cost is not None for row in check.rows),
        "ignored": check.ignored,
        "notes": list(table.notes),
        "mapping": chosen,
    }
    with site_session(actor, changes=not check_only) as site:
        if not check_only:
            return {**answer, **vars(imports.import_patients(site=site, actor=actor, check=check))}
        found = imports.compare_with_record(site=site, actor=actor, check=check)
    return {**answer, **vars(found), "added": found.new, "costs_filled": found.costs_to_fill}
