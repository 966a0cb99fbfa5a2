import { createCpuEngine } from '../../src/cpu/engine.js';
import type { LibraryProduct, MatrixLibrary } from '../../src/cpu/matrix-library.js';
import type { Engine } from '../../src/engine/engine.js';
import { loadOrtMatrixLibrary } from '../../src/platform/node/cpu/ort-matrix-library.js';

export interface CpuCase {
  readonly name: string;
  readonly precision: 'f32' | 'f64';
  /** Relative rounding error of one stored number. */
  readonly unit: number;
  readonly make: () => Promise<Engine>;
}

/** Multiplies in plain float64 loops behind a promise, whatever the size: every product takes the library's path. */
export function slowLibrary(options: { readonly fail?: boolean } = {}): MatrixLibrary {
  return {
    name: 'loops behind a promise',
    minMultiplyAdds: 0,
    async multiply(product) {
      await new Promise((resolve) => setImmediate(resolve));
      if (options.fail === true) throw new Error('the library broke');
      multiplyInLoops(product);
    },
    dispose: () => Promise.resolve(),
  };
}

function multiplyInLoops({ a, b, c, m, k, n, transA, transB }: LibraryProduct): void {
  if (a.length !== m * k || b.length !== k * n || c.length !== m * n)
    throw new Error(`operands of ${a.length}, ${b.length}, ${c.length} elements for ${m}·${k}·${n}`);
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let p = 0; p < k; p++)
        sum += a[transA ? p * m + i : i * k + p] * b[transB ? j * k + p : p * n + j];
      c[i * n + j] = sum;
    }
}

/** The engine in every make-up that this machine offers. */
export const CPU_CASES: readonly CpuCase[] = [
  {
    name: 'float64',
    precision: 'f64',
    unit: 2 ** -53,
    make: () => Promise.resolve(createCpuEngine({ precision: 'f64' })),
  },
  {
    name: 'float32 plain',
    precision: 'f32',
    unit: 2 ** -24,
    make: () => Promise.resolve(createCpuEngine({ precision: 'f32' })),
  },
  {
    name: 'float32 library path',
    precision: 'f32',
    unit: 2 ** -24,
    make: () => Promise.resolve(createCpuEngine({ precision: 'f32', matrixLibrary: slowLibrary() })),
  },
  {
    name: 'float32 onnxruntime',
    precision: 'f32',
    unit: 2 ** -24,
    make: async () => {
      const library = await loadOrtMatrixLibrary({ threads: 1 });
      if (library === undefined) return createCpuEngine({ precision: 'f32' });
      // Small test sizes would stay in loops otherwise.
      const always: MatrixLibrary = {
        name: library.name,
        minMultiplyAdds: 0,
        multiply: (product) => library.multiply(product),
        dispose: () => library.dispose(),
      };
      return createCpuEngine({ precision: 'f32', matrixLibrary: always });
    },
  },
];
