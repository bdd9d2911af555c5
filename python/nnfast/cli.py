"""The command `nnfast`: `demo` trains two networks on real digits, `ladder` climbs from the naive loop to the shipped
kernel, `bench` times nnfast against its peers, `info` says what runs here."""

import argparse
import json
import math
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from typing import Any


def main(arguments: list[str] | None = None) -> int:
    """Entry point. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="nnfast", description="Neural networks on fast, readable kernels.")
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train the course's MLP and CNN on real handwritten digits")
    demo.add_argument(
        "--data", choices=("digits", "mnist"), default="digits", help="the shipped digits, or all of MNIST"
    )
    demo.add_argument("--mlp-epochs", type=_count, default=10, metavar="N", help="passes of the MLP (default 10)")
    demo.add_argument("--cnn-epochs", type=_count, default=5, metavar="N", help="passes of the CNN (default 5)")
    demo.add_argument("--seed", type=_seed, metavar="N", default=1, help="makes the run repeatable (default 1)")
    _add_ladder(commands)
    _add_bench(commands)
    commands.add_parser("info", help="versions, CPU features, instruction set, threads, memory, CUDA")
    args = parser.parse_args(arguments)
    try:
        if args.command == "info":
            return info()
        if args.command == "ladder":
            return run_ladder(args)
        if args.command == "bench":
            return run_bench(args, sys.argv[1:] if arguments is None else arguments)
        return run_demo(args.data, args.mlp_epochs, args.cnn_epochs, args.seed)
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `nnfast demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError) as e:
        if not str(e).startswith("["):
            raise
        print(f"nnfast: {e}", file=sys.stderr)  # nnfast's own messages say it all: no data here, a bad NNFAST_ISA
        return 1


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"expects a number from 0 to {2**32 - 1}. Received: {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expects a number from 1 up. Received: {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        x = float(text)
    except ValueError:
        x = math.nan
    if not 0 <= x < 1:
        raise argparse.ArgumentTypeError(f"expects a number from 0 to below 1. Received: {text!r}")
    return x


# ---- ladder ----


def _add_ladder(commands: Any) -> None:
    ladder = commands.add_parser(
        "ladder",
        help="an op from the naive loop to the shipped kernel: checked, timed, explained",
        description="Checks and times every rung of an op against this machine's limits. Without an op: lists them.",
    )
    ladder.add_argument("op", nargs="?", help="gemm, conv2d, softmax, reduce, transpose or elementwise")
    ladder.add_argument("--size", type=_sizes, metavar="N[,N...]", help="one size of the op, or all of them")
    ladder.add_argument(
        "--threads", type=_count, metavar="N", help="of the rungs that use several, up to 1024 (default: all cores)"
    )
    ladder.add_argument(
        "--cuda",
        action="store_true",
        help="the rungs for a GPU: timed where there is one; elsewhere their use of memory is counted, on the CPU",
    )
    ladder.add_argument("--count", action="store_true", help="with --cuda: count, although there is a GPU")
    ladder.add_argument("--show", type=int, metavar="RUNG", help="print the source of a rung, and what it changed")
    ladder.add_argument(
        "--mine",
        metavar="FILE",
        help="check your own .cpp, .py or .cu file and place it among the rungs "
        "(it may take 8 GiB of memory beside its arrays)",
    )
    ladder.add_argument("--limit", type=float, default=30.0, metavar="S", help="seconds for a step of it (default 30)")
    ladder.add_argument("--plot", metavar="FILE", help="draw the ladder on this machine's roofline (needs matplotlib)")
    ladder.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the results as JSON (without FILE: instead of the table)",
    )


def _sizes(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def run_ladder(args: Any) -> int:
    """`nnfast ladder`: see `nnfast.ladder`."""
    from nnfast import ladder

    options = ("size", "threads", "cuda", "count", "show", "mine", "plot", "json")
    given = {o: value for o in options if (value := getattr(args, o)) is not None and value is not False}
    if args.op is None and given:
        raise ValueError(
            f"[ladder] --{next(iter(given))} needs an op: {', '.join(ladder.OPS)}. "
            f"Write, for example: nnfast ladder gemm {' '.join(_option(*o) for o in given.items())}"
        )
    if args.op is None:
        print(ladder.listing())
        return 0
    if args.show is not None and (others := given.keys() - {"show", "cuda"}):
        raise ValueError(
            "[ladder] --show prints the source of a rung and does nothing else: leave out "
            + " and ".join(f"--{o}" for o in sorted(others))
        )
    cuda = args.cuda or args.count or (args.mine or "").endswith(".cu")
    count = args.count or (cuda and not ladder.has_gpu())
    if cuda and args.threads:
        raise ValueError("[ladder] --threads is for the rungs on the CPU: leave it out with --cuda")
    if count and args.plot:
        raise ValueError("[ladder] --plot draws times, and --cuda without a GPU counts: leave it out")
    _check_files("ladder", args.json, args.plot)
    if args.show is not None:
        print(ladder.show(args.op, args.show, cuda))
        return 0
    try:
        if count:
            result: Any = ladder.count(args.op, args.size, args.mine, args.limit, _tell)
        else:
            result = ladder.climb(args.op, args.size, args.threads, args.mine, args.limit, _tell, cuda=cuda)
    finally:
        _tell("")
    if count:
        _show_ladder(args, result, ladder.counts_table, ladder.counts_place)
    else:
        _show_ladder(args, result, ladder.table, ladder.place)
    if args.plot:
        ladder.roofline(result, args.plot)
    return 0


def _option(name: str, value: Any) -> str:
    """As it is written."""
    if value is True or value == "-":
        return f"--{name}"
    return f"--{name} {','.join(map(str, value)) if isinstance(value, list) else value}"


def _check_files(command: str, results: str | None, picture: str | None) -> None:
    """Whether the files can be written that a long run is to end in.

    Raises:
        ValueError: a folder that is not there or may not be written to; no matplotlib, or no picture of this kind.
    """
    for option, path in (("json", results), ("plot", picture)):
        if path in (None, "-"):
            continue
        folder = os.path.dirname(path) or "."
        if os.path.isdir(path) or not os.path.isdir(folder):
            why = "this is a folder" if os.path.isdir(path) else "there is no such folder"
            raise ValueError(f"[{command}] --{option} expects the name of a file: {why}. Received: {path!r}")
        if not os.access(path if os.path.exists(path) else folder, os.W_OK):
            raise ValueError(f"[{command}] --{option} may not write there. Received: {path!r}")
    if picture is None:
        return
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(f"[{command}] --plot needs matplotlib: pip install 'nnfast[plot]'") from None
    kind, kinds = os.path.splitext(picture)[1].lower().removeprefix("."), Figure().canvas.get_supported_filetypes()
    if kind and kind not in kinds:
        known = ", ".join(f".{k}" for k in sorted(kinds))
        raise ValueError(f"[{command}] --plot draws files that end in {known}. Received: {picture!r}")


def _show_ladder(args: Any, result: Any, table: Callable[[Any], str], place: Callable[[Any], str]) -> None:
    """As a table, with the place of a student's file, or as JSON."""
    if args.json == "-":
        print(json.dumps(result.json(), indent=1))
        return
    print(table(result))
    if args.mine:
        print(f"\n{place(result)}")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            f.write(json.dumps(result.json(), indent=1) + "\n")


