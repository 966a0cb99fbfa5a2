import type { GptqCheckpointFormat } from '../formats/gptq/gptq-layer.js';
import { encodeGptqLayer } from '../formats/gptq/gptq-layer.js';
import { bytesOf } from '../io/byte-views.js';
import type { QuantizedLinear } from '../quant/records.js';

/** The tensors of a quantized linear as file bytes, by their names in the checkpoint. */
export function gptqTensorBytes(
  module: string,
  linear: QuantizedLinear,
  format: GptqCheckpointFormat,
): Map<string, Uint8Array> {
  const tensors = encodeGptqLayer(linear, module, format);
  return new Map([
    [`${module}.qweight`, bytesOf(tensors.qweight)],
    [`${module}.qzeros`, bytesOf(tensors.qzeros)],
    [`${module}.scales`, bytesOf(tensors.scales)],
    [`${module}.g_idx`, bytesOf(tensors.gIdx)],
  ]);
}
