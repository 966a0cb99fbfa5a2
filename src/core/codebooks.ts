import type { CodebookName } from './quantized-linear.js';

/**
 * Values of the 4-bit codebooks by code, as float32. NF4: quantiles of the normal distribution (QLoRA, appendix E);
 * FP4: sign, two bits of exponent, one of mantissa, over {0, 0.0625, 8, 12, 4, 6, 2, 3}/12.
 * Source: bitsandbytes/functional.py, get_4bit_type.
 */
export const CODEBOOKS: Readonly<Record<CodebookName, Float32Array>> = {
  nf4: Float32Array.of(
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
  ),
  fp4: Float32Array.of(
    0,
    0.0052083334885537624,
    0.6666666865348816,
    1.0,
    0.3333333432674408,
    0.5,
    0.1666666716337204,
    0.25,
    0,
    -0.0052083334885537624,
    -0.6666666865348816,
    -1.0,
    -0.3333333432674408,
    -0.5,
    -0.1666666716337204,
    -0.25,
  ),
};
