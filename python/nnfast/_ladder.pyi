"""The rungs of the ladder, and the limits of this machine. Written by tools/make_stubs.py."""

from typing import Any

def copy_bytes(from_: Any, to: Any) -> None:
    """Copies the bytes, shared among the threads."""

def has_amx() -> bool:
    """Whether this CPU and system have AMX's tiles of bfloat16."""

def isas() -> list[str]:
    """Instruction sets that this CPU can run, best first."""

def multiply_add(isa: str, threads: int, rounds: int) -> float:
    """Multiplies and adds in registers alone, on each thread; returns the number of operations."""

def parallel() -> int:
    """Address of the function that shares work among threads; a student's file is given it."""

def read_bytes(isa: str, from_: Any) -> None:
    """Reads the bytes, shared among the threads."""

def rungs() -> list[tuple[str, int, str, int]]:
    """(op, number, instruction set, address) of each compiled rung that this CPU can run."""

def set_num_threads(n: int) -> None:
    """How many threads parallel_for uses."""
