"""The process in which a student's file runs: `python -m nnfast.ladder.child request.json diary.jsonl`.

Each step is written to the diary before it is taken, so that the parent knows what a crash or a hang interrupted.
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from nnfast.ladder import gpu, rungs
from nnfast.ladder.check import check_edge, check_reads, described, guards
from nnfast.ladder.problems import PROBLEMS
from nnfast.ladder.rungs import Function
from nnfast.ladder.timing import Cpu, race


def main(request_file: str, diary_file: str) -> int:
    request = json.loads(Path(request_file).read_text(encoding="utf-8"))
    with open(diary_file, "a", encoding="utf-8") as diary:
        last = "loading it"

        def write(**entry: Any) -> None:
            nonlocal last
            last = entry.get("step", last)
            diary.write(json.dumps(entry) + "\n")
            diary.flush()

        try:
            _work(request, write)
        except Exception as e:  # of a Python file, or what race and from_python say
            ours = isinstance(e, ValueError) and str(e).startswith("[ladder] ")
            write(wrong=str(e).removeprefix("[ladder] ") if ours else _raised(e, request, last))
    return 0


def _raised(e: Exception, request: dict[str, Any], step: str) -> str:
    """The lines of the student's own file that led to an exception."""
    own = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == request["source"]]
    if not own and isinstance(e, MemoryError):
        return f"these sizes need more memory than there is. It happened here: {step}."
    if not own:
        raise e  # not the student's fault: the traceback is for us
    where = "".join(f"\n  line {f.lineno}, in {f.name}: {f.line}" for f in own)
    if isinstance(e, MemoryError):
        where += f"\nA file may take {request['gibibytes']} GiB of memory beside its arrays."
    return f"it raised {type(e).__name__}: {e}{where}\nIt happened here: {step}."


def _work(request: dict[str, Any], write: Any) -> None:
    problem, source, sizes = PROBLEMS[request["op"]], Path(request["source"]), tuple(request["sizes"])
    machine: Any
    if request["threads"]:
        machine = Cpu(request["threads"])
        rungs.set_num_threads(request["threads"])
        _limit_memory(request["gibibytes"] << 30, request["threads"], 16 * problem.traffic(sizes))
    else:  # no limit: CUDA takes far more addresses than memory
        machine = gpu.Machine(gpu.Driver())
    write(step=f"loading {source.name}")
    function, own = _load(request), rungs.student(problem.name, source)
    for edge in problem.edges:
        write(step=f"{problem.name} of {described(problem, edge.sizes)}, {edge.why}")
        if wrong := check_edge(function, edge, own.rounding, machine if not request["threads"] else None):
            return write(wrong=wrong)
    if function.compiled and request["threads"]:
        for edge, argument, end in guards(problem):
            name, side = problem.arguments[argument], "just past the end" if end else "just before the beginning"
            write(
                step=f"{problem.name} of {described(problem, edge.sizes)}, with the memory {side} of {name} forbidden: "
                f"it reads or writes {side} of {name}"
            )
            check_reads(function, edge, argument, end)
    write(step=f"checking the rungs of {problem.name}")
    finished = race(
        problem,
        sizes,
        machine,
        (own, function),
        lambda title: write(step=f"timing {title} on {described(problem, sizes)}"),
        request["budget"],
    )
    write(race=finished.json())


def _limit_memory(most: int, threads: int, arrays: float) -> None:
    """What this process may take beyond what it has, its threads (a stack, and a heap that malloc reserves) and the
    arrays of the race with their copies in float64. Linux alone says what it has."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    has = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    total = has + most + threads * (256 << 20) + int(arrays)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or total < hard:
        resource.setrlimit(resource.RLIMIT_AS, (total, hard))


def _load(request: dict[str, Any]) -> Function:
    problem, code = PROBLEMS[request["op"]], Path(request["code"])
    if not request["threads"]:
        return gpu.from_library(problem, code)
    if code.suffix == ".py":
        return rungs.from_python(problem, code)
    try:
        return rungs.from_library(problem, code)
    except AttributeError:
        raise ValueError(
            f"[ladder] it compiles, but defines no function {problem.name} with the signature of {rungs.HEADER}, "
            f"which is in {rungs.sources()}"
        ) from None
    except OSError as e:
        raise ValueError(f"[ladder] it compiles, but cannot be loaded: {e}") from None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
