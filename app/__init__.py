"""The application that people and API clients talk to."""
