"""LAW: one function for each group of lines of the table: it prepares, measures, and cleans up after itself."""
