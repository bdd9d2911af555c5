"""Writes what was measured into docs/ladder/*.md: a table at the top, and a line under the title of each rung.

python tools/ladder_pages.py             from bench/results/ladder/<machine>/<op>.json
python tools/ladder_pages.py --measure   climb all ladders first, and store what they give on this machine
python tools/ladder_pages.py --measure gemm reduce
python tools/ladder_pages.py --gpu FOLDER gemm ...   the CUDA rungs on the GPU of this machine, stored in a folder
python tools/ladder_pages.py --count     what the CUDA rungs do on the emulator, and the reports of docs/ladder/*cuda.md
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results" / "ladder"
PAGES = ROOT / "docs" / "ladder"
BEGIN, END = "<!-- measured{}: begin -->", "<!-- measured{}: end -->"


def main() -> None:
    if sys.argv[1:2] == ["--count"]:
        for page in sorted(PAGES.glob("*cuda.md")):
            page.write_text(counted(reported(page.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    if sys.argv[1:2] == ["--measure"]:
        from nnfast import ladder

        for op in sys.argv[2:] or ladder.OPS:
            measure(op)
    if sys.argv[1:2] == ["--gpu"]:
        sys.exit(on_gpu(Path(sys.argv[2]), sys.argv[3:]))
    for page in sorted(PAGES.glob("*.md")):
        races = load("gemm_cuda" if page.stem == "cuda" else page.stem)
        page.write_text(filled(page.read_text(encoding="utf-8"), races), encoding="utf-8")


def measure(op: str) -> None:
    from nnfast import ladder

    store(ladder.climb(op), RESULTS)


def on_gpu(folder: Path, ops: list[str]) -> int:
    """Times the CUDA rungs of each op; one that goes wrong holds up no other. Returns an exit status."""
    from nnfast import ladder

    status = 0
    for op in ops:
        try:
            store(ladder.climb(op, cuda=True), folder)
        except ValueError as e:
            print(f"{op}: {e}\n", flush=True)
            status = 1
    return status


def store(race: Any, results: Path) -> None:
    """Prints a race, and writes it to a file of its machine and op; bench/results/ladder has such files."""
    from nnfast import ladder

    print(f"{ladder.table(race)}\n", flush=True)
    where = f"{race.cpu} {race.threads} threads {race.isa}" if race.threads else f"{race.cpu} {race.isa}"
    machine = re.sub(r"[^a-z0-9]+", "-", where.lower()).strip("-")
    path = results / machine / (f"{race.op}.json" if race.threads else f"{race.op}_cuda.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(race.json(), indent=1) + "\n", encoding="utf-8")


def load(op: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """What each machine measured, in a fixed order."""
    return [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob(f"*/{op}.json"))]


def filled(text: str, races: list[dict[str, Any]]) -> str:
    """The page with its measured parts."""

    def part(match: re.Match[str]) -> str:
        number = match[1]
        lines = tables(races) if number is None else [line(race, int(number)) for race in races]
        return "\n".join([BEGIN.format(number or ""), *lines, END.format(number or "")])

    return re.sub(r"<!-- measured( \d+)?: begin -->\n(?:.*\n)*?<!-- measured(?: \d+)?: end -->", part, text)


def tables(races: list[dict[str, Any]]) -> list[str]:
    """All rungs of a ladder, for each machine."""
    lines = []
    for race in races:
        sizes = " x ".join(f"{n:,}" for n in race["sizes"])
        lines += ["", f"**{race['cpu']}, `{race['isa']}`**, {race['date']}, {sizes}. Measured limits:", ""]
        moving = "reading" if race["bound_by"] == "reading" else "copying"
        for count, p in race["peaks"].items():
            speeds = f"{p['operations'] / 1e9:.0f} GFLOP/s in registers, {p['bytes'] / 1e9:.0f} GB/s {moving}"
            lines.append(f"- {who(count)}: {speeds}")
        lines += [
            "",
            f"| rung | threads | ms | {unit(race)} | of the limit | error |",
            "|---|---:|---:|---:|---:|---:|",
        ]
        for r in sorted(race["results"], key=lambda r: (r["number"] is None, r["number"])):
            name = f"{r['number']} {r['title']}" if r["number"] is not None else f"*{r['title']}*"
            about = "~" if r["part"] < 1 else ""
            cells = [name, r["threads"] or "", f"{about}{milliseconds(r)} ± {r['spread']:.0%}"]
            cells += [f"{speed(race, r):,.{digits(race)}f}", f"{r['share']:.1%}", f"{r['error']:.0e}"]
            lines.append(f"| {' | '.join(map(str, cells))} |")
        lines += [f"\n{note[0].upper()}{note[1:]}." for note in race["notes"]]
    return [*lines, ""] if lines else []


def line(race: dict[str, Any], number: int) -> str:
    """What one rung reached on one machine."""
    ours = [r for r in race["results"] if r["number"] is not None]
    at = next((i for i, r in enumerate(ours) if r["number"] == number), None)
    if at is None:
        return f"- *{race['cpu']}, {race['isa']}: not timed.*"
    r = ours[at]
    gain = f", {ours[at - 1]['seconds'] / r['seconds']:,.2f} times rung {ours[at - 1]['number']}" if at else ""
    threads = f", {who(r['threads'])}" if r["threads"] else ""
    return (
        f"- *{race['cpu']}, {race['isa']}{threads}: {milliseconds(r)} ms, "
        f"{speed(race, r):,.{digits(race)}f} {unit(race)}, {r['share']:.1%} of the limit{gain}.*"
    )


# ---- the CUDA page: counts, which are the same on every machine ----


def counted(text: str) -> str:
    """The page with the table of a ladder's counts."""
    from nnfast import ladder

    def part(match: re.Match[str]) -> str:
        op = match[1]
        table = ladder.counts_table(ladder.count(op))
        return f"<!-- counted {op}: begin -->\n\n```\n{table}\n```\n\n<!-- counted {op}: end -->"

    return re.sub(r"<!-- counted (\w+): begin -->\n(?:.*\n)*?<!-- counted \1: end -->", part, text)


