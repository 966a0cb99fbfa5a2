import { createSimdRows } from './simd/simd-rows.js';
import type { SimdRows } from './simd/simd-rows.js';

/** What a thread that runs row kernels keeps between them. */
export class RowScratch {
  private made: { readonly simd: SimdRows | undefined } | undefined;

  /** Quantization in WebAssembly; undefined where there is no WebAssembly with SIMD. */
  simd(): SimdRows | undefined {
    this.made ??= { simd: createSimdRows() };
    return this.made.simd;
  }
}
