import type { EngineInfo } from '../engine/engine.js';
import type { Grid, QuantizedLinear } from '../core/quantized-linear.js';
import { K_QUANTS } from '../core/quantized-linear.js';
import { gridOf } from '../core/describe-grid.js';
import type { QuantStats } from '../quant/records.js';

/** One quantized linear. Keys up to `groups` are a contract with scripts; figures that do not exist are null. */
export interface LayerRecord {
  /** Module path, such as "model.layers.0.self_attn.q_proj". */
  readonly name: string;
  /** What was done, after any fallback. */
  readonly method: string;
  /** tr((W−Q) H (W−Q)ᵀ) with H = (2/n) XᵀX. */
  readonly loss: number | null;
  readonly rtnLoss: number | null;
  /** ‖X(W−Q)ᵀ‖² / ‖XWᵀ‖². */
  readonly relativeOutputError: number | null;
  /** Damping used, as a share of the mean diagonal of H. */
  readonly damp: number | null;
  /** Refinement sweeps that ran. */
  readonly refined: number;
  /** Groups along K. */
  readonly groups: number;
  readonly bits: number;
  /** Where the codes lie. */
  readonly grid: Grid;
  /** Rungs of the damping ladder tried, the one used last. */
  readonly dampTried: readonly number[];
  /** Value the diagonal was floored to when even damping 1 failed. */
  readonly diagonalFloor: number | null;
  /** Input columns that never fired; their weights became zero. */
  readonly deadColumns: number;
}

/** A linear left as it was, and why. */
export interface SkippedRecord {
  readonly name: string;
  readonly reason: string;
}

/** One format that was written. */
export interface OutputRecord {
  readonly format: string;
  /** Its folder. */
  readonly out: string;
  /** Bytes of its weight files. */
  readonly bytes: number;
  /** Stored bits (codes, scales, zeros, group index; skipped ones as they are) per weight of the planned linears. */
  readonly bitsPerWeight: number;
  /** What a loader will not read or does differently, and what rounding cost beyond the codes. */
  readonly notes: readonly string[];
}

/** What `quantize --json` prints. Keys up to `adapter` are a contract with scripts. */
export interface QuantizeReport {
  /** The folder that appeared. */
  readonly out: string;
  readonly method: string;
  /** Of the first output. */
  readonly bitsPerWeight: number;
  /** Bytes of all weight files of all outputs. */
  readonly bytes: number;
  /** One per format. */
  readonly outputs: readonly OutputRecord[];
  readonly seconds: number;
  readonly layers: readonly LayerRecord[];
  readonly skipped: readonly SkippedRecord[];
  /** Most bytes in live engine tensors at one moment. */
  readonly peakGpuBytes: number;
  /** Most host memory of the process; null where the platform does not tell. */
  readonly peakRssBytes: number | null;
  readonly adapter: string;
  readonly engine: EngineInfo;
  /** Wall-clock seconds by stage. */
  readonly stages: Readonly<Record<string, number>>;
}

export interface LayerRecordInput {
  readonly name: string;
  readonly method: string;
  readonly linear: QuantizedLinear;
  readonly stats: QuantStats;
}

export function makeLayerRecord({ name, method, linear, stats }: LayerRecordInput): LayerRecord {
  const grid = gridOf(linear);
  return {
    name,
    method,
    loss: stats.loss ?? null,
    rtnLoss: stats.rtnLoss ?? null,
    relativeOutputError: stats.relativeOutputError ?? null,
    damp: stats.damp ?? null,
    refined: stats.refined,
    groups: stats.groups,
    bits: bitsOf(linear),
    grid,
    dampTried: stats.dampTried ?? [],
    diagonalFloor: stats.diagonalFloor ?? null,
    deadColumns: stats.deadColumns ?? 0,
  };
}

function bitsOf(linear: QuantizedLinear): number {
  if (linear.kind === 'codebook') return 4;
  return linear.kind === 'k-quant' ? K_QUANTS[linear.type].bits : linear.bits;
}
