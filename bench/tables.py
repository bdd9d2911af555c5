"""`python bench/tables.py`: writes the tables of README.md and all of docs/benchmarks.md from bench/results/*.json.

`nnfast bench --save` writes those. The README has one line for each section and machine; docs/benchmarks.md has every
row. With nnfast and matplotlib at hand, the pictures beside the results are drawn anew, too.
"""

import json
import math
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
BEGIN, END = "<!-- bench tables: begin -->", "<!-- bench tables: end -->"
ROW_BY_ROW = {"fit", "overhead"}  # sections whose rows stand in the README one by one
INTRODUCTION = """# Benchmarks

Written by `python bench/tables.py` from `bench/results/`, which `nnfast bench all --save` fills. Times are medians of
interleaved rounds, ± half the distance of the quartiles. The ratio is the best peer's time over nnfast's: above 1,
nnfast is faster. GFLOP/s are nnfast's. The limit is what the machine can do at best on as much arithmetic and as many
bytes, measured beside. `CONTRIBUTING.md` says how to read and run them.

On a GPU (`nnfast bench all --cuda --save`) kernels are timed by its events while their callers run ahead, and training
by the clock. Limits are those of large copies and of the peers' largest products. Rows whose limit is memory move
several times what the L2 cache holds; small products find their operands there.
"""


def main() -> None:
    draw_pictures()
    machines = load()
    readme = ROOT / "README.md"
    readme.write_text(between_markers(readme.read_text(encoding="utf-8"), summary(machines)), encoding="utf-8")
    (ROOT / "docs" / "benchmarks.md").write_text(full(machines), encoding="utf-8")


def load(folder: Path = RESULTS) -> list[dict[str, Any]]:
    """What every machine and ISA measured, in a fixed order."""
    return [
        {**json.loads(path.read_text(encoding="utf-8")), "picture": path.with_suffix(".png").name}
        for path in sorted(folder.glob("*.json"))
    ]


def draw_pictures() -> None:
    """Rooflines of products and convolutions, and the time of training steps, for each machine and ISA."""
    try:
        from nnfast import bench

        for path in sorted(RESULTS.glob("*.json")):
            result = bench.read(path)
            shown = {name: s for name, s in result["sections"].items() if name in ("gemm", "conv2d", "fit")}
            bench.plot({**result, "sections": shown}, path.with_suffix(".png"), dpi=80)
    except (ImportError, ValueError) as e:
        print(f"no pictures: {e}")


def picture(result: dict[str, Any], folder: str) -> str:
    what = "speed of products and convolutions beside the limits of the machine, and time of training steps"
    return f"\n![{title(result).partition(';')[0].replace('*', '')}: {what}]({folder}/{result['picture']})\n"


def between_markers(text: str, tables: str) -> str:
    """text with the tables between its markers."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{tables}{END}{rest.split(END)[1]}"


def summary(machines: list[dict[str, Any]]) -> str:
    """The README's tables: geometric mean of the ratios of each section, and its worst row."""
    return "".join(f"\n{title(m)}\n\n{compact(m)}{picture(m, 'bench/results')}" for m in machines) + (
        "\n" if machines else ""
    )


def machine_name(m: dict[str, Any]) -> str:
    """The machine: its GPU, where that was measured."""
    if "gpu" in m:
        return f"{m['gpu']}, {m['multiprocessors']} multiprocessors, {m['arch']}"
    return f"{m['cpu']}, {m['cores']} cores, {m['isa']}"


def title(result: dict[str, Any]) -> str:
    """Machine, ISA, peers and date in a line."""
    m = result["machine"]
    rows = [r for s in result["sections"].values() for r in s["rows"]]
    peers = {who.split()[0] for r in rows for who in r["timings"]}
    versions = ", ".join(f"{p} {v}" for p, v in m["versions"].items() if p in peers and p != "nnfast")
    dates = sorted(s["date"] for s in result["sections"].values())
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    first, second, last = machine_name(m).rsplit(", ", 2)
    toolkit = f"{m['cuda']}; " if "gpu" in m else ""
    return f"**{first}**, {second}, `{last}`, {when}; {toolkit}peers: {versions}"


