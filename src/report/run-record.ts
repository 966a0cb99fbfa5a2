import type { EngineInfo } from '../engine/engine.js';
import type { LayerRecord, SkippedRecord } from './quantize-report.js';

/** Raised when a key changes its meaning or goes away; new keys do not raise it. */
export const RUN_RECORD_SCHEMA_VERSION = 1;

/** Where the weights came from: a Hub revision, or the hashes of local files. */
export interface SourceRecord {
  /** Hub id, or the folder's name for local models. */
  readonly model: string;
  /** Commit on the Hub; null for local folders. */
  readonly revision: string | null;
  /** SHA-256 of config.json, index and weight files by name; empty where the revision already pins them. */
  readonly sha256: Readonly<Record<string, string>>;
}

export interface CalibrationRecord {
  readonly text: string;
  readonly sha256: string;
  readonly samples: number;
  readonly seqLen: number;
  readonly tokens: number;
  readonly shuffle: boolean;
}

/**
 * halfbyte.json: everything needed to tell how a folder was made and to make it again. Deliberately without clock
 * times and machine paths, so that the same run twice gives the same bytes.
 */
export interface RunRecord {
  readonly schemaVersion: typeof RUN_RECORD_SCHEMA_VERSION;
  readonly tool: { readonly name: 'halfbyte'; readonly version: string };
  readonly command: string;
  /** Format of this folder. */
  readonly format: string;
  /** What a loader will not read or does differently. */
  readonly notes: readonly string[];
  readonly source: SourceRecord;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly calibration: CalibrationRecord | null;
  /** Null where nothing was computed: a conversion that only packs codes anew. */
  readonly engine: EngineRecord | null;
  readonly bitsPerWeight: number;
  readonly layers: readonly LayerRecord[];
  readonly skipped: readonly SkippedRecord[];
  /** SHA-256 of every file of the folder but this one. */
  readonly files: Readonly<Record<string, string>>;
}

export interface EngineRecord {
  readonly engine: string;
  readonly adapter: string;
  readonly precision: string;
  readonly matrixLibrary: string | null;
  readonly features: readonly string[];
}

export function engineRecord(info: EngineInfo): EngineRecord {
  const { engine, adapter, precision, matrixLibrary, features } = info;
  return { engine, adapter, precision, matrixLibrary: matrixLibrary ?? null, features };
}

/** The record as JSON text; NaN or infinity in a figure would silently become null, so it is refused. */
export function runRecordText(record: RunRecord): string {
  const strict = (key: string, value: unknown): unknown => {
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new RangeError(`halfbyte.json: ${key} is ${value}`);
    return value;
  };
  return `${JSON.stringify(record, strict, 2)}\n`;
}
