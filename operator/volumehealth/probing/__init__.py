"""LAW: asks one driver: identity, plan, schedule, pacing, confirmation, circuit breaker. It never judges.

Each driver has its own session, so a driver that hangs delays no other.
"""
