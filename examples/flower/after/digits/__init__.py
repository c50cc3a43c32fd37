"""Handwritten digits, learnt by several nodes that keep their own."""
