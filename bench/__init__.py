"""Measurements with peers in the same run; each prints a table and, last, one line of JSON."""
