"""Records what reference_pipeline.py gives in float64 on the bundled model, so that tests without Python
can compare with it.

    python scripts/conformance/record_reference.py        # from the repository root
"""

import json
import subprocess
import sys
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent.parent
BUNDLED = "test/fixtures/bundled"
SHARED = ["--samples", "16", "--seq-len", "512", "--max-windows", "8", "--dtype", "float64", "--batch", "4"]
CASES = {
    "gptq-4bit-g128": ["--method", "gptq", "--bits", "4", "--group-size", "128"],
    "rtn-4bit-g128": ["--method", "rtn", "--bits", "4", "--group-size", "128"],
    "gptq-3bit-g32-asym": ["--method", "gptq", "--bits", "3", "--group-size", "32", "--asym"],
    "rtn-3bit-g32-asym": ["--method", "rtn", "--bits", "3", "--group-size", "32", "--asym"],
}


def run(arguments):
    """One run of the reference pipeline; its JSON without the time taken."""
    command = [
        sys.executable, "scripts/conformance/reference_pipeline.py", "--model", BUNDLED,
        "--calib", f"{BUNDLED}/calibration.txt", "--text", f"{BUNDLED}/evaluation.txt", *SHARED, *arguments,
    ]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout)
    result.pop("seconds")
    return {"arguments": [*SHARED, *arguments], **result}


def main():
    record = {
        "command": "python scripts/conformance/record_reference.py",
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "cases": {name: run(arguments) for name, arguments in CASES.items()},
    }
    target = ROOT / "test" / "fixtures" / "reference" / "pipeline.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n")
    for name, case in record["cases"].items():
        print(name, {key: case[key] for key in ("ppl", "ppl_ref", "kld_mean", "same_top")})


if __name__ == "__main__":
    main()
