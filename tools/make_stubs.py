"""Writes python/nnfast/_cpu.pyi, the types of the compiled module.

    python tools/make_stubs.py            write it (build the module first)
    python tools/make_stubs.py --check    exit with 1 if it is not what would be written

Names, order and defaults of the arguments are those of the built module; types and the first line of the docstring come
from the twin in reference.py, or from pybind11 for the functions that have none. No instruction set shows in it.
"""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

from nnfast import _cpu, reference

STUB = Path(__file__).parents[1] / "python" / "nnfast" / "_cpu.pyi"
HEADER = '''"""{doc} Written by tools/make_stubs.py."""

from typing import Any

import numpy as np

'''
# What pybind11 says, and what it means to a caller.
PLAIN = (
    (r"typing\.SupportsFloat \| typing\.SupportsIndex", "float"),
    (r"typing\.SupportsInt \| typing\.SupportsIndex", "int"),
    (r"numpy\.", "np."),
    (r"\bobject\b", "Any"),
    (r"\bdict\b(?!\[)", "dict[str, Any]"),
    (r"\btuple\b(?!\[)", "tuple[Any, ...]"),
)


def main() -> int:
    text = stub()
    if "--check" in sys.argv[1:]:
        if STUB.exists() and ast.dump(ast.parse(STUB.read_text())) == ast.dump(ast.parse(text)):
            return 0
        print(f"{STUB.name} is not what the module offers. Run: python tools/make_stubs.py", file=sys.stderr)
        return 1
    ruff = ["ruff", "format", "--stdin-filename", str(STUB), "-"]
    STUB.write_text(subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout)
    return 0


def stub() -> str:
    """The text of the stub, unformatted."""
    functions = [f for name, f in sorted(vars(_cpu).items()) if callable(f) and not name.startswith("_")]
    return HEADER.format(doc=_cpu.__doc__) + "\n".join(declaration(f) for f in functions) + "\n"


def declaration(function) -> str:
    """`def name(arguments) -> type`, and one line of documentation."""
    signature, _, doc = function.__doc__.strip().partition("\n")
    definition = ast.parse(f"def {signature}: ...").body[0]
    twin = getattr(reference, function.__name__, None)
    known = inspect.signature(twin).parameters if twin else {}
    arguments = definition.args
    for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs:
        theirs = known.get(argument.arg) or next((p for p in known.values() if p.kind is p.VAR_POSITIONAL), None)
        argument.annotation = annotation(theirs and theirs.annotation, argument.annotation)
    definition.returns = annotation(twin and inspect.signature(twin).return_annotation, definition.returns)
    arguments.defaults = [default(d) for d in arguments.defaults]
    arguments.kw_defaults = [d and default(d) for d in arguments.kw_defaults]
    doc = inspect.getdoc(twin) or doc.strip() if twin else doc.strip()
    if doc:
        definition.body = [ast.Expr(ast.Constant(doc.splitlines()[0]))]
    return ast.unparse(definition)


def annotation(theirs, ours: ast.expr) -> ast.expr:
    """The twin's type if it says one, else pybind11's in plain words."""
    if theirs is None or theirs is inspect.Parameter.empty:
        text = ast.unparse(ours)
    else:
        text = inspect.formatannotation(theirs)
    for pattern, plain in PLAIN:
        text = re.sub(pattern, plain, text)
    return ast.parse(text, mode="eval").body


def default(value: ast.expr) -> ast.expr:
    """Numbers, flags and None stand as they are."""
    simple = isinstance(value, ast.Constant) or (
        isinstance(value, ast.UnaryOp) and isinstance(value.operand, ast.Constant)
    )
    return value if simple else ast.Constant(...)


if __name__ == "__main__":
    sys.exit(main())
