"""Writes tests/data/golden.json: run it when a model is meant to learn differently, and say why in the commit.

python tools/make_golden.py
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "python")]

from golden_models import MODELS, train  # noqa: E402

if __name__ == "__main__":
    found = {name: [float(f"{loss:.7g}") for loss in train(name)[0]] for name in MODELS}
    path = ROOT / "tests" / "data" / "golden.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {path.relative_to(ROOT)}")
