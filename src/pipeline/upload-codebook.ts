import { CODEBOOKS } from '../core/codebooks.js';
import type { CodebookLinear } from '../core/quantized-linear.js';
import type { Engine } from '../engine/engine.js';
import type { LinearWeight } from '../engine/nn.js';

/** A codebook record as a weight on an engine, 4 bits a weight there too; its tensors are the caller's. */
export function uploadCodebook(engine: Engine, record: CodebookLinear, label: string): LinearWeight {
  const { outFeatures, inFeatures, blockSize, codes, absmax, codebook } = record;
  return {
    kind: 'codebook',
    outFeatures,
    inFeatures,
    blockSize,
    codes: engine.upload(codes, [codes.length], 'u8', `${label}.codes`),
    absmax: engine.upload(absmax, [absmax.length], 'f32', `${label}.absmax`),
    table: engine.upload(CODEBOOKS[codebook], [16], 'f32', `${label}.table`),
  };
}
