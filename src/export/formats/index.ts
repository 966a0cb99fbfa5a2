import type { FormatName, OutputFormat } from '../output-format.js';
import { awqFormat } from './awq.js';
import { bitsandbytesFormat } from './bitsandbytes.js';
import { compressedTensorsFormat } from './compressed-tensors.js';
import { ggufFormat } from './gguf.js';
import { gptqFormat } from './gptq.js';
import { hfFormat } from './hf.js';
import { mlxFormat } from './mlx.js';
import { onnxFormat } from './onnx.js';

/** Every format that can be written, by its name on the command line. */
export function outputFormat(name: FormatName): OutputFormat {
  switch (name) {
    case 'gptq':
    case 'gptq_v2':
      return gptqFormat(name);
    case 'bitsandbytes':
      return bitsandbytesFormat();
    case 'awq':
      return awqFormat();
    case 'compressed-tensors':
      return compressedTensorsFormat();
    case 'gguf-f16':
    case 'gguf-q8_0':
    case 'gguf-q4_0':
    case 'gguf-q4_1':
    case 'gguf-q5_0':
    case 'gguf-q4_k':
    case 'gguf-q6_k':
      return ggufFormat(name);
    case 'onnx-q4':
    case 'onnx-q4f16':
      return onnxFormat(name);
    case 'mlx':
      return mlxFormat();
    case 'hf':
      return hfFormat();
    default:
      return name satisfies never;
  }
}
