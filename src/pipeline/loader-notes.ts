import { checkpointFormat, partlySkippedNames } from '../export/quantization-config.js';
import { HEAD_NAME } from '../model/index.js';
import type { QuantizationPlan } from './plan-quantization.js';

/** What a person who loads the folder should know beforehand. */
export function loaderNotes({ linears, skipped, spec }: QuantizationPlan): string[] {
  const partly = partlySkippedNames(
    linears.map((linear) => linear.name),
    skipped.map(({ name }) => name),
  );
  return [
    ...(partly.length === 0
      ? []
      : [
          `${partly.join(', ')} stay in 16-bit in some layers only: GPTQModel and vLLM can load that, transformers cannot`,
        ]),
    ...(linears.some(({ name }) => name === HEAD_NAME)
      ? ['lm_head is quantized as well: GPTQModel and vLLM read that, transformers does not']
      : []),
    ...(checkpointFormat(spec) === 'gptq_v2'
      ? [
          'an asymmetric grid is written as checkpoint_format gptq_v2: GPTQModel and vLLM read it, older loaders may not',
        ]
      : []),
  ];
}
