import { siluMul } from './nn/silu-mul.js';
import { tokenDivergence } from './nn/token-divergence.js';
import { tokenLoss } from './nn/token-loss.js';
import { codebookBlocks } from './quant/codebook-blocks.js';
import type { CodebookBlocksArgs } from './quant/codebook-blocks.js';
import { gptqBlock } from './quant/gptq-block.js';
import { groupRange } from './quant/group-range.js';
import { quantizeGroups } from './quant/quantize-groups.js';
import type { QuantizeGroupsArgs } from './quant/quantize-groups.js';
import { quantizeNearest } from './quant/quantize-nearest.js';
import { refineBlock } from './quant/refine-block.js';
import { hqqZeros } from './quant/hqq-zeros.js';
import { superBlockRange } from './quant/super-block-range.js';
import type { RowScratch } from './row-scratch.js';

/** How a kernel uses an operand whose rows may be handed to different threads. */
export type RowAccess = 'in' | 'out' | 'inout';

/** The kernels whose rows are independent: what a worker thread can run. */
const KERNELS = {
  'gptq-block': gptqBlock,
  'refine-block': refineBlock,
  'group-range': groupRange,
  'super-block-range': superBlockRange,
  'hqq-zeros': hqqZeros,
  'quantize-nearest': quantizeNearest,
  'quantize-groups': (args: QuantizeGroupsArgs, scratch: RowScratch): void => {
    if (scratch.simd()?.quantizeGroups(args) !== true) quantizeGroups(args);
  },
  'codebook-blocks': (args: CodebookBlocksArgs, scratch: RowScratch): void => {
    if (scratch.simd()?.codebookBlocks(args) !== true) codebookBlocks(args);
  },
  'silu-mul': siluMul,
  'token-loss': tokenLoss,
  'token-divergence': tokenDivergence,
} as const;

export type RowKernelName = keyof typeof KERNELS;
export type RowKernelArgs<Name extends RowKernelName> = Parameters<(typeof KERNELS)[Name]>[0];

/**
 * Operands that are cut by rows, with their access; every other argument goes whole to every thread. An `out` operand
 * must be written completely.
 */
export const ROW_OPERANDS: {
  readonly [Name in RowKernelName]: Readonly<Partial<Record<keyof RowKernelArgs<Name>, RowAccess>>>;
} = {
  'gptq-block': {
    w: 'in',
    carried: 'in',
    error: 'out',
    codes: 'out',
    scales: 'in',
    zeros: 'in',
    losses: 'inout',
  },
  'refine-block': {
    w: 'in',
    gradient: 'inout',
    error: 'inout',
    codes: 'inout',
    scales: 'in',
    zeros: 'in',
  },
  'group-range': { w: 'in', scales: 'out', zeros: 'out' },
  'hqq-zeros': { w: 'in', scales: 'in', zeros: 'inout' },
  'super-block-range': { w: 'in', scales: 'out', zeros: 'out', blocks: 'out' },
  'quantize-groups': { w: 'in', packed: 'out', scales: 'out', zeros: 'out', nonFinite: 'out' },
  'codebook-blocks': { w: 'in', codes: 'out', absmax: 'out' },
  'quantize-nearest': { w: 'in', scales: 'in', zeros: 'in', codes: 'out', error: 'out' },
  'silu-mul': { gate: 'in', up: 'in', out: 'out' },
  'token-loss': { logits: 'in', targets: 'in', losses: 'out' },
  'token-divergence': { reference: 'in', logits: 'in', targets: 'in', stats: 'out' },
};

/**
 * Kernels of a stream from file to file, whose rows all go to other threads: the thread that was asked reads and writes
 * files meanwhile.
 */
export const STREAMING_KERNELS: ReadonlySet<RowKernelName> = new Set(['quantize-groups', 'codebook-blocks']);

/** Runs a row kernel on this thread, with what the thread keeps between kernels. */
export function runRowKernel<Name extends RowKernelName>(
  name: Name,
  args: RowKernelArgs<Name>,
  scratch: RowScratch,
): void {
  const kernel = KERNELS[name] as (args: RowKernelArgs<Name>, scratch: RowScratch) => void;
  kernel(args, scratch);
}
