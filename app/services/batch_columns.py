"""Columns of features from a table or from rows, checked column by column; every problem is kept with its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.services.import_check import MAX_PROBLEMS, RowProblem, mapping_problems
from app.services.patient_cells import feature_reader
from app.services.tabular import Table
from fl.features import FEATURE_NAMES, FEATURES, Feature, FeatureValue, parse_value

Columns = dict[str, NDArray[Any]]  # feature name -> n valid values
_TYPES: dict[str, type[Any]] = {"integer": np.int64, "number": np.float64, "category": np.str_}


@dataclass(frozen=True)
class BatchCheck:
    """What a table holds. If `problems` is not empty nothing of it is predicted.

    Attributes
    ----------
    rows
        Row or line of the file of each patient, shape (n,).
    columns
        Feature name -> n valid values.
    problems
        Everything wrong, by row and the heading of the column.
    """

    rows: NDArray[np.int64]
    columns: Columns
    problems: list[RowProblem]

    def __len__(self) -> int:
        return len(self.rows)


def check_batch(table: Table, mapping: Mapping[str, str | None]) -> BatchCheck:
    """Check the features' columns of a table; all rows are checked, and all problems listed.

    Parameters
    ----------
    mapping
        Feature name -> heading of its column, as `guess_mapping` returns; other fields are not looked at.
    """
    chosen = {name: mapping.get(name) for name in FEATURE_NAMES}
    problems = mapping_problems(table.header, chosen)
    if problems:
        return _refused(problems)
    if not table.rows:
        return _refused([RowProblem(1, None, "The file has headings but no patients.")])
    width = len(table.header)
    for number, cells in table.rows:
        if len(cells) != width:
            message = f"This row has {len(cells)} values; there are {width} columns."
            problems.append(RowProblem(number, None, message))
    whole = [(number, cells) for number, cells in table.rows if len(cells) == width]
    columns: Columns = {}
    for feature in FEATURES:
        heading = str(chosen[feature.name])
        place = table.header.index(heading)
        read = feature_reader(feature, decimal_comma=table.decimal_comma, decimal_point=table.decimal_point)
        values, wrong = _read_column(feature, [cells[place] for _, cells in whole], read)
        columns[feature.name] = values
        problems.extend(RowProblem(whole[index][0], heading, message) for index, message in wrong)
    if problems:
        problems.sort(key=lambda problem: problem.row)
        return _refused(problems[:MAX_PROBLEMS])
    return BatchCheck(np.array([number for number, _ in whole], dtype=np.int64), columns, [])


def columns_of(rows: Sequence[Mapping[str, object]]) -> tuple[Columns, list[tuple[int, str, str]]]:
    """Check rows of features.

    Returns
    -------
    tuple
        The columns, complete if there is no problem; and every problem as row (from 0), feature and sentence.
    """
    columns: Columns = {}
    problems: list[tuple[int, str, str]] = []
    for feature in FEATURES:
        cells = [row.get(feature.name) for row in rows]
        values, wrong = _read_column(feature, cells, partial(parse_value, feature))
        columns[feature.name] = values
        problems.extend((index, feature.name, message) for index, message in wrong)
    problems.sort(key=lambda problem: problem[0])
    return columns, problems[:MAX_PROBLEMS]


def empty_columns() -> Columns:
    """Return the columns of nobody."""
    return {feature.name: np.array([], dtype=_TYPES[feature.kind]) for feature in FEATURES}


def _read_column(
    feature: Feature, cells: Sequence[Any], read: Callable[[Any], FeatureValue]
) -> tuple[NDArray[Any], list[tuple[int, str]]]:
    """Read every different cell once: 100,000 patients have few different ages, and two answers on smoking."""
    known: dict[tuple[type, str], FeatureValue] = {}
    wrong: dict[tuple[type, str], str] = {}
    keys = [(type(cell), str(cell)) for cell in cells]
    for key, cell in dict(zip(keys, cells, strict=True)).items():
        try:
            known[key] = read(cell)
        except ValueError as error:
            wrong[key] = str(error)
    if wrong:
        return empty_columns()[feature.name], [
            (index, wrong[key]) for index, key in enumerate(keys) if key in wrong
        ]
    return np.array([known[key] for key in keys], dtype=_TYPES[feature.kind]), []


def _refused(problems: list[RowProblem]) -> BatchCheck:
    return BatchCheck(np.array([], dtype=np.int64), empty_columns(), problems)