# ---- bench ----


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="time nnfast against the peers that are installed, and against this machine's limits",
        description="Sections: gemm, conv2d, ops, fit, overhead; all without a name. Ratios are the best peer's time "
        "over nnfast's: above 1, nnfast is faster.",
    )
    bench.add_argument("sections", nargs="*", metavar="section", help="gemm, conv2d, ops, fit, overhead, or all")
    bench.add_argument("--cuda", action="store_true", help="measure the GPU, against PyTorch and CuPy")
    bench.add_argument("--quick", action="store_true", help="few short rounds: a first impression")
    bench.add_argument("--tiny", action="store_true", help="tiny problems: is every row right? Its times say nothing")
    bench.add_argument("--rows", default="", metavar="TEXT", help="only rows whose names contain this")
    bench.add_argument("--threads", type=_sizes, metavar="N[,N...]", help="numbers of threads (default: 1 and all)")
    bench.add_argument("--faults", action="store_true", help="let peers pay for fresh pages: malloc stays as it is")
    bench.add_argument("--json", metavar="FILE", help="write the results")
    bench.add_argument("--plot", metavar="FILE", help="draw rooflines and bars (needs matplotlib)")
    bench.add_argument("--save", action="store_true", help="in nnfast's sources: write bench/results/<machine>.json")
    bench.add_argument(
        "--check",
        nargs="+",
        metavar="FILE",
        help="compare with an older file, row by row by the ratio to a peer; with a second file nothing is timed. "
        "The exit status is 1 if a row is worse",
    )
    bench.add_argument(
        "--tolerance", type=_share, default=0.1, metavar="X", help="how much a ratio may fall (default 0.1)"
    )


