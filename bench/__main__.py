"""`python -m bench [section ...] [--quick] [--faults]`: runs bench_<section>.py, prints tables, writes bench/results/.

Each section is a module with `run() -> list[Row]`.
"""

import argparse
import importlib
from pathlib import Path

from bench import timing


def main() -> None:
    known = sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m bench", description="Times nnfast against its peers.")
    parser.add_argument("sections", nargs="*", metavar="section", help=f"default: all ({', '.join(known)})")
    parser.add_argument("--quick", action="store_true", help="few short rounds; nothing is saved")
    parser.add_argument("--faults", action="store_true", help="leave malloc as it is: peers pay for fresh pages")
    args = parser.parse_args()
    for section in args.sections:
        if section not in known:
            parser.error(f"unknown section {section!r}. Known: {', '.join(known)}")
    timing.QUICK = args.quick
    if not args.faults:
        timing.keep_memory()
    m = timing.machine()
    print(f"{m['cpu']}, {m['cores']} cores, ISA {m['isa']}; {', '.join(f'{k} {v}' for k, v in m['versions'].items())}")
    for section in args.sections or known:
        rows = importlib.import_module(f"bench.bench_{section}").run()
        print(f"\n{section}\n{timing.table(rows)}", flush=True)
        if not (args.quick or args.faults):
            print(f"saved in {timing.save(section, rows)}")


if __name__ == "__main__":
    main()
