"""Checks halfbyte's safetensors reader and writer against the Python library, in both directions.

`write FILE` makes a file with every dtype that halfbyte reads, a scalar and an empty tensor, and
beside it `FILE.json`: name -> {dtype, shape, sha256 of the tensor's bytes, file offsets}. The values
are seeded; floating types carry infinities, NaN, subnormals and signed zeros.

`verify PATH EXPECTED.json` opens a file, or a folder with a `model.safetensors.index.json`, written by
halfbyte and compares names, dtypes, shapes and hashes with EXPECTED (the same JSON form), listing every
difference. It reads with the safetensors library and, for dtypes that it hands over differently, takes
the raw bytes at the offsets which the library's own validation has accepted.

    python safetensors_check.py write /tmp/all-dtypes.safetensors
    python safetensors_check.py verify OUT_DIR expected.json
"""

import argparse
import hashlib
import json
import struct
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "I8": torch.int8, "I16": torch.int16,
    "I32": torch.int32, "I64": torch.int64, "U8": torch.uint8, "BOOL": torch.bool,
}
SHAPE = (3, 5, 7)


def sample(name, generator):
    """A tensor [3, 5, 7] of random bytes read as the dtype, so that every kind of value occurs."""
    dtype = DTYPES[name]
    if name == "BOOL":
        return torch.randint(0, 2, SHAPE, generator=generator).bool()
    raw = torch.randint(0, 256, (*SHAPE[:-1], SHAPE[-1] * dtype.itemsize), generator=generator, dtype=torch.uint8)
    return raw.view(dtype)


def read_header(path):
    """The header's JSON object and the offset of the data section, in bytes."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size)), 8 + size


def describe(path):
    """name -> {dtype, shape, sha256, begin, end} of one file; offsets are bytes from the file's start."""
    with safe_open(path, "pt") as handle:
        names = set(handle.keys())
    header, base = read_header(path)
    header.pop("__metadata__", None)
    if names != set(header):
        raise ValueError(f"{path}: the library lists {sorted(names)}, the header {sorted(header)}")
    rows = {}
    with open(path, "rb") as file:
        for name, entry in header.items():
            begin, end = (base + offset for offset in entry["data_offsets"])
            file.seek(begin)
            digest = hashlib.sha256(file.read(end - begin)).hexdigest()
            rows[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "sha256": digest, "begin": begin, "end": end}
    return rows


def write(path):
    """Writes the all-dtypes file and its description."""
    generator = torch.Generator().manual_seed(99)
    tensors = {f"tensor.{name.lower()}": sample(name, generator) for name in DTYPES}
    tensors["special.f32"] = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45])
    tensors["special.f16"] = torch.tensor([0.0, -0.0, 65504.0, float("inf"), 6e-8, 1.0]).half()
    tensors["special.bf16"] = torch.tensor([0.0, -0.0, 3.4e38, float("-inf"), 1e-40, 1.0]).bfloat16()
    tensors["special.i64"] = torch.tensor([-(2**63), 2**63 - 1, 2**53 + 1, -1])
    tensors["scalar"] = torch.tensor(2.5)
    tensors["empty"] = torch.zeros(0, 4)
    tensors["name with spaces and \u00fcml\u00e4uts"] = torch.arange(5, dtype=torch.int32)
    save_file(tensors, path, metadata={"format": "pt", "note": "quotes \" and \\ backslashes"})
    Path(f"{path}.json").write_text(json.dumps(describe(path), indent=1) + "\n")
    return {"written": str(path), "tensors": len(tensors)}


def shards_of(path):
    """The safetensors files of a path, checking a folder's index against what the shards hold."""
    path = Path(path)
    if path.is_file():
        return [path], []
    index_path = path / "model.safetensors.index.json"
    if not index_path.exists():
        return [path / "model.safetensors"], []
    index = json.loads(index_path.read_text())
    problems, sizes = [], 0
    files = [path / name for name in sorted(set(index["weight_map"].values()))]
    found = {}
    for file in files:
        for name, row in describe(file).items():
            if name in found:
                problems.append(f"{name}: in {found[name]} and in {file.name}")
            found[name] = file.name
            sizes += row["end"] - row["begin"]
    if found != index["weight_map"]:
        wrong = {n for n in found.keys() | index["weight_map"].keys() if found.get(n) != index["weight_map"].get(n)}
        problems.append(f"index and shards disagree on {sorted(wrong)}")
    total = index.get("metadata", {}).get("total_size")
    if total != sizes:
        problems.append(f"index total_size {total}, shards hold {sizes} bytes")
    return files, problems


def verify(path, expected_path):
    """Compares what a path holds with the expected description; returns a report."""
    files, problems = shards_of(path)
    expected, actual = json.loads(Path(expected_path).read_text()), {}
    for file in files:
        actual.update(describe(file))
        with safe_open(file, "pt") as handle:
            for name in handle.keys():
                shape = list(handle.get_tensor(name).shape)
                if shape != actual[name]["shape"]:
                    problems.append(f"{name}: the library reads shape {shape}, the header says {actual[name]['shape']}")
    problems += [f"{name}: missing" for name in sorted(expected.keys() - actual.keys())]
    problems += [f"{name}: unexpected" for name in sorted(actual.keys() - expected.keys())]
    for name in sorted(expected.keys() & actual.keys()):
        for key in ("dtype", "shape", "sha256"):
            if expected[name][key] != actual[name][key]:
                problems.append(f"{name}: {key} is {actual[name][key]}, expected {expected[name][key]}")
    return {"ok": not problems, "files": len(files), "tensors": len(actual), "problems": problems}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("write").add_argument("file")
    checker = verbs.add_parser("verify")
    checker.add_argument("path")
    checker.add_argument("expected")
    options = parser.parse_args()
    report = write(options.file) if options.verb == "write" else verify(options.path, options.expected)
    print(json.dumps(report))
    sys.exit(0 if report.get("ok", True) else 1)


if __name__ == "__main__":
    main()
