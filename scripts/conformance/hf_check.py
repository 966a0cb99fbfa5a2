"""Loads a 16-bit folder with transformers and compares its logits with those recorded by halfbyte.

Each FILE of `--expected` is a safetensors file with `input_ids` [B, T] and `logits` F32 [B, T, V], all of the same
input; the result has one NMSE per file. The model is run in float32 and in the dtype its config names; what transformers
says about missing, unexpected or mismatched tensors is an error.

    python hf_check.py DIR --expected logits.safetensors
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(folder, dtype):
    """The model in eval mode; SystemExit where the folder's tensors are not exactly those of the model."""
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True
    )
    # A tied head is no tensor of its own, and not missed.
    wrong = {key: sorted(map(str, value)) for key, value in info.items() if value and key != "error_msgs"}
    if wrong or info.get("error_msgs"):
        raise SystemExit(f"{folder}: {wrong} {info.get('error_msgs')}")
    if getattr(model, "is_quantized", False) or getattr(model.config, "quantization_config", None) is not None:
        raise SystemExit(f"{folder}: loaded as a quantized model")
    return model.eval()


def nmse(actual, expected):
    actual, expected = actual.double(), expected.double()
    if not (torch.isfinite(actual).all() and torch.isfinite(expected).all()):
        raise SystemExit("logits are not finite")
    return (((actual - expected) ** 2).sum() / (expected**2).sum()).item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--expected", required=True, nargs="+")
    options = parser.parse_args()
    recorded = [load_file(file) for file in options.expected]
    ids = recorded[0]["input_ids"].long()
    if any(not torch.equal(other["input_ids"].long(), ids) for other in recorded):
        raise SystemExit("the files of --expected are of different inputs")
    stdout, sys.stdout = sys.stdout, sys.stderr
    result = {}
    for name, dtype in (("f32", torch.float32), ("native", "auto")):
        model = load(options.folder, dtype)
        with torch.no_grad():
            logits = model(input_ids=ids, use_cache=False).logits
        result[f"nmse_{name}"] = [nmse(logits, file["logits"]) for file in recorded]
    result["dtype"] = str(next(model.parameters()).dtype)
    result["vocabulary"] = len(AutoTokenizer.from_pretrained(options.folder))
    sys.stdout = stdout
    print(json.dumps(result))


if __name__ == "__main__":
    main()
