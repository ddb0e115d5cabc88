"""LAW: frozen values and vocabularies that every other room shares.

Standard library only. No I/O, no clock, no framework. A value here means the same in the operator,
in an agent and in `volumehealth check`.
"""