def run_bench(args: Any, arguments: list[str]) -> int:
    """`nnfast bench`: see `nnfast.bench`."""
    from nnfast import bench

    files = args.check or []
    if len(files) > 2 or (len(files) == 2 and args.sections):
        raise ValueError(f"[bench] --check takes an old file and perhaps a new one. Received: {files}")
    if args.save and (args.quick or args.rows or args.faults or args.tiny):
        raise ValueError("[bench] --save keeps whole sections alone: leave out --quick, --tiny, --rows and --faults")
    if args.cuda and (args.threads or args.faults):
        raise ValueError("[bench] --threads and --faults are for the CPU: leave them out with --cuda")
    _check_files("bench", args.json, args.plot)
    if args.save:
        bench.folder()
    old = bench.read(files[0]) if files else None
    if old is not None and len(files) == 2:
        return _verdict(bench.check(old, bench.read(files[1]), args.tolerance))
    settings = {k: v for k, v in bench.SETTINGS.items() if k not in os.environ}
    if settings and not args.cuda:
        # The libraries read them when they are loaded, and NumPy is.
        import subprocess

        command = [sys.executable, "-m", "nnfast", *arguments]
        try:
            return subprocess.run(command, env={**os.environ, **settings}).returncode
        except KeyboardInterrupt:  # the other process has said so
            return 130

    def show(text: str) -> None:
        _tell("")
        print(text, flush=True)

    sections = bench.SECTIONS if not args.sections or "all" in args.sections else args.sections
    options = {"quick": args.quick, "threads": args.threads, "rows": args.rows, "faults": args.faults}
    try:
        result = bench.run(sections, **options, cuda=args.cuda, tiny=args.tiny, tell=_tell, show=show)
    finally:
        _tell("")
    if args.json:
        bench.write(result, args.json)
    for row in result.get("failed", []):
        print(f"failed: {row}", file=sys.stderr)
    if "stopped" in result:
        print(f"\n{result['stopped']}", file=sys.stderr)
        return 130
    status = _verdict(bench.check(old, result, args.tolerance)) if old is not None else 0
    status = 1 if "failed" in result else status
    if args.save:
        path = bench.save(result)
        result = bench.read(path)
        print(f"saved in {path}")
    if args.plot:
        bench.plot(result, args.plot)
    return status


def _verdict(verdict: Any) -> int:
    for line in [*verdict.notes, *(f"worse: {row}" for row in verdict.worse)]:
        print(line)
    print(f"{verdict.compared} rows compared, {len(verdict.worse)} worse")
    return 1 if verdict.worse else 0


def _tell(text: str) -> None:
    """What happens right now, on one line of a terminal; "" wipes it. Warnings of several lines stay."""
    width = 100
    if "\n" in text:
        print(text, file=sys.stderr)
    elif sys.stderr.isatty():
        print(f"\r{text[:width]:{width}}", end="" if text else "\r", file=sys.stderr, flush=True)


# ---- info ----


def info() -> int:
    """Prints what runs here."""
    import numpy as np

    import nnfast
    from nnfast import device

    runtime: Any = device.runtime_info()
    memory = runtime["memory"]
    rows = [
        ("nnfast", nnfast.__version__),
        ("Python", f"{platform.python_version()} ({platform.python_implementation()})"),
        ("NumPy", np.__version__),
        ("h5py", _version("h5py")),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        ("CPU", _cpu_name()),
        ("CPU features", _cpu_features()),
        ("instruction set", f"{runtime['isa']} (this CPU runs: {', '.join(runtime['isas'])})"),
        ("matrix products", ", ".join(f"{p}: {how}" for p, how in runtime["matmul"].items())),
        ("threads", f"{runtime['threads']}"),
        ("device", nnfast.get_device()),
        ("memory in use", f"{memory['used'] / 1e6:.1f} MB in {memory['live']} blocks"),
        ("memory at rest", f"{memory['resting'] / 1e6:.1f} MB (nnfast.empty_cache() gives it back)"),
        ("CUDA", device.cuda_state()),
        ("CuPy", _version("cupy-cuda13x", "cupy-cuda12x", "cupy")),
    ]
    settings = ("ISA", "AMX", "CUDA_PIECES", "NUM_THREADS", "CACHE", "DATA")
    for name in (*(f"NNFAST_{setting}" for setting in settings), "OMP_NUM_THREADS"):
        if name in os.environ:
            rows.append((name, os.environ[name]))
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(f"{label:{width}}  {value}")
    return 0


def _version(*names: str) -> str:
    for name in names:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "not installed"


def _cpuinfo() -> dict[str, str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            lines = f.read().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}


