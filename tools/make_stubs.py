"""Writes python/nnfast/_cpu.pyi and _ladder.pyi, the types of the compiled modules.

    python tools/make_stubs.py            write it (build the module first)
    python tools/make_stubs.py --check    exit with 1 if one is not what would be written

Names, order and defaults of the arguments are those of the built module; types and the first line of the docstring come
from the twin in reference.py, or from pybind11 for the functions that have none. No instruction set shows in it.
"""

import ast
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

from nnfast import _cpu, _ladder, reference

PACKAGE = Path(__file__).parents[1] / "python" / "nnfast"
STUBS = {PACKAGE / "_cpu.pyi": _cpu, PACKAGE / "_ladder.pyi": _ladder}
HEADER = '''"""{doc} Written by tools/make_stubs.py."""

from typing import Any
{numpy}
'''
# What pybind11 says, and what it means to a caller.
PLAIN = (
    (r"typing\.SupportsFloat \| typing\.SupportsIndex", "float"),
    (r"typing\.SupportsInt \| typing\.SupportsIndex", "int"),
    (r"numpy\.", "np."),
    (r"(typing_extensions|collections\.abc)\.Buffer", "Any"),
    (r"nnfast\._cpu\.", ""),
    (r"collections\.abc\.Sequence", "list"),
    (r"\bobject\b", "Any"),
    (r"\bdict\b(?!\[)", "dict[str, Any]"),
    (r"\btuple\b(?!\[)", "tuple[Any, ...]"),
)


def main() -> int:
    stale = [p for p, module in STUBS.items() if not p.exists() or parsed(p.read_text()) != parsed(stub(module))]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.name} is not what the module offers. Run: python tools/make_stubs.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        ruff = ["ruff", "format", "--stdin-filename", str(path), "-"]
        text = subprocess.run(ruff, input=stub(STUBS[path]), capture_output=True, text=True, check=True).stdout
        path.write_text(text)
    return 0


def parsed(text: str) -> str:
    """The same for the same declarations, however they are laid out."""
    return ast.dump(ast.parse(text))


def stub(module) -> str:
    """The text of a stub, unformatted."""
    things = [f for name, f in sorted(vars(module).items()) if callable(f) and not name.startswith("_")]
    text = "\n".join(class_declaration(f) if isinstance(f, type) else declaration(f) for f in things) + "\n"
    return HEADER.format(doc=module.__doc__, numpy="\nimport numpy as np\n" if "np." in text else "") + text


def class_declaration(cls: type) -> str:
    """A class with its methods; properties are of any type."""
    lines = [f"class {cls.__name__}:", f'    """{inspect.getdoc(cls)}"""']
    for name, member in sorted(vars(cls).items()):
        if isinstance(member, property):
            lines += ["    @property", f"    def {name}(self) -> Any: ..."]
        elif callable(member) and (name == "__init__" or not name.startswith("_")):
            lines.append(textwrap.indent(declaration(member), "    "))
    return "\n".join(lines)


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
    if doc and not doc.startswith("Initialize self"):
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
