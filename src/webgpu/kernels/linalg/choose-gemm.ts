import { ceilDiv } from '../../../core/dims.js';
import type { DeviceFacts } from '../../kernel-context.js';

/** A text of the matrix product with the side of its square tile of c. */
export interface GemmVariant {
  readonly shader: 'linalg/gemm-direct' | 'linalg/gemm-tile64' | 'linalg/gemm-tile128';
  readonly tile: number;
}

export const GEMM_VARIANTS: readonly GemmVariant[] = [
  { shader: 'linalg/gemm-direct', tile: 32 },
  { shader: 'linalg/gemm-tile64', tile: 64 },
  { shader: 'linalg/gemm-tile128', tile: 128 },
];

/** Tiles from which on a 128-wide tiling keeps every core of a large GPU busy (an H200 has 132). */
const TILES_TO_FILL = 128;

const [DIRECT, TILE64, TILE128] = GEMM_VARIANTS;

/**
 * Which text computes c [m, n] with k steps on this device; a pure function, so the same call always takes the same
 * one. Software adapters keep workgroup memory in plain memory and pay for barriers: measured on lavapipe at 512³,
 * direct 3.7–4.9, tiled 0.4 GFLOP/s. A thin product leaves most of a tile empty, so it goes direct as well.
 */
export function chooseGemm(m: number, n: number, k: number, facts: DeviceFacts): GemmVariant {
  const tilesFit = facts.maxWorkgroupStorageBytes >= 16384 && facts.maxInvocationsPerWorkgroup >= 256;
  if (facts.software || !tilesFit || Math.min(m, n) <= 16 || k < 16) return DIRECT;
  return ceilDiv(m, 128) * ceilDiv(n, 128) >= TILES_TO_FILL ? TILE128 : TILE64;
}
