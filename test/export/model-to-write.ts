import type { Grid } from '../../src/core/quantized-linear.js';
import type { ModelItem, ModelToWrite } from '../../src/export/output-format.js';
import { parseModelConfig } from '../../src/model/index.js';

const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: 64,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 32,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 32,
};

/** A model of which some linears are planned on one grid; no weights. */
export function modelToWrite(options: {
  readonly linears: readonly string[];
  readonly grid: Grid;
  readonly skipped?: readonly string[];
  readonly inFeatures?: (name: string) => number;
  readonly settings?: ModelToWrite['settings'];
}): ModelToWrite {
  const items = options.linears.map((name): ModelItem => {
    const inFeatures = options.inFeatures?.(name) ?? 64;
    return {
      kind: 'linear',
      linear: { name, outFeatures: 64, inFeatures, grid: options.grid, sourceDType: 'BF16' },
    };
  });
  return {
    config: parseModelConfig(CONFIG, 'config.json'),
    configJson: CONFIG,
    configText: JSON.stringify(CONFIG),
    items,
    skipped: options.skipped ?? [],
    sideFiles: new Map(),
    name: 'owner/name',
    settings: options.settings ?? { method: 'gptq', damp: 0.01 },
    toolVersion: '1.2.3',
    quantizeRows: () => Promise.reject(new Error('no table here')),
  };
}
