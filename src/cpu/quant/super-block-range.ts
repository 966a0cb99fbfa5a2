import type { KQuantType } from '../../core/quantized-linear.js';
import { K_QUANTS, SUPER_BLOCK } from '../../core/quantized-linear.js';
import type { RealMatrix, Reals } from '../matrix.js';
import { roundHalfEven } from '../rounding.js';
import { bestOf, extentOf, lineError, lineTrial, scaleTrial, TRIALS } from './fit-grid.js';
import type { FitRun, Line } from './fit-grid.js';
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
/** Multiples of d, and of dmin, that are tried around the fit of a q4_k sub-block. */
const CHOICE_SPAN = 5;

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
  const fits = Array.from({ length: subs }, (_, sub) => fitLine(runOf(block, sub, subBlock)));
  const d = toScale(Math.max(0, ...fits.map(({ scale }) => scale)) / TOP_MULTIPLE);
  const depth = Math.max(0, ...fits.map(({ min }) => -min));
  const dmin = depth > 0 ? toScale(depth / TOP_MULTIPLE) : 0;
  fits.forEach((fit, sub) => {
    const run = runOf(block, sub, subBlock);
    const scaleNear = roundHalfEven(fit.scale / d);
    const minNear = dmin > 0 ? roundHalfEven(-fit.min / dmin) : 0;
    const choice = (c: number): Line => ({
      scale: d * within(scaleNear + Math.floor(c / CHOICE_SPAN) - 2, 1, TOP_MULTIPLE),
      min: -dmin * within(minNear + (c % CHOICE_SPAN) - 2, 0, TOP_MULTIPLE),
    });
    const { scale, min } =
      bestOf(CHOICE_SPAN ** 2, choice, (line) => lineError(run, line, 0, 15)) ?? choice(12);
    to.scales[to.scalesAt + sub] = scale;
    to.zeros[to.zerosAt + sub] = -min / scale;
  });
  to.blocks[to.blocksAt] = d;
  to.blocks[to.blocksAt + 1] = dmin;
}

/** Of a run without spread, the minimum alone. */
function fitLine(run: FitRun): Line {
  const extent = extentOf(run);
  const trial = (t: number): Line | undefined => lineTrial(run, t, { top: 15, below: true }, extent);
  const best = bestOf(TRIALS, trial, (line) => lineError(run, line, 0, 15));
  return best ?? { scale: 0, min: Math.min(extent.low, 0) };
}

function rangeQ6(block: Block, to: BlockTarget): void {
  const { subBlock } = K_QUANTS.q6_k;
  const subs = SUPER_BLOCK / subBlock;
  const fits = Array.from({ length: subs }, (_, sub) => fitScale(runOf(block, sub, subBlock)));
  const extreme = fits.reduce((most, scale) => (Math.abs(scale) > Math.abs(most) ? scale : most), 0);
  const d = toScale(extreme / -128);
  fits.forEach((fit, sub) => {
    const run = runOf(block, sub, subBlock);
    const near = roundHalfEven(fit / d);
    const choice = (c: number): Line => ({
      scale: d * (within(near + c - 2, -128, 127) || 1),
      min: 0,
    });
    const { scale } = bestOf(5, choice, (line) => lineError(run, line, -32, 63)) ?? choice(2);
    to.scales[to.scalesAt + sub] = scale;
    to.zeros[to.zerosAt + sub] = 32;
  });
  to.blocks[to.blocksAt] = d;
  to.blocks[to.blocksAt + 1] = 0;
}

function fitScale(run: FitRun): number {
  const extent = extentOf(run);
  const trial = (t: number): Line | undefined => scaleTrial(run, t, 32, extent);
  return bestOf(TRIALS, trial, (line) => lineError(run, line, -32, 63))?.scale ?? 0;
}

function within(value: number, least: number, most: number): number {
  return Math.min(Math.max(value, least), most);
}
