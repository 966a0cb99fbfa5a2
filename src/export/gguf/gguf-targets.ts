/**
 * Which block type a tensor gets in each GGUF format, as llama.cpp's llama-quantize mixes them (src/llama-quant.cpp): one
 * main type; another where rows are not whole super-blocks; the head, or the embedding that serves as one, in more bits.
 */
import type { GridSpec } from '../../core/quantized-linear.js';
import { SUPER_BLOCK } from '../../core/quantized-linear.js';
import { SIMPLE_BLOCK } from '../../formats/gguf/blocks/simple-blocks.js';
import type { FormatName } from '../output-format.js';

export type GgufFormatName = Extract<FormatName, `gguf-${string}`>;

/** Types that this writer quantizes into. */
export type MainType = 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q8_0' | 'Q4_K' | 'Q6_K';

interface GgufTarget {
  readonly main: MainType | 'F16';
  /** general.file_type (llama_ftype). */
  readonly fileType: number;
}

export const GGUF_TARGETS: Readonly<Record<GgufFormatName, GgufTarget>> = {
  'gguf-f16': { main: 'F16', fileType: 1 },
  'gguf-q4_0': { main: 'Q4_0', fileType: 2 },
  'gguf-q4_1': { main: 'Q4_1', fileType: 3 },
  'gguf-q8_0': { main: 'Q8_0', fileType: 7 },
  'gguf-q5_0': { main: 'Q5_0', fileType: 8 },
  'gguf-q4_k': { main: 'Q4_K', fileType: 14 },
  'gguf-q6_k': { main: 'Q6_K', fileType: 18 },
};

/** Q4_K_M: Q4_K with some linears in Q6_K. */
export const FILE_TYPE_Q4_K_M = 15;

/** The grid on which codes for a type are made. */
export const GRID_OF_TYPE: Readonly<Record<MainType, GridSpec>> = {
  Q4_0: { rule: 'signed', bits: 4, groupSize: 32 },
  Q4_1: { rule: 'min', bits: 4, groupSize: 32 },
  Q5_0: { rule: 'signed', bits: 5, groupSize: 32 },
  Q8_0: { rule: 'signed', bits: 8, groupSize: 32 },
  Q4_K: { rule: 'q4_k', bits: 4, groupSize: 32 },
  Q6_K: { rule: 'q6_k', bits: 6, groupSize: 16 },
};

/** The type of linears with rows of K columns, before looking whether K is whole blocks of 32. */
export function linearType(name: GgufFormatName, inFeatures: number): MainType | 'F16' {
  const { main } = GGUF_TARGETS[name];
  if (inFeatures % SUPER_BLOCK === 0) return main;
  return main === 'Q4_K' ? 'Q5_0' : main === 'Q6_K' ? 'Q8_0' : main;
}

/** Types in which single linears of a format may lie too: Q4_K files hold some in Q6_K, or what stands for it. */
export function mayHold(name: GgufFormatName, type: string, inFeatures: number): boolean {
  if (type === linearType(name, inFeatures)) return true;
  return name === 'gguf-q4_k' && type === (inFeatures % SUPER_BLOCK === 0 ? 'Q6_K' : 'Q8_0');
}

export interface TableFacts {
  /** Columns. */
  readonly cols: number;
  /** It multiplies the last hidden states: the head, or an embedding that serves as one. */
  readonly isHead: boolean;
}

/** The type of an embedding or head that arrives as plain numbers. */
export function tableType(name: GgufFormatName, { cols, isHead }: TableFacts): MainType | 'F16' {
  const { main } = GGUF_TARGETS[name];
  if (main === 'F16' || cols % SIMPLE_BLOCK !== 0) return 'F16';
  if (!isHead || main === 'Q8_0') return linearType(name, cols);
  return cols % SUPER_BLOCK === 0 ? 'Q6_K' : 'Q8_0';
}
