import { UserError } from '../../core/errors.js';
import type { DType } from '../../core/dtype.js';
import { viewBytes } from '../../io/byte-views.js';

export interface CastValues {
  readonly name: string;
  readonly dtype: DType;
  readonly bytes: Uint8Array;
  /** Index of the first of them inside the tensor. */
  readonly firstElement: number;
}

/** Counts what a dtype with more range loses in float16. */
export interface HalfCheck {
  /** Looks at values that became `halves`. UserError where one became infinite. */
  look(from: CastValues, halves: Uint8Array): void;
  /** One line for the user, or none. */
  note(): string | undefined;
}

/** bfloat16 below 2⁻¹⁷ has digits beyond float16's smallest step of 2⁻²⁴. */
const TINY_BF16 = (127 - 17) << 7;

export function createHalfCheck(): HalfCheck {
  let seen = 0;
  let rounded = 0;
  return {
    look: ({ name, dtype, bytes, firstElement }, halves) => {
      const values = viewBytes(halves, Uint16Array);
      const infinite = values.findIndex((half) => (half & 0x7fff) === 0x7c00);
      if (infinite >= 0)
        throw new UserError(
          `tensor "${name}": value ${firstElement + infinite} is beyond float16's largest, 65504`,
          {
            advice: 'write a format that keeps bfloat16, such as hf',
          },
        );
      if (dtype !== 'BF16') return;
      seen += values.length;
      for (const bits of viewBytes(bytes, Uint16Array)) {
        const magnitude = bits & 0x7fff;
        if (magnitude !== 0 && magnitude < TINY_BF16) rounded += 1;
      }
    },
    note: () =>
      rounded === 0
        ? undefined
        : `${rounded} of ${seen} bfloat16 weights lie below 8e-6 and were rounded to float16 (by 3e-8 at most)`,
  };
}