def compact(result: dict[str, Any]) -> str:
    counts, gpu = thread_counts(result), "gpu" in result["machine"]
    titles = ["ratio"] if gpu else [f"{n} thread{'s' * (n > 1)}" for n in counts]
    lines = table_head(["", *titles, "worst row"])
    for name, section in result["sections"].items():
        rows = [r for r in section["rows"] if r["ratio"] and not r.get("bar")]  # with a bar: against nnfast itself
        if name in ROW_BY_ROW:
            for label in dict.fromkeys(r["name"] for r in rows):
                ratios = {r["threads"]: r["ratio"] for r in rows if r["name"] == label}
                lines.append(cells([f"{name}: {label}", *(number(ratios.get(n)) for n in counts), ""]))
        elif rows:
            means = [number(geomean([r["ratio"] for r in rows if r["threads"] == n])) for n in counts]
            worst = min(rows, key=lambda r: r["ratio"])
            threads = "" if gpu else f"{worst['threads']} thr, "
            what = f"{worst['ratio']:.2f}: {worst['name']}, {threads}{worst['best_peer']}"
            lines.append(cells([f"{name}, {len({r['name'] for r in rows})} cases", *means, what]))
    return "\n".join(lines) + "\n"


def full(machines: list[dict[str, Any]]) -> str:
    """docs/benchmarks.md."""
    parts = [INTRODUCTION]
    for result in machines:
        m = result["machine"]
        parts.append(f"\n## {machine_name(m)}\n")
        around = [m["cuda"], f"beside {m['cpu']}"] if "gpu" in m else []
        versions = [*around, *(f"{k} {v}" for k, v in m["versions"].items())]
        parts.append("\n" + ", ".join(versions) + "\n")
        if "peaks" in m:
            parts.append(f"\n{limits(m['peaks'], 'gpu' in m)}")
        parts.append(picture(result, "../bench/results"))
        for what, section in result["sections"].items():
            parts.append(f"\n### {what} ({section['date']})\n\n{every_row(section['rows'])}")
    return "".join(parts)


def limits(peaks: dict[str, dict[str, dict[str, float]]], gpu: bool) -> str:
    """What the machine can do at best, by instruction set (on a GPU, by kind of product) and by size."""
    counts = list(next(iter(peaks["gigaflops"].values())))
    titles = ["at best"] if gpu else [f"{n} thread{'s' * (n != '1')}" for n in counts]
    lines = table_head(["limit", *titles, "unit"])
    products = "GFLOP/s" if gpu else "GFLOP/s in registers"
    for kind, unit in (("gigaflops", products), ("gigabytes", "GB/s read and written by a copy")):
        for what, speeds in peaks[kind].items():
            lines.append(cells([what, *(f"{speeds[n]:,.1f}" for n in counts), unit]))
    return "\n".join(lines) + "\n"


def every_row(rows: list[dict[str, Any]]) -> str:
    contenders = list(dict.fromkeys(who for r in rows for who in r["timings"]))
    lines = table_head(["", "threads", *(f"{who}, µs" for who in contenders), "GFLOP/s", "limit", "ratio"])
    for r in rows:
        times = [microseconds(r["timings"].get(who)) for who in contenders]
        speed = f"{r['gigaflop'] / r['timings']['nnfast']['seconds']:.1f}" if r["gigaflop"] else ""
        share = f"{r['share']:.0%}" if r.get("share") else ""
        lines.append(cells([r["name"], str(r["threads"]), *times, speed, share, number(r["ratio"])]))
    for n in sorted({r["threads"] for r in rows}):
        mean = geomean([r["ratio"] for r in rows if r["threads"] == n and r["ratio"]])
        if mean:
            lines.append(cells(["**geometric mean**", str(n), *("" for _ in contenders), "", "", number(mean)]))
    return "\n".join(lines) + "\n"


def microseconds(t: dict[str, float] | None) -> str:
    return f"{t['seconds'] * 1e6:,.1f} ± {t['spread'] * 50:.0f}%" if t else ""


def thread_counts(result: dict[str, Any]) -> list[int]:
    return sorted({r["threads"] for s in result["sections"].values() for r in s["rows"]})


def geomean(ratios: list[float]) -> float | None:
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def number(x: float | None) -> str:
    return f"{x:.2f}" if x else ""


def table_head(names: list[str]) -> list[str]:
    return [cells(names), "|---|" + "---:|" * (len(names) - 2) + "---|"]


def cells(values: list[str]) -> str:
    return "| " + " | ".join(v.replace("|", "\\|") for v in values) + " |"


if __name__ == "__main__":
    main()
