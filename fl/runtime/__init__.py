"""Processes: the supervisor, SuperLink and one SuperNode per Site."""
