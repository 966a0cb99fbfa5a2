"""Compares a bitsandbytes folder of ours with what bitsandbytes and transformers make of the same model on the CPU.

JOBS is a JSON file with a list of jobs, done in order by one process (starting PyTorch costs more than a job):

`{"verb": "check", "folder", "model", "expected"}`: every tensor of the folder, to the byte, against what Params4bit
serializes for the linears of the model (any block size); then transformers loads the folder, and its logits, in the
folder's dtype and with everything in float32, against `expected` (safetensors with `input_ids` [B, T] and `logits`
F32 [B, T, V]); without `expected` the tensors alone.

`{"verb": "compare", "folder", "other"}`: the tensors of two folders, by name, dtype, shape and bytes.

`{"verb": "make", "folder", "model", "codebook", "doubleQuant"}`: transformers quantizes the model itself and saves it.

    python bitsandbytes_check.py JOBS
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import bitsandbytes as bnb
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig


def read_tensors(folder):
    """All tensors of a folder's weight files by name."""
    index = folder / "model.safetensors.index.json"
    files = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors = {}
    for file in files:
        with safe_open(folder / file, "pt") as handle:
            tensors.update({name: handle.get_tensor(name) for name in handle.keys()})
    return tensors


def differences(actual, expected):
    """What is not the same about two sets of tensors, each with its reason."""
    problems = [f"{name}: on one side only" for name in sorted(actual.keys() ^ expected.keys())]
    for name in sorted(actual.keys() & expected.keys()):
        ours, theirs = actual[name], expected[name]
        if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
            problems.append(f"{name}: {ours.dtype} {tuple(ours.shape)}, theirs {theirs.dtype} {tuple(theirs.shape)}")
        elif ours.contiguous().view(torch.uint8).numpy().tobytes() != theirs.contiguous().view(torch.uint8).numpy().tobytes():
            problems.append(f"{name}: other bytes")
    return problems


def serialized(weight, codebook, block_size, nested):
    """The tensors bitsandbytes saves for a weight, by what follows its name."""
    packed, state = bnb.functional.quantize_4bit(
        weight, blocksize=block_size, quant_type=codebook, compress_statistics=nested
    )
    return {"": packed, **{f".{part}": value for part, value in state.as_dict(packed=True).items()}}


def expected_tensors(folder, model):
    """What DIR should hold, by the states it holds and the original weights."""
    ours, expected = read_tensors(folder), dict(read_tensors(model))
    mark = ".quant_state.bitsandbytes__"
    for name in [name for name in ours if mark in name]:
        weight, codebook = name.split(mark)
        state = json.loads(bytes(ours[name].tolist()))
        original = expected.pop(weight)
        made = serialized(original, codebook, state["blocksize"], "nested_offset" in state)
        expected.update({weight + part: value for part, value in made.items()})
    return ours, expected


def linears_of(model):
    return [module for module in model.modules() if isinstance(module, bnb.nn.Linear4bit)]


def load(folder, dtype):
    """The folder as transformers loads it. In float32 also without the kernel that some CPUs have for bfloat16, which
    rounds weights and inputs."""
    model = AutoModelForCausalLM.from_pretrained(folder, device_map="cpu", dtype=dtype, attn_implementation="eager").eval()
    # transformers keeps the folder's dtype for what is not quantized, whatever it is told.
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(dtype)
    for linear in linears_of(model):
        linear.compute_dtype = dtype
        linear.compute_type_is_set = True
        linear.weight.quant_state.dtype = dtype
        if dtype == torch.float32:
            linear.support_avx512bf16_for_cpu = False
    return model


def nmse(model, recorded):
    with torch.no_grad():
        logits = model(input_ids=recorded["input_ids"].long(), use_cache=False).logits.double()
    expected = recorded["logits"].double()
    if not (torch.isfinite(logits).all() and torch.isfinite(expected).all()):
        raise SystemExit("logits are not finite")
    return (((logits - expected) ** 2).sum() / (expected**2).sum()).item()


def check(job):
    folder = Path(job["folder"])
    ours, expected = expected_tensors(folder, Path(job["model"]))
    same = {"tensors": len(ours), "differing": differences(ours, expected)}
    if "expected" not in job:
        return same
    recorded = load_file(job["expected"])
    native = json.loads((folder / "config.json").read_text())["quantization_config"]["bnb_4bit_compute_dtype"]
    model = load(folder, torch.float32)
    return {
        **same,
        "linears": len(linears_of(model)),
        "nmse_f32": nmse(model, recorded),
        "native": native,
        "nmse_native": nmse(load(folder, getattr(torch, native)), recorded),
    }


def compare(job):
    ours, theirs = read_tensors(Path(job["folder"])), read_tensors(Path(job["other"]))
    return {"tensors": len(ours), "differing": differences(ours, theirs)}


def make(job):
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=job["codebook"],
        bnb_4bit_use_double_quant=job["doubleQuant"],
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    model = AutoModelForCausalLM.from_pretrained(
        job["model"], quantization_config=settings, device_map="cpu", dtype="auto"
    )
    model.save_pretrained(job["folder"])
    AutoTokenizer.from_pretrained(job["model"]).save_pretrained(job["folder"])
    return {"linears": len(linears_of(model))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", type=Path)
    jobs = json.loads(parser.parse_args().jobs.read_text())
    # From 32,768 blocks on, the mean behind double quantization depends on the number of threads: one is the rule.
    torch.set_num_threads(1)
    # Libraries print banners on stdout; stdout is for the JSON alone.
    stdout, sys.stdout = sys.stdout, sys.stderr
    verbs = {"check": check, "compare": compare, "make": make}
    results = [verbs[job["verb"]](job) for job in jobs]
    sys.stdout = stdout
    print(json.dumps({"results": results}))


if __name__ == "__main__":
    main()
