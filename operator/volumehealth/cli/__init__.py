"""LAW: one file for each command: parse, call, print. No logic that a library user would miss."""