def _cpu_name() -> str:
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def _cpu_features() -> str:
    have = set((_cpuinfo().get("flags") or _cpuinfo().get("Features") or "").split())
    known = ("sse2", "avx", "fma", "avx2", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_bf16", "amx_tile")
    found = [f for f in (*known, "amx_bf16", "asimd", "sve") if f in have]
    return " ".join(found) or "unknown"


# ---- demo ----


def run_demo(data: str, mlp_epochs: int, cnn_epochs: int, seed: int) -> int:
    """Trains the course's two networks and shows what they learned."""
    import nnfast
    from nnfast import datasets, device, utils

    utils.set_random_seed(seed)
    source = datasets.digits if data == "digits" else datasets.mnist
    (x, y), (x_test, y_test) = source.load_data()
    runtime: Any = device.runtime_info()
    print(
        f"nnfast {nnfast.__version__}: {len(x):,} handwritten digits to learn from, {len(x_test):,} to be tested with"
    )
    print(f"kernels: {runtime['isa']}, threads: {runtime['threads']}\n")
    x, x_test = x.astype("float32") / 255, x_test.astype("float32") / 255

    print("1. A multi-layer perceptron: 784 pixels, 512 hidden units, 10 classes\n")
    mlp = _mlp()
    flat, flat_test = x.reshape(-1, 784), x_test.reshape(-1, 784)
    mlp_accuracy = _train(mlp, flat, y, flat_test, y_test, 128, mlp_epochs)

    print("\n2. A convolutional network: three blocks of convolution, ReLU and pooling\n")
    cnn = _cnn()
    images, images_test = x.reshape(-1, 28, 28, 1), x_test.reshape(-1, 28, 28, 1)
    cnn_accuracy = _train(cnn, images, y, images_test, y_test, 50, cnn_epochs)

    print("\nWhat the convolutional network sees:\n")
    _show_predictions(cnn, images_test, y_test)
    print(f"\ntest accuracy: perceptron {mlp_accuracy:.4f}, convolutional network {cnn_accuracy:.4f}")
    print("\nWhere to go next:")
    print("  the thirty lines behind this demo      README.md, 'A digit classifier'")
    print("  all of MNIST                           nnfast demo --data mnist")
    print("  what runs on this machine              nnfast info")
    print("  from model.fit down to the kernel      docs/design.md, 'The walk'")
    return 0


def _mlp() -> Any:
    from nnfast import layers, models

    model = models.Sequential(name="perceptron")
    model.add(layers.Dense(512, activation="relu", input_shape=(28 * 28,)))
    model.add(layers.Dense(10, activation="softmax"))
    model.compile(optimizer="rmsprop", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _cnn() -> Any:
    from nnfast import layers, models

    model = models.Sequential(name="convolutional")
    for i, filters in enumerate((32, 64, 128)):
        shape: dict[str, Any] = {"input_shape": (28, 28, 1)} if i == 0 else {}
        model.add(layers.Conv2D(filters, (3, 3), padding="same", **shape))
        model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(pool_size=(2, 2)))
    model.add(layers.Flatten())
    model.add(layers.Dense(200))
    model.add(layers.Activation("relu"))
    model.add(layers.Dense(10))
    model.add(layers.Activation("softmax"))
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def _train(model: Any, x: Any, y: Any, x_test: Any, y_test: Any, batch_size: int, epochs: int) -> float:
    model.summary()
    model.fit(x, y, batch_size=batch_size, epochs=epochs)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"on digits it has never seen: accuracy {accuracy:.4f}, loss {loss:.4f}")
    return accuracy


def _show_predictions(model: Any, images: Any, labels: Any, count: int = 5) -> None:
    """Draws some digits with what the model says, one mistake among them if it makes any."""
    predicted = model.predict(images, verbose=0)
    guess = predicted.argmax(-1)
    wrong = [int(i) for i in (guess != labels).nonzero()[0][:1]]
    shown = [i for i in range(len(labels)) if i not in wrong][: count - len(wrong)] + wrong
    pictures = [_drawing(images[i, :, :, 0]) for i in shown]
    for rows in zip(*pictures):
        print("  ".join(rows).rstrip())
    captions = []
    for i in shown:
        mark = "" if guess[i] == labels[i] else f", is {labels[i]}"
        captions.append(f"{guess[i]} ({predicted[i].max():.0%}{mark})".center(28))
    print("  ".join(captions).rstrip())


def _drawing(image: Any) -> list[str]:
    """A 28x28 picture as 14 lines of 28 characters: two pixels to a character, or shades where those do not print."""
    blocks = " ▀▄█"
    try:
        blocks.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        shades = " .:*#"
        mean = (image[0::2] + image[1::2]) / 2
        return ["".join(shades[min(int(v * len(shades)), len(shades) - 1)] for v in row) for row in mean]
    dark = image > 0.4
    return ["".join(blocks[int(a) + 2 * int(b)] for a, b in zip(top, low)) for top, low in zip(dark[0::2], dark[1::2])]


if __name__ == "__main__":
    sys.exit(main())
