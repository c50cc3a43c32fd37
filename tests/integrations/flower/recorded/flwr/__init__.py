"""What the adapter and its tests use of Flower, as flwr 1.42 has it, and no more.

It stands for the framework where that is not installed, so that the adapter's own tests run
everywhere. test_flower_types.py compares it with the framework where there is one.
"""
