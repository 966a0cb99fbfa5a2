"""Loads a compressed-tensors folder with transformers on the CPU and compares it with what halfbyte says about it.

`check DIR --expected LOGITS --weights WEIGHTS`: logits of transformers in float32 and float16 against LOGITS
(safetensors with `input_ids` [B, T] and `logits` F32 [B, T, V]); and the library's own decompression of every
packed module, its scales widened to float32, against WEIGHTS (safetensors, F32 [N, K] by name of the weight).

`make DIR --model MODEL --bits B --group-size G [--asym]`: compressed-tensors itself packs MODEL, rounded to
nearest; group size -1 is strategy "channel".

    python compressed_tensors_check.py check DIR --expected logits.safetensors --weights dequantized.safetensors
"""

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

import torch
from compressed_tensors.compressors import ModelCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, CompressedTensorsConfig

PARTS = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape")


def read_tensors(folder):
    """All tensors of a folder's shards by name."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as handle:
            tensors.update({key: handle.get_tensor(key) for key in handle.keys()})
    return tensors


def config_of(folder):
    settings = json.loads((folder / "config.json").read_text())["quantization_config"]
    return QuantizationConfig.model_validate(settings)


def schemes_of(folder):
    """Scheme of every module as the library attaches it to an empty model."""
    with torch.device("meta"):
        config = json.loads((folder / "config.json").read_text())
        config.pop("quantization_config")
        kind = config.pop("model_type")
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **config))
    apply_quantization_config(model, config_of(folder), show_progress=False)
    return {name: m.quantization_scheme for name, m in model.named_modules() if hasattr(m, "quantization_scheme")}


def compare_weights(folder, file):
    """Decompresses each module with the library; counts the numbers that differ from ours."""
    tensors, expected, schemes = read_tensors(folder), load_file(file), schemes_of(folder)
    packed = {name.removesuffix(".weight_packed") for name in tensors if name.endswith(".weight_packed")}
    known = {name.removesuffix(".weight") for name in expected}
    problems = [f"{name}: quantized on one side only" for name in sorted(packed ^ known)]
    problems += [f"{name}: the config targets another set of modules" for name in sorted(packed ^ schemes.keys())]
    differing, dtypes = 0, set()
    for name in sorted(packed & known & schemes.keys()):
        state = {part: tensors[f"{name}.{part}"] for part in PARTS if f"{name}.{part}" in tensors}
        dtypes.add(str(state["weight_scale"].dtype).removeprefix("torch."))
        state["weight_scale"] = state["weight_scale"].float()
        weight = PackedQuantizationCompressor.decompress(state, schemes[name])["weight"]
        if weight.shape != expected[f"{name}.weight"].shape:
            problems.append(f"{name}: shape {tuple(weight.shape)}")
            continue
        # NaN differs from everything, itself too.
        differing += int((~(weight == expected[f"{name}.weight"])).sum())
    return {"modules": len(packed), "problems": problems, "differing": differing, "scale_dtypes": sorted(dtypes)}


def load(folder, dtype):
    """The folder as transformers loads it. Packed zero points need dequantize=True in transformers 5.23 with
    compressed-tensors 0.20: without, its empty model has unpacked ones, and its own folders fail to load as well."""
    groups = config_of(folder).config_groups.values()
    asymmetric = any(not group.weights.symmetric for group in groups)
    options = {"quantization_config": CompressedTensorsConfig(dequantize=True)} if asymmetric else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager", **options)
    return model.eval()


def mean_loss(logits, ids):
    """Mean negative log-likelihood of each next token, in nats."""
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).item()


def compare_logits(model, recorded):
    ids = recorded["input_ids"].long()
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits.double()
    expected = recorded["logits"].double()
    if not (torch.isfinite(logits).all() and torch.isfinite(expected).all()):
        raise SystemExit("logits are not finite")
    return {
        "nmse": (((logits - expected) ** 2).sum() / (expected**2).sum()).item(),
        "same_top": (logits.argmax(-1) == expected.argmax(-1)).double().mean().item(),
        "perplexity_change": math.exp(mean_loss(logits, ids) - mean_loss(expected, ids)) - 1,
    }


def check(options):
    recorded = load_file(options.expected)
    # Not bfloat16: its own rounding costs random models 2e-4 to 3e-4 of NMSE, whatever the weights.
    return {
        "weights": compare_weights(options.folder, options.weights),
        "float32": compare_logits(load(options.folder, torch.float32), recorded),
        "float16": compare_logits(load(options.folder, torch.float16), recorded),
    }


def make(options):
    """The library's own folder: min-max ranges of float16 scales, its own rounding and packing."""
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    strategy = {"strategy": "channel"} if options.group_size == -1 else {
        "strategy": "group", "group_size": options.group_size
    }
    weights = {"num_bits": options.bits, "type": "int", "symmetric": not options.asym, **strategy}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    config = QuantizationConfig.model_validate(
        {"config_groups": groups, "ignore": ["lm_head"], "quantization_status": "frozen", "format": "pack-quantized"}
    )
    apply_quantization_config(model, config, show_progress=False)
    half = 2 ** (options.bits - 1)
    for module in model.modules():
        if not hasattr(module, "weight_scale"):
            continue
        rows = module.weight.data.view(*module.weight_scale.shape, -1)
        low, high = rows.amin(-1).clamp(max=0), rows.amax(-1).clamp(min=0)
        width = torch.maximum(-low, high) * 2 if not options.asym else high - low
        scale = (width / (2 * half - 1)).half().float()
        module.weight_scale.data.copy_(scale)
        if options.asym:
            zero = torch.round(-half - low / scale).clamp(-half, half - 1)
            module.weight_zero_point.data.copy_(zero.to(torch.int8))
    compressor = ModelCompressor.from_pretrained_model(model, "pack-quantized")
    compressor.compress_model(model)
    compressor.remove_decompression_hook(model)
    model.save_pretrained(options.folder)
    compressor.update_config(options.folder)
    for file in options.model.glob("tokenizer*.json"):
        shutil.copy(file, options.folder)
    return {"made": str(options.folder)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    checker = verbs.add_parser("check")
    checker.add_argument("folder", type=Path)
    checker.add_argument("--expected", required=True)
    checker.add_argument("--weights", required=True)
    maker = verbs.add_parser("make")
    maker.add_argument("folder", type=Path)
    maker.add_argument("--model", type=Path, required=True)
    maker.add_argument("--bits", type=int, default=4)
    maker.add_argument("--group-size", type=int, default=128)
    maker.add_argument("--asym", action="store_true")
    options = parser.parse_args()
    # Libraries print banners on stdout; stdout is for the JSON alone.
    stdout, sys.stdout = sys.stdout, sys.stderr
    result = check(options) if options.verb == "check" else make(options)
    sys.stdout = stdout
    print(json.dumps(result))


if __name__ == "__main__":
    main()
