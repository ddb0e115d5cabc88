"""LAW: turns what drivers, agents and the Kubernetes API say into answers about claims. It never judges.

A source says what it observed, what it covered, and what clears it (`source.HealthSource`); it never sees a verdict.
`sourcelist` is the list of them, `gather` asks them in turn. The other files turn objects into answers, purely.
"""
