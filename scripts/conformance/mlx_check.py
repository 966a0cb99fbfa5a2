"""Loads an MLX folder with mlx and mlx-lm on the CPU and compares it with what halfbyte says about it.

`check DIR --expected LOGITS [--weights WEIGHTS]`: mlx-lm loads the folder; its logits, computed in float32 and in
the folder's own dtypes, against LOGITS (safetensors with `input_ids` [B, T] and `logits` F32 [B, T, V]); and
mx.dequantize of every quantized module against WEIGHTS (safetensors, F32 [N, K] by name of the weight).

`make DIR --model MODEL --bits B --group-size G [--mixed]`: mlx-lm itself quantizes MODEL (embeddings and head
included), `--mixed` with more bits for some modules.

    python mlx_check.py check DIR --expected logits.safetensors --weights dequantized.safetensors
"""

import argparse
import json
import sys
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.convert import convert
from mlx_lm.utils import load_model
from safetensors.numpy import load_file


def nmse(actual, expected):
    """Squared error relative to the squared norm; refuses NaN and infinity."""
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    if actual.shape != expected.shape:
        raise SystemExit(f"shapes {actual.shape} and {expected.shape}")
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        raise SystemExit("numbers are not finite")
    return float(((actual - expected) ** 2).sum() / (expected**2).sum())


def quantized_modules(model):
    """(path, module) of every linear and embedding that holds codes."""
    kinds = (nn.QuantizedLinear, nn.QuantizedEmbedding)
    return [(path, module) for path, module in model.named_modules() if isinstance(module, kinds)]


def compare_weights(model, file):
    """Compares mx.dequantize in float32 with our numbers; returns what differs and the worst difference."""
    expected = load_file(file)
    names = {f"{path}.weight": module for path, module in quantized_modules(model)}
    problems = [f"{name}: quantized on one side only" for name in sorted(names.keys() ^ expected.keys())]
    differing, worst = 0, 0.0
    for name in sorted(names.keys() & expected.keys()):
        module = names[name]
        scales, biases = (part.astype(mx.float32) for part in (module.scales, module.biases))
        values = np.array(mx.dequantize(module.weight, scales, biases, group_size=module.group_size, bits=module.bits))
        if values.shape != expected[name].shape:
            problems.append(f"{name}: shape {values.shape}, expected {expected[name].shape}")
            continue
        apart = ~(values == expected[name])
        differing += int(apart.sum())
        ulp = np.spacing(np.abs(expected[name]).max())
        worst = max(worst, float((np.abs(values - expected[name]) / ulp).max()))
    return {"modules": len(names), "problems": problems, "differing": differing, "worst_ulp_of_largest": worst}


def logits_of(model, ids):
    return np.array(model(mx.array(ids)).astype(mx.float32))


def check(options):
    recorded = load_file(options.expected)
    model, config = load_model(options.folder)
    modules = quantized_modules(model)
    result = {"modules": len(modules), "bits": sorted({module.bits for _, module in modules})}
    if options.weights:
        result["weights"] = compare_weights(model, options.weights)
    native = logits_of(model, recorded["input_ids"])
    result["nmse_native"] = nmse(native, recorded["logits"])
    result["same_top_native"] = float((native.argmax(-1) == recorded["logits"].argmax(-1)).mean())
    model.set_dtype(mx.float32)
    result["nmse_f32"] = nmse(logits_of(model, recorded["input_ids"]), recorded["logits"])
    result["quantization"] = {key: config["quantization"].get(key) for key in ("bits", "group_size", "mode")}
    return result


def make(options):
    """mlx-lm's own conversion; with --mixed every third module has 6 bits in groups of 32."""
    count = 0

    def predicate(path, _module):
        nonlocal count
        count += 1
        return {"bits": 6, "group_size": 32} if options.mixed and count % 3 == 0 else True

    convert(
        str(options.model),
        str(options.folder),
        quantize=True,
        q_bits=options.bits,
        q_group_size=options.group_size,
        quant_predicate=predicate,
    )
    return {"made": str(options.folder)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    checker = verbs.add_parser("check")
    checker.add_argument("folder", type=Path)
    checker.add_argument("--expected", required=True)
    checker.add_argument("--weights")
    maker = verbs.add_parser("make")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--model", type=Path, required=True)
    maker.add_argument("--bits", type=int, default=4)
    maker.add_argument("--group-size", type=int, default=64)
    maker.add_argument("--mixed", action="store_true")
    options = parser.parse_args()
    mx.set_default_device(mx.cpu)
    # Libraries print banners on stdout; stdout is for the JSON alone.
    stdout, sys.stdout = sys.stdout, sys.stderr
    result = check(options) if options.verb == "check" else make(options)
    sys.stdout = stdout
    print(json.dumps(result))


if __name__ == "__main__":
    main()
