import type { Triangle } from '../../../engine/linalg.js';

/** Params of kernels that can write one triangle only (shaders/common/triangle.wgsl). */
export function triangleParams(triangle: Triangle | undefined): {
  readonly triangle: number;
  readonly row_offset: number;
} {
  if (triangle === undefined) return { triangle: 0, row_offset: 0 };
  return { triangle: triangle.part === 'upper' ? 1 : 2, row_offset: triangle.rowOffset };
}
