import type { FormatName, OutputFormat } from '../output-format.js';
import { gptqFormat } from './gptq.js';

/** Every format that can be written, by its name on the command line. */
export function outputFormat(name: FormatName): OutputFormat {
  switch (name) {
    case 'gptq':
    case 'gptq_v2':
      return gptqFormat(name);
    default:
      throw new Error(`${name} is not there yet`);
  }
}
