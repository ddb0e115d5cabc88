"""LAW: turns what drivers, agents and the Kubernetes API say into answers about claims. It never judges.

A source names itself and says what it covered. One file for each source.
"""
