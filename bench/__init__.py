"""Benchmarks of nnfast against its peers: `python -m bench [section ...] [--quick]`."""

import os

# An idle thread of libgomp (PyTorch) spins for several ms after a call, one of OpenBLAS (NumPy) for 20 ms, and takes a
# core from whoever is timed next: on 2 cores everyone else then looks like 1.3 threads. Both are read when the
# library is loaded. About 0.2 and 0.1 ms: calls that follow each other still find the threads awake.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "18")
