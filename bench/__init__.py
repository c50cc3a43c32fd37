"""Measurements: one module per question, on the frame of bench.common. See bench/README.md."""
