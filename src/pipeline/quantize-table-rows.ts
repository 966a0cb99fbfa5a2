import type { DType } from '../core/dtype.js';
import { DTYPE_BYTES } from '../core/dtype.js';
import { castElements } from '../core/cast-elements.js';
import { Bug } from '../core/errors.js';
import type { QuantizedLinear } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import type { DenseDType } from '../engine/tensor.js';
import type { DenseRows, QuantizeRows } from '../export/output-format.js';
import { freeLinearWeight } from '../model/index.js';
import { quantizeLinear, readQuantizedLinear } from '../quant/index.js';
import type { PanelGrid } from './panel-quantizer.js';
import { beginRecord, panelGrid, PanelQuantizer } from './panel-quantizer.js';

async function quantizePanel(
  engine: Engine,
  { bytes, dtype, cols }: DenseRows,
  grid: PanelGrid,
): Promise<QuantizedLinear> {
  const rows = bytes.byteLength / DTYPE_BYTES[dtype] / cols;
  const progress = beginRecord({ outFeatures: rows, inFeatures: cols }, grid);
  const quantizer = new PanelQuantizer(engine, { staging: false });
  try {
    await quantizer.quantize({ tensor: 'table rows', bytes, dtype, firstRow: 0, rows, cols }, progress);
    return progress.record;
  } finally {
    quantizer.dispose();
  }
}

const ENGINE_DTYPES: Readonly<Partial<Record<DType, DenseDType>>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** Round-to-nearest of table rows on the run's engine, for formats whose embeddings and heads are quantized as well. */
export function createQuantizeRows(engine: Engine): QuantizeRows {
  return async ({ bytes, dtype, cols }, grid) => {
    const inOnePass = panelGrid(grid, cols);
    if (inOnePass !== undefined) return quantizePanel(engine, { bytes, dtype, cols }, inOnePass);
    const known = ENGINE_DTYPES[dtype];
    if (known === undefined && dtype !== 'F64') throw new Bug(`internal: a table of dtype ${dtype}`);
    const data = known === undefined ? castElements(bytes, 'F64', 'F32') : bytes;
    const width = (known ?? 'f32') === 'f32' ? 4 : 2;
    const outFeatures = data.byteLength / width / cols;
    const tensor = engine.upload(data, [outFeatures, cols], known ?? 'f32', 'table rows');
    try {
      const result = await quantizeLinear(engine, {
        name: 'table rows',
        weight: { kind: 'dense', tensor },
        outFeatures,
        inFeatures: cols,
        spec: {
          ...grid,
          method: 'rtn',
          order: 'natural',
          staticGroups: false,
          damp: 0,
          range: 'minmax',
          refine: 0,
          minZero: 0,
        },
      });
      try {
        return await readQuantizedLinear(engine, result.weight, grid);
      } finally {
        freeLinearWeight(engine, result.weight);
      }
    } finally {
      engine.free(tensor);
    }
  };
}
