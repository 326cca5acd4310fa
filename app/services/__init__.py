"""Use cases: plain functions that pages and API routes both call."""
