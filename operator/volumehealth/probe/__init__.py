"""LAW: turns a source into answers: schedules, paces, confirms, and never judges.

One prober for each driver, so that a driver that hangs delays nobody else.
"""
