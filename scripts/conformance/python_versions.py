"""Imports the packages of requirements*.txt and prints {"versions": {name: version}}.

What cannot be imported has null for its version and the reason under "reasons".
"""

import importlib
import importlib.metadata
import json
import re
import sys
from pathlib import Path

MODULES = {"autoawq": "awq", "compressed-tensors": "compressed_tensors", "mlx": "mlx.core", "mlx-cpu": "mlx.core", "mlx-lm": "mlx_lm"}


def required():
    """Names in the requirements files, leaving out those for other systems."""
    names = []
    for file in sorted(Path(__file__).parent.glob("requirements*.txt")):
        for line in file.read_text().splitlines():
            name, _, marker = line.partition(";")
            if not line.startswith("#") and line.strip() and ("linux" not in marker or sys.platform == "linux"):
                names.append(re.split(r"[=<>~ ]", name.strip())[0])
    return names


def main():
    stdout, sys.stdout = sys.stdout, sys.stderr
    versions, reasons = {}, {}
    for name in required():
        try:
            importlib.import_module(MODULES.get(name, name))
            versions[name] = importlib.metadata.version(name)
        except Exception as error:  # whatever a broken installation throws is the answer to our question
            versions[name], reasons[name] = None, f"{type(error).__name__}: {error}"
    sys.stdout = stdout
    print(json.dumps({"versions": versions, "reasons": reasons}))


if __name__ == "__main__":
    main()
