"""LAW: tells people and programs: policy status, VolumeHealth records, events, metrics.

One writer for each fact, no decisions about health. Level-triggered: what should be there is compared with what
is there, so a write that failed is made again and one that is not needed is not made.
"""
