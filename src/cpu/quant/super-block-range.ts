import type { KQuantType } from '../../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../../core/quantized-linear.js';
import type { RealMatrix, Reals } from '../matrix.js';
import { roundHalfEven } from '../rounding.js';
import { fitLine, fitScale } from './fit-grid.js';
import type { FitRun } from './fit-grid.js';
import { toScale } from './to-scale.js';

export interface SuperBlockRangeArgs {
  readonly type: KQuantType;
  /** [N, cols]. */
  readonly w: RealMatrix;
  /** [cols] or undefined. */
  readonly costs?: Reals | undefined;
  /** [N, cols/sub-block]. */
  readonly scales: RealMatrix;
  readonly zeros: RealMatrix;
  /** [N, 2·cols/SUPER_BLOCK]: d, dmin. */
  readonly blocks: RealMatrix;
}

/** Largest 6-bit multiple; q6_k has multiples −128 … 127. */
const TOP_MULTIPLE = 63;

/** One super-block in hand. */
interface Block {
  readonly type: KQuantType;
  readonly values: Reals;
  readonly start: number;
  readonly costs: Float64Array;
}

/** Scales and minima of every super-block of every row: fit each sub-block, then choose d, dmin and the multiples. */
export function superBlockRange(args: SuperBlockRangeArgs): void {
  const { type, w, scales, zeros, blocks } = args;
  const costs = new Float64Array(SUPER_BLOCK);
  const subs = SUPER_BLOCK / K_QUANTS[type].subBlock;
  for (let row = 0; row < w.rows; row++)
    for (let b = 0; b < w.cols / SUPER_BLOCK; b++) {
      const start = w.offset + row * w.stride + b * SUPER_BLOCK;
      if (args.costs === undefined) ownCosts(type, w.data, start, costs);
      else costs.set(args.costs.subarray(b * SUPER_BLOCK, (b + 1) * SUPER_BLOCK));
      const block: Block = { type, values: w.data, start, costs };
      const target = {
        scales: scales.data,
        zeros: zeros.data,
        blocks: blocks.data,
        scalesAt: scales.offset + row * scales.stride + b * subs,
        zerosAt: zeros.offset + row * zeros.stride + b * subs,
        blocksAt: blocks.offset + row * blocks.stride + 2 * b,
      };
      if (type === 'q4_k') rangeQ4(block, target);
      else rangeQ6(block, target);
    }
}

/** llama.cpp's costs without an importance matrix: the square for q6_k; root mean square plus magnitude for q4_k. */
function ownCosts(type: KQuantType, values: Reals, start: number, costs: Float64Array): void {
  const { subBlock } = K_QUANTS[type];
  for (let first = 0; first < SUPER_BLOCK; first += subBlock) {
    let squares = 0;
    for (let i = first; i < first + subBlock; i++) squares += values[start + i] * values[start + i];
    const rms = Math.sqrt(squares / subBlock);
    for (let i = first; i < first + subBlock; i++) {
      const value = values[start + i];
      costs[i] = type === 'q4_k' ? rms + Math.abs(value) : value * value;
    }
  }
}

interface BlockTarget {
  readonly scales: Reals;
  readonly zeros: Reals;
  readonly blocks: Reals;
  readonly scalesAt: number;
  readonly zerosAt: number;
  readonly blocksAt: number;
}

function runOf(block: Block, sub: number, size: number): FitRun {
  const first = sub * size;
  const costs = block.costs.subarray(first, first + size);
  return { values: block.values, start: block.start + first, count: size, costs };
}

function rangeQ4(block: Block, to: BlockTarget): void {
  const { subBlock } = K_QUANTS.q4_k;
  const subs = SUPER_BLOCK / subBlock;
  const fits = Array.from({ length: subs }, (_, sub) => fitLine(runOf(block, sub, subBlock), 15, true));
  const largest = (values: number[]): number => Math.max(0, ...values);
  const d = toScale(largest(fits.map((fit) => fit?.scale ?? 0)) / TOP_MULTIPLE);
  const depth = largest(fits.map((fit) => -(fit?.min ?? 0)));
  const dmin = depth > 0 ? toScale(depth / TOP_MULTIPLE) : 0;
  for (let sub = 0; sub < subs; sub++) {
    const fit = fits[sub] ?? { scale: 0, min: 0 };
    const run = runOf(block, sub, subBlock);
    const scaleNear = roundHalfEven(fit.scale / d);
    const minNear = dmin > 0 ? roundHalfEven(-fit.min / dmin) : 0;
    let least = Infinity;
    for (let choice = 0; choice < 9; choice++) {
      const multiple = within(scaleNear + Math.floor(choice / 3) - 1, 1, TOP_MULTIPLE);
      const depth = within(minNear + (choice % 3) - 1, 0, TOP_MULTIPLE);
      const scale = d * multiple;
      const zero = (dmin * depth) / scale;
      const error = gridError(run, scale, zero, 15);
      if (!(error < least)) continue;
      least = error;
      to.scales[to.scalesAt + sub] = scale;
      to.zeros[to.zerosAt + sub] = zero;
    }
  }
  to.blocks[to.blocksAt] = d;
  to.blocks[to.blocksAt + 1] = dmin;
}

function rangeQ6(block: Block, to: BlockTarget): void {
  const { subBlock } = K_QUANTS.q6_k;
  const subs = SUPER_BLOCK / subBlock;
  const fits = Array.from({ length: subs }, (_, sub) => fitScale(runOf(block, sub, subBlock), 32) ?? 0);
  const extreme = fits.reduce((most, scale) => (Math.abs(scale) > Math.abs(most) ? scale : most), 0);
  const d = toScale(extreme / -128);
  for (let sub = 0; sub < subs; sub++) {
    const run = runOf(block, sub, subBlock);
    const near = roundHalfEven(fits[sub] / d);
    let least = Infinity;
    for (let choice = 0; choice < 3; choice++) {
      const multiple = within(near + choice - 1, -128, 127);
      const scale = d * (multiple === 0 ? 1 : multiple);
      const error = gridError(run, scale, 32, 63);
      if (!(error < least)) continue;
      least = error;
      to.scales[to.scalesAt + sub] = scale;
    }
    to.zeros[to.zerosAt + sub] = 32;
  }
  to.blocks[to.blocksAt] = d;
  to.blocks[to.blocksAt + 1] = 0;
}

function within(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}

/** Σ cost·(w − grid(w))². */
function gridError(
  { values, start, count, costs }: FitRun,
  scale: number,
  zero: number,
  top: number,
): number {
  let sum = 0;
  for (let i = 0; i < count; i++) {
    const value = values[start + i];
    const code = within(roundHalfEven(value / scale + zero), 0, top);
    const miss = value - scale * (code - zero);
    sum += costs[i] * miss * miss;
  }
  return sum;
}
