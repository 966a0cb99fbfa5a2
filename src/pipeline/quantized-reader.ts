import type { Grid, QuantizedLinear } from '../core/quantized-linear.js';
import type { Checkpoint } from '../formats/safetensors/checkpoint.js';
import type { JsonObject } from '../io/json.js';

/** Reads the quantized modules of a checkpoint, whatever its format. */
export interface QuantizedReader {
  /** As inspect and errors call it: "gptq_v2", "bitsandbytes", "gguf" … */
  readonly format: string;
  /** What all quantized linears have in common, for inspect; null where they differ. */
  readonly bits: number | null;
  readonly groupSize: number | null;
  readonly symmetric: boolean | null;
  /** Module paths stored quantized. */
  readonly modules: ReadonlySet<string>;
  /** Names of checkpoint tensors that belong to quantized modules: neither weights of their own nor to be copied. */
  readonly packing: ReadonlySet<string>;
  /** [N, K] of a quantized module, from headers alone. */
  shape(module: string): readonly [number, number];
  /** Stored bits per weight of one module, from headers alone. */
  storedBits(module: string): number;
  /** The grid as far as headers tell, or undefined: then only the record does. */
  grid?(module: string): Grid | undefined;
  /**
   * One module's codes. FormatError naming file, tensor and offset for whatever does not fit together; values (scales not
   * finite, group indices out of range, zero points beyond the codes) are checked too. Host memory: the packed tensors, twice.
   */
  read(module: string, signal?: AbortSignal): Promise<QuantizedLinear>;
}

/** A model in a container of its own (GGUF, ONNX) seen as a Hugging Face checkpoint. */
export interface ForeignModel {
  /** The model's name where the container knows it, to be kept by what is written from it. */
  readonly name?: string | undefined;
  /** config.json as it would stand beside a Hugging Face checkpoint. */
  readonly configJson: JsonObject;
  /** The same as text, where the container has one: keeps 10000.0 from becoming 10000. */
  readonly configText?: string | undefined;
  /** Dense tensors under their Hugging Face names and in Hugging Face layout. */
  readonly checkpoint: Checkpoint;
  readonly quantized: QuantizedReader | undefined;
  /** tokenizer.json and tokenizer_config.json where the container carries a tokenizer and the folder has no such file. */
  readonly tokenizer?: { readonly tokenizer: JsonObject; readonly config?: JsonObject } | undefined;
  /** generation_config.json where the container says how to sample. */
  readonly generation?: JsonObject | undefined;
}
