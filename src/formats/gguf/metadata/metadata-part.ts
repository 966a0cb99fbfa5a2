import type { GgufMetadata, GgufValue } from '../gguf-value.js';

/** Some keys of a GGUF file in the order they are written, with what had to be said about them. */
export interface MetadataPart {
  readonly entries: readonly (readonly [string, GgufValue])[];
  /** What llama.cpp will do differently from the checkpoint, in words for the user. */
  readonly notes: readonly string[];
  /** Why the model cannot be written as GGUF: all reasons. */
  readonly problems: readonly string[];
}

/** Collects keys, notes and problems of one part. */
export class PartBuilder implements MetadataPart {
  readonly entries: (readonly [string, GgufValue])[] = [];
  readonly notes: string[] = [];
  readonly problems: string[] = [];

  /** llama.cpp's loader takes counts and ids as 32-bit numbers only, whatever ggml's document says. */
  u32(key: string, value: number): void {
    this.entries.push([key, { type: 'u32', value }]);
  }

  f32(key: string, value: number): void {
    this.entries.push([key, { type: 'f32', value: Math.fround(value) }]);
  }

  string(key: string, value: string): void {
    this.entries.push([key, { type: 'string', value }]);
  }

  bool(key: string, value: boolean): void {
    this.entries.push([key, { type: 'bool', value }]);
  }

  strings(key: string, values: readonly string[]): void {
    this.entries.push([key, { type: 'array', items: 'string', values }]);
  }

  add(key: string, value: GgufValue): void {
    this.entries.push([key, value]);
  }

  join(part: MetadataPart): void {
    this.entries.push(...part.entries);
    this.notes.push(...part.notes);
    this.problems.push(...part.problems);
  }

  metadata(): GgufMetadata {
    return new Map(this.entries);
  }
}
