"""bitsandbytes on the processor: every linear of a checkpoint to NF4 with double quantization, read and written as files.

    bnb_quantize.py MODEL_FOLDER OUT.safetensors --threads N

Prints JSON: seconds of everything, and of quantize_4bit alone.
"""

import argparse
import json
import time

import bitsandbytes.functional as F
import torch
from safetensors import safe_open
from safetensors.torch import save_file


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("out")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    F.quantize_4bit(torch.randn(256, 256, dtype=torch.bfloat16), blocksize=64, quant_type="nf4")
    began = time.perf_counter()
    quantizing = 0.0
    weights = 0
    tensors = {}
    with safe_open(f"{args.model}/model.safetensors", "pt") as checkpoint:
        for name in checkpoint.keys():
            tensor = checkpoint.get_tensor(name)
            if tensor.dim() != 2 or ".layers." not in name:
                tensors[name] = tensor
                continue
            start = time.perf_counter()
            codes, state = F.quantize_4bit(tensor, blocksize=64, quant_type="nf4", compress_statistics=True)
            quantizing += time.perf_counter() - start
            weights += tensor.numel()
            tensors[name] = codes
            for key, value in state.as_dict(packed=True).items():
                tensors[f"{name}.{key}"] = value
    save_file(tensors, args.out)
    print(json.dumps({"seconds": time.perf_counter() - began, "quantizing": quantizing, "weights": weights}))


main()