def reported(text: str) -> str:
    """The page with the report of each kernel that it shows: a block of C++ with a name, then the report."""
    import tempfile

    import numpy as np

    from nnfast import ladder

    def part(match: re.Match[str]) -> str:
        name, code = match[1], match[2]
        x, y = np.arange(2048, dtype=np.float32), np.empty(8, np.float32)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_text(code, encoding="utf-8")
            report = ladder.lesson(file, "sums", {"x": x, "y": y}, outputs=["y"])
        return f"`{name}`:\n\n```cpp\n{code}```\n\n```\n{report}\n```\n"

    return re.sub(r"^`(\w+\.cu)`:\n\n```cpp\n((?:.*\n)*?)```\n\n```\n(?:.*\n)*?```\n", part, text, flags=re.M)


def unit(race: dict[str, Any]) -> str:
    return "GFLOP/s" if race["bound_by"] == "arithmetic" else "GB/s"


def speed(race: dict[str, Any], result: dict[str, Any]) -> float:
    work = race["operations"] if race["bound_by"] == "arithmetic" else race["traffic"]
    return work / result["seconds"] / 1e9


def who(threads: Any) -> str:
    """What the threads of a result are called; a GPU's are 0."""
    return {"0": "the GPU", "1": "1 thread"}.get(str(threads), f"{threads} threads")


def digits(race: dict[str, Any]) -> int:
    """Behind the point: the slowest rung shall not be 0."""
    return 3 if min(speed(race, r) for r in race["results"]) < 0.1 else 1


def milliseconds(result: dict[str, Any]) -> str:
    ms = result["seconds"] * 1e3
    return f"{ms:,.0f}" if ms >= 1000 else f"{ms:.2f}"


if __name__ == "__main__":
    main()
