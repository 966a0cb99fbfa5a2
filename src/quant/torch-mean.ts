/**
 * PyTorch's mean of float32 numbers on a processor, bit for bit: its cascade sum (ATen SumKernel.cpp) with 8 lanes and 4
 * accumulators each, then one division. That is what one thread computes on x86-64, with AVX2 and AVX-512 alike; from 32,768
 * numbers on PyTorch gives each thread its own part, so its result then depends on their number, and this is the one of one.
 */
const LANES = 8;
const ROWS = 4;
const LEVELS = 4;

export function torchMean(values: Float32Array): number {
  return Math.fround(torchSum(values) / values.length);
}

function torchSum(values: Float32Array): number {
  if (values.length < LANES) return sumColumns(values, values.length, 1)[0];
  const steps = Math.floor(values.length / LANES);
  const lanes = sumColumns(values, steps, LANES);
  let total = 0;
  for (let i = steps * LANES; i < values.length; i++) total = Math.fround(total + values[i]);
  for (const lane of lanes) total = Math.fround(total + lane);
  return total;
}

/** Sums of the columns of [steps, lanes]: rows dealt out to four accumulators, which are added up at the end. */
function sumColumns(values: Float32Array, steps: number, lanes: number): Float32Array {
  const whole = Math.floor(steps / ROWS);
  const sums = cascade(values, whole, ROWS * lanes);
  for (let i = whole * ROWS * lanes; i < steps * lanes; i++) sums[i % lanes] += values[i];
  for (let i = lanes; i < ROWS * lanes; i++) sums[i % lanes] += sums[i];
  return sums.subarray(0, lanes);
}

/** Sums of the columns of [size, width]: runs of 2^p rows, runs of runs, and so on four levels up. */
function cascade(values: Float32Array, size: number, width: number): Float32Array {
  const power = Math.max(4, Math.floor(Math.ceil(Math.log2(Math.max(1, size))) / LEVELS));
  const levels = Array.from({ length: LEVELS }, () => new Float32Array(width));
  let row = 0;
  const add = (): void => {
    for (let k = 0; k < width; k++) levels[0][k] += values[row * width + k];
    row++;
  };
  while (row + 2 ** power <= size) {
    for (const end = row + 2 ** power; row < end;) add();
    for (let level = 1; level < LEVELS; level++) {
      for (let k = 0; k < width; k++) levels[level][k] += levels[level - 1][k];
      levels[level - 1].fill(0);
      if (row % 2 ** ((level + 1) * power) !== 0) break;
    }
  }
  while (row < size) add();
  for (const level of levels.slice(1)) for (let k = 0; k < width; k++) levels[0][k] += level[k];
  return levels[0];
}
