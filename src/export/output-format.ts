/**
 * What a file format is to a run: it judges grids, then writes one model. A run quantizes once and hands every tensor, in
 * one canonical order, to the writer of each format asked for; so codes are computed once whatever is written.
 */
import type { DType } from '../core/dtype.js';
import type { Bits, Grid, GridSpec, QuantizedLinear } from '../core/quantized-linear.js';
import type { ByteSource } from '../io/byte-source.js';
import type { JsonObject } from '../io/json.js';
import type { OutputFolder } from '../io/output-folder.js';
import type { ModelConfig } from '../model/types.js';

export const FORMAT_NAMES = [
  'gptq',
  'gptq_v2',
  'bitsandbytes',
  'awq',
  'compressed-tensors',
  'gguf-f16',
  'gguf-q8_0',
  'gguf-q4_0',
  'gguf-q4_1',
  'gguf-q5_0',
  'gguf-q4_k',
  'gguf-q6_k',
  'onnx-q4',
  'onnx-q4f16',
  'mlx',
  'hf',
] as const;

export type FormatName = (typeof FORMAT_NAMES)[number];

export interface LinearShape {
  /** Module path, where the judgement may depend on it: embeddings and heads. */
  readonly name?: string;
  /** N. */
  readonly outFeatures: number;
  /** K. */
  readonly inFeatures: number;
}

/** A linear that will be written quantized. */
export interface PlannedLinear extends LinearShape {
  /** Module path, such as "model.layers.0.self_attn.q_proj". */
  readonly name: string;
  readonly grid: Grid;
  /** Dtype of the original weight. */
  readonly sourceDType: DType;
}

/** A tensor handed over as plain numbers: norms, biases, embeddings, linears left alone. */
export interface PlannedDense {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** The parts of a model in the order in which every writer receives them. */
export type ModelItem =
  | { readonly kind: 'dense'; readonly tensor: PlannedDense }
  | { readonly kind: 'linear'; readonly linear: PlannedLinear };

/** Rows of a dense matrix, as bytes of their dtype. */
export interface DenseRows {
  readonly bytes: Uint8Array;
  readonly dtype: DType;
  /** Columns. */
  readonly cols: number;
}

/** Quantizes rows round-to-nearest on the run's engine: for tables (embeddings, heads) that a format wants quantized. */
export type QuantizeRows = (rows: DenseRows, grid: GridSpec) => Promise<QuantizedLinear>;

/** Everything a format may need to know before the first weight. */
export interface ModelToWrite {
  readonly config: ModelConfig;
  /** config.json as parsed and as text; without any quantization_config of its own. */
  readonly configJson: JsonObject;
  readonly configText: string;
  readonly items: readonly ModelItem[];
  /** Module paths of linears of decoder layers that stay dense although others are quantized. */
  readonly skipped: readonly string[];
  /** Tokenizer, generation config and so on, by name. */
  readonly sideFiles: ReadonlyMap<string, ByteSource>;
  /** Model name for metadata, such as "owner/name". */
  readonly name: string;
  /** How the codes were made, flat: method, bits, groupSize, damp … */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly toolVersion: string;
  readonly maxShardBytes?: number | undefined;
  readonly quantizeRows: QuantizeRows;
  readonly signal?: AbortSignal | undefined;
}

/** The linears that will be written quantized, in order. */
export function plannedLinears({ items }: Pick<ModelToWrite, 'items'>): PlannedLinear[] {
  return items.flatMap((item) => (item.kind === 'linear' ? [item.linear] : []));
}

/** Receives one dense tensor front to back, in chunks that are whole elements. */
export interface DenseSink {
  append(bytes: Uint8Array): Promise<void>;
  end(): Promise<void>;
}

/** Writes one model in one format. Called in the order of `items`, every item once. */
export interface ModelWriter {
  /** Size of all files that will be written, as far as it is known beforehand. */
  readonly expectedBytes: number;
  /** Stored bits per weight over quantized and skipped linears of the decoder layers (and the head where quantized). */
  readonly bitsPerWeight: number;
  /**
   * What a loader of this output will not read or does differently; for notices, the model card and the report. Writing may
   * add to it, so whoever records it reads it after `finish`.
   */
  readonly notes: readonly string[];
  dense(name: string): Promise<DenseSink>;
  linear(name: string, linear: QuantizedLinear): Promise<void>;
  /** After the last item: closes the weight files, writes config and index. */
  finish(): Promise<void>;
  /** After a failure: lets go of open files; harmless otherwise. */
  abort(): Promise<void>;
}

export interface ModelCardFacts {
  /** Tags of the Hub, such as "gptq". */
  readonly tags: readonly string[];
  readonly libraryName: string;
  /** Markdown under "## Loading". */
  readonly loading: string;
}

export interface OutputFormat {
  readonly name: FormatName;
  /**
   * Why this format cannot hold such a linear exactly, with what it can hold: every reason, or an empty list. Also called
   * before any weight is read, with the grid that the settings will make.
   */
  problems(grid: Grid, shape: LinearShape): string[];
  /** Holds a model without any quantized linear. */
  readonly holdsPlain?: boolean;
  /** What people of this format use where nothing is said; else 4 bits, groups of 128, symmetric. */
  readonly usualGrid?: { readonly bits?: Bits; readonly groupSize?: number; readonly symmetric?: boolean };
  /** Takes embedding tables and tied heads as quantized linears under their module paths. */
  readonly holdsTables?: boolean;
  /** The grid on which codes for this format are made best, where the format dictates one (GGUF block types). */
  nativeGrid?(shape: LinearShape): GridSpec;
  /** UserError listing all reasons why this model cannot be written at all. Reads side files where needed, no weights. */
  plan(model: ModelToWrite): Promise<PlannedWriter>;
  readonly card: ModelCardFacts;
}

/** A writer that knows its sizes but has no folder yet. */
export interface PlannedWriter extends Pick<ModelWriter, 'expectedBytes' | 'bitsPerWeight' | 'notes'> {
  open(folder: OutputFolder): Promise<ModelWriter>;
}
