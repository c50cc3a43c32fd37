"""Federated training on real data with client processes that die; `secagg demo` runs it."""
