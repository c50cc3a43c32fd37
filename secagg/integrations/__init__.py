"""Adapters for frameworks: each a shell over `secagg.rounds`, with nothing private of its own.

A framework is imported by its adapter alone, and an adapter by whoever uses that framework.
"""
