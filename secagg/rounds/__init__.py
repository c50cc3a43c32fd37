"""Rounds: who takes part, when a phase closes, what is stored before what is said. Pure policy."""
