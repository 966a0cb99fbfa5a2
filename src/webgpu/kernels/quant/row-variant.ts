import type { DeviceFacts } from '../../kernel-context.js';

export interface RowVariant {
  readonly flags: readonly 'ROW_PER_LANE'[];
  readonly rowsPerGroup: number;
}

/**
 * How gptq-block and refine-block spread rows over lanes. Real GPUs: 32 lanes a row, 8 rows a workgroup. Software
 * adapters switch lanes at every barrier in plain code, so there each lane takes a row alone, without barriers.
 */
export function rowVariant(facts: DeviceFacts): RowVariant {
  return facts.software ? { flags: ['ROW_PER_LANE'], rowsPerGroup: 64 } : { flags: [], rowsPerGroup: 8 };
}
