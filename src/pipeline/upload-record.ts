import { Bug } from '../core/errors.js';
import type { QuantizedLinear } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { uploadCodebook } from './upload-codebook.js';

/** A record of any kind as a weight on an engine; its tensors are the caller's. */
export function uploadRecord(engine: Engine, record: QuantizedLinear, label: string): LinearWeight {
  switch (record.kind) {
    case 'affine': {
      const { bits, outFeatures, inFeatures, scales } = record;
      const groups = scales.length / outFeatures;
      const zeros = Float32Array.from(record.zeros);
      return {
        kind: 'affine',
        bits,
        outFeatures,
        inFeatures,
        codes: engine.upload(record.codes, [outFeatures, (inFeatures * bits) / 32], 'u32', `${label}.codes`),
        scales: engine.upload(scales, [outFeatures, groups], 'f32', `${label}.scales`),
        zeros: engine.upload(zeros, [outFeatures, groups], 'f32', `${label}.zeros`),
        groupOf: engine.upload(record.groupOf, [inFeatures], 'u32', `${label}.g_idx`),
      };
    }
    case 'codebook':
      return uploadCodebook(engine, record, label);
    case 'affine-min':
    case 'k-quant':
      throw new Bug(`internal: ${record.kind} cannot be uploaded yet`);
    default:
      return record satisfies never;
  }
}
