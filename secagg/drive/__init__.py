"""Drivers: they own the clock, the links and the executor; machines own the order."""
