"""Pieces of pages: charts, tables, forms, formats."""
