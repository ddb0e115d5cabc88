"""LAW: from a VolumeHealthPolicy's YAML to typed values, and from policies to which claim belongs to which.

Pure: no I/O and no clock. Every fault of a spec is reported with its field's path.
"""
