import type { QuantizedLinear } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';
import { uploadQuantized } from '../quant/index.js';
import { uploadCodebook } from './upload-codebook.js';

/** A record of any kind as a weight on an engine; its tensors are the caller's. */
export function uploadRecord(engine: Engine, record: QuantizedLinear, label: string): LinearWeight {
  if (record.kind === 'codebook') return uploadCodebook(engine, record, label);
  return uploadQuantized(engine, record, label);
}
