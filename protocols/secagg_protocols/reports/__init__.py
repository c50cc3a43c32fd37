"""Sums of reports over several servers: the machines, of whatever a report's shares are.

A client speaks once; every server judges its own share; the servers sign the set that they have
summed, lock it, and only then release their totals, sealed to the collector, who adds them
(specs/20-additive.md).
"""
