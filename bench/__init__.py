"""Benchmarks of nnfast against its peers: `python -m bench [section ...] [--quick]`."""
