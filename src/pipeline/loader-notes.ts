import { checkpointFormat, partlySkippedNames } from '../export/quantization-config.js';
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
    ...(checkpointFormat(spec) === 'gptq_v2'
      ? [
          'an asymmetric grid is written as checkpoint_format gptq_v2: GPTQModel and vLLM read it, older loaders may not',
        ]
      : []),
  ];
}
