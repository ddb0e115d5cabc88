"""LAW: commands that look once and end: `check` with the operator's own pipeline, and what the operator has written."""
