"""Loads an AWQ folder with its real consumers on the CPU and compares it with what halfbyte says about it.

`check DIR --expected LOGITS --weights WEIGHTS`: logits of transformers, which loads AWQ through GPTQModel and
computes in float16, against LOGITS (safetensors with `input_ids` [B, T] and `logits` F32 [B, T, V]); and AutoAWQ's
own unpacking of every module, its scales widened to float32, against WEIGHTS (safetensors, F32 [N, K] by name).

`make DIR --model MODEL --group-size G`: AutoAWQ's GEMM module packs MODEL, ranges and rounding as its quantizer's.

    python awq_check.py check DIR --expected logits.safetensors --weights dequantized.safetensors
"""

import argparse
import importlib.util
import json
import math
import os
import shutil
import sys
from pathlib import Path

# GPTQModel compiles its PyTorch kernel with torch.compile, minutes on a small CPU; eager is the same sum.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AwqConfig

BITS = 4


def awq_file(path):
    """A module of AutoAWQ by its file: the package's own imports follow older releases of transformers."""
    root = Path(importlib.util.find_spec("awq").submodule_search_locations[0])
    spec = importlib.util.spec_from_file_location(path.replace("/", "_").removesuffix(".py"), root / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_tensors(folder):
    """All tensors of a folder's shards by name."""
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as handle:
            tensors.update({key: handle.get_tensor(key) for key in handle.keys()})
    return tensors


def settings_of(folder):
    return json.loads((folder / "config.json").read_text())["quantization_config"]


def compare_weights(folder, file):
    """Unpacks each module with AutoAWQ; counts the numbers that differ from ours."""
    packing = awq_file("utils/packing_utils.py")
    tensors, expected, settings = read_tensors(folder), load_file(file), settings_of(folder)
    names = {name.removesuffix(".qweight") for name in tensors if name.endswith(".qweight")}
    known = {name.removesuffix(".weight") for name in expected}
    problems = [f"{name}: quantized on one side only" for name in sorted(names ^ known)]
    differing = 0
    for name in sorted(names & known):
        qweight, qzeros, scales = (tensors[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales"))
        if scales.dtype != torch.float16:
            problems.append(f"{name}: scales are {scales.dtype}")
        group_size = settings["group_size"] if settings["group_size"] > 0 else qweight.shape[0]
        weight = packing.dequantize_gemm(qweight, qzeros, scales.float(), BITS, group_size).T
        if weight.shape != expected[f"{name}.weight"].shape:
            problems.append(f"{name}: shape {tuple(weight.shape)}")
            continue
        # NaN differs from everything, itself too.
        differing += int((~(weight == expected[f"{name}.weight"])).sum())
    return {"modules": len(names), "problems": problems, "differing": differing}


def load(folder):
    """The folder as transformers with GPTQModel loads it. The backend names GPTQModel's plain kernel; its automatic
    choice may compile an extension for minutes."""
    settings = {key: value for key, value in settings_of(folder).items() if key != "quant_method"}
    model = AutoModelForCausalLM.from_pretrained(
        folder, device_map="cpu", dtype=torch.float32, attn_implementation="eager",
        quantization_config=AwqConfig(**{**settings, "backend": "torch_awq"}),
    )
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


def kernels_of(model):
    """Class names of the quantized linears, with counts."""
    counts = {}
    for module in model.modules():
        if hasattr(module, "qweight"):
            counts[type(module).__name__] = counts.get(type(module).__name__, 0) + 1
    return counts


def check(options):
    model = load(options.folder)
    return {
        "weights": compare_weights(options.folder, options.weights),
        "logits": compare_logits(model, load_file(options.expected)),
        "kernels": kernels_of(model),
    }


def make(options):
    """AutoAWQ's pseudo_quantize_tensor (zero point, no forced 0 in the range), packed by its GEMM module."""
    gemm = awq_file("modules/linear/gemm.py")
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float16)
    state = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    if not model.config.tie_word_embeddings:
        state["lm_head.weight"] = model.lm_head.weight.data
    for name, linear in model.named_modules():
        if not isinstance(linear, torch.nn.Linear) or name == "lm_head":
            continue
        rows = linear.weight.data.float().view(linear.out_features, -1, options.group_size)
        low, high = rows.amin(-1), rows.amax(-1)
        scales = ((high - low).clamp(min=1e-5) / 15).half()
        zeros = (-torch.round(low / scales.float())).clamp(0, 15)
        grid = torch.round(rows / scales.float()[..., None]) + zeros[..., None]
        rounded = (grid.clamp(0, 15) - zeros[..., None]) * scales.float()[..., None]
        linear.weight.data = rounded.view_as(linear.weight).float()
        packed = gemm.WQLinear_GEMM.from_linear(
            linear, BITS, options.group_size, scales=scales.T.contiguous(), zeros=zeros.T.contiguous()
        )
        del state[f"{name}.weight"]
        state.update({f"{name}.{part}": getattr(packed, part) for part in ("qweight", "qzeros", "scales")})
    options.folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in state.items()}, options.folder / "model.safetensors", {"format": "pt"})
    model.config.save_pretrained(options.folder)
    config = json.loads((options.folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "awq", "bits": BITS, "group_size": options.group_size, "zero_point": True, "version": "gemm",
    }
    (options.folder / "config.json").write_text(json.dumps(config, indent=2))
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
    maker.add_argument("--group-size", type=int, default=64)
    options = parser.parse_args()
    # Libraries print banners on stdout; stdout is for the JSON alone.
    stdout, sys.stdout = sys.stdout, sys.stderr
    result = check(options) if options.verb == "check" else make(options)
    sys.stdout = stdout
    print(json.dumps(result))


if __name__ == "__main__":
    main()
