"""Secure aggregation: a server learns the sum of many clients' vectors and nothing else."""
