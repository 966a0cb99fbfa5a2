import { Bug } from '../../core/errors.js';
import { PACK_QUANTIZED } from '../../formats/compressed-tensors/compressed-tensors-config.js';
import type { ModelToWrite, PlannedLinear } from '../output-format.js';
import { plannedLinears } from '../output-format.js';

interface Weights {
  readonly num_bits: number;
  readonly type: 'int';
  readonly symmetric: boolean;
  readonly strategy: 'group' | 'channel';
  readonly group_size?: number;
  readonly dynamic: false;
  readonly actorder?: 'weight';
}

export interface PackedGroup {
  readonly weights: Weights;
  /** Paths of the modules packed this way. */
  readonly modules: readonly string[];
}

/** The linears of a model by scheme. */
export function compressedTensorsGroups(model: ModelToWrite): readonly PackedGroup[] {
  const linears = plannedLinears(model);
  const sizes = groupSizesInUse(linears);
  const groups = new Map<string, { weights: Weights; modules: string[] }>();
  for (const linear of linears) {
    const weights = weightsOf(linear, sizes, model);
    const key = JSON.stringify(weights);
    const group = groups.get(key) ?? { weights, modules: [] };
    group.modules.push(linear.name);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/**
 * `quantization_config` with the keys that every release knows: the objects inside config_groups refuse unknown ones.
 * One scheme targets the class Linear; several name their modules, because vLLM asks for the class before it looks into
 * the modules it fuses.
 */
export function compressedTensorsConfig(model: ModelToWrite): Record<string, unknown> {
  const groups = compressedTensorsGroups(model);
  const isHeadPacked = groups.some(({ modules }) => modules.includes('lm_head'));
  const entries = groups.map(({ weights, modules }, index): [string, unknown] => [
    `group_${index}`,
    {
      targets: groups.length === 1 ? ['Linear'] : modules,
      weights,
      input_activations: null,
      output_activations: null,
    },
  ]);
  return {
    quant_method: 'compressed-tensors',
    format: PACK_QUANTIZED,
    quantization_status: 'compressed',
    config_groups: Object.fromEntries(entries),
    // The head is a Linear even where it is tied to the embedding.
    ignore: [...model.skipped, ...(isHeadPacked ? [] : ['lm_head'])],
  };
}

/** Group sizes that cannot be "channel", because they divide some row into several groups. */
function groupSizesInUse(linears: readonly PlannedLinear[]): ReadonlySet<number> {
  return new Set(
    linears.flatMap(({ grid, inFeatures }) =>
      grid.kind === 'affine' && grid.groupSize !== inFeatures ? [grid.groupSize] : [],
    ),
  );
}

/** A row of one group is "channel" unless that size is a group size elsewhere: then both share one scheme. */
function weightsOf(
  { grid, inFeatures }: PlannedLinear,
  sizes: ReadonlySet<number>,
  model: ModelToWrite,
): Weights {
  if (grid.kind !== 'affine') throw new Bug(`internal: ${grid.kind} planned for a compressed-tensors folder`);
  const { bits, symmetric, groupSize } = grid;
  const common = { num_bits: bits, type: 'int', symmetric } as const;
  if (groupSize === inFeatures && !sizes.has(groupSize))
    return { ...common, strategy: 'channel', dynamic: false };
  const inActOrder = model.settings.order === 'act';
  return {
    ...common,
    strategy: 'group',
    group_size: groupSize,
    dynamic: false,
    ...(inActOrder ? { actorder: 'weight' as const } : {}),
  };
}
