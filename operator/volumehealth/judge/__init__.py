"""LAW: pure decisions: rules, hysteresis, merge of sources, verdicts, transitions.

Time is an argument. No I/O, no clock, no Kopf, no Kubernetes client, no gRPC. The same input gives the same
output; what it decides is decided nowhere else.
"""
