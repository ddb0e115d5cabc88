"""LAW: the agent's process: what runs on a node asks its drivers, reads its mount table, and writes one report.

It never touches a volume's path, never judges, never loads Kopf, and writes nothing but its own report and its own
Lease. Pure: `paths`, `mounts`, `capacity`, `targets`, `ledger`, `compose`. The rest is I/O around them.
"""
