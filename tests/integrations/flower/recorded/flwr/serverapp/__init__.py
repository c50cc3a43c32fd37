"""Strategies are one level below."""
