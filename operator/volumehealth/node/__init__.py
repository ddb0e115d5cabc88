"""LAW: what the node itself shows of a volume, whatever its driver: mounts, devices, filesystems, kernel log.

It reads the node's files through `NodeFiles` and the kernel log through one function; it never touches a volume's
path and never opens a device. Gathering (`devices`, `filesystems`) turns files into frozen facts and may hang, so it
runs in `workers`; judging (`mounts`, `stalls`, `states`, `nfs`, `logbook`, `eyes`) is pure: facts and time are
arguments. It yields faults and coverage, and leaves hysteresis to the operator.
"""
