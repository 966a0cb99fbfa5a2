import { ceilDiv } from '../../../core/dims.js';
import type { QuantOps } from '../../../engine/quant.js';
import type { KernelContext } from '../../kernel-context.js';
import { checksFor } from '../view-checks.js';

/** shaders/quant/pack-codes.wgsl, one lane a packed word. */
export function createPackCodes(context: KernelContext): Pick<QuantOps, 'packCodes'> {
  const checks = checksFor('packCodes');
  return {
    packCodes: ({ codes, positionOf, bits, packed }) => {
      const [rows, cols] = codes.shape;
      const words = (cols * bits) / 32;
      checks.that(Number.isInteger(words), `${cols} columns of ${bits} bits do not fill whole words`);
      checks.shape('codes', codes, [rows, cols], 'u8');
      checks.shape('positionOf', positionOf, [cols], 'u32');
      checks.shape('packed', packed, [rows, words], 'u32');
      context.dispatch({
        shader: 'quant/pack-codes',
        params: { rows, cols, bits },
        tensors: [codes, positionOf, packed],
        workgroups: ceilDiv(rows * words, 256),
      });
    },
  };
}
