import type { EngineInfo } from '../engine/engine.js';
import type { Bits } from '../engine/quant.js';
import type { QuantStats } from '../quant/records.js';

/** One quantized linear. Keys up to `groups` are a contract with scripts; figures that do not exist are null. */
export interface LayerRecord {
  /** Module path, such as "model.layers.0.self_attn.q_proj". */
  readonly name: string;
  /** "gptq", or "rtn" where no calibration entered. */
  readonly method: 'gptq' | 'rtn';
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
  readonly bits: Bits;
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

/** What `quantize --json` prints. Keys up to `adapter` are a contract with scripts. */
export interface QuantizeReport {
  /** The folder that appeared. */
  readonly out: string;
  readonly method: 'gptq' | 'rtn';
  /** Stored bits (codes, scales, zeros, group index; skipped ones as they are) per weight of the planned linears. */
  readonly bitsPerWeight: number;
  /** Bytes of all weight files. */
  readonly bytes: number;
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
  readonly method: 'gptq' | 'rtn';
  readonly bits: Bits;
  readonly stats: QuantStats;
}

export function makeLayerRecord({ name, method, bits, stats }: LayerRecordInput): LayerRecord {
  return {
    name,
    method,
    loss: stats.loss ?? null,
    rtnLoss: stats.rtnLoss ?? null,
    relativeOutputError: stats.relativeOutputError ?? null,
    damp: stats.damp ?? null,
    refined: stats.refined,
    groups: stats.groups,
    bits,
    dampTried: stats.dampTried ?? [],
    diagonalFloor: stats.diagonalFloor ?? null,
    deadColumns: stats.deadColumns ?? 0,
  };
}
