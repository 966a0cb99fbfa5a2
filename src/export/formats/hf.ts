import { castElements } from '../../core/cast-elements.js';
import type { CastTarget } from '../../core/cast-elements.js';
import { dequantizeLinear } from '../../core/dequantize-linear.js';
import type { DType } from '../../core/dtype.js';
import { FormatError } from '../../core/errors.js';
import type { QuantizedLinear } from '../../core/quantized-linear.js';
import { bytesOf, viewBytes } from '../../io/byte-views.js';
import { jsonText } from '../config-text.js';
import { createFolderFormat } from '../folder-format.js';
import type { ModelToWrite, OutputFormat, PlannedLinear } from '../output-format.js';

/** An ordinary checkpoint: what the codes stand for, in the dtype of the model. Every grid fits, rounded to that dtype. */
export function hfFormat(): OutputFormat {
  const open = (model: ModelToWrite | undefined): OutputFormat => {
    const dtypeOf = ({ sourceDType }: PlannedLinear): CastTarget => dtypeOfLinears(sourceDType, model);
    return createFolderFormat({
      name: 'hf',
      metadata: { format: 'pt' },
      card: {
        tags: [],
        libraryName: 'transformers',
        loading: [
          '```python',
          'from transformers import AutoModelForCausalLM, AutoTokenizer',
          '',
          'model = AutoModelForCausalLM.from_pretrained("path/to/this/folder", dtype="auto")',
          'tokenizer = AutoTokenizer.from_pretrained("path/to/this/folder")',
          '```',
        ].join('\n'),
      },
      holdsPlain: true,
      problems: () => [],
      tensors: (linear) => [
        {
          name: `${linear.name}.weight`,
          dtype: dtypeOf(linear),
          shape: [linear.outFeatures, linear.inFeatures],
        },
      ],
      encode: (linear, record) =>
        new Map([[`${linear.name}.weight`, expand(linear.name, record, dtypeOf(linear))]]),
      configFiles: ({ configText, configJson }) =>
        new Map([['config.json', plainConfigText(configText, configJson)]]),
      notes: () => [
        'weights are written as the 16-bit numbers that the codes stand for: as large as the original',
      ],
    });
  };
  // The tensors' dtype is the model's, which is known only once there is a model.
  return { ...open(undefined), plan: (model) => open(model).plan(model) };
}

/** config.json's dtype, else that of the original weight, else bfloat16; what was float32 stays so. */
function dtypeOfLinears(source: DType, model: ModelToWrite | undefined): CastTarget {
  if (source === 'F32' || source === 'F64') return 'F32';
  switch (model?.configJson.dtype ?? model?.configJson.torch_dtype) {
    case 'float16':
      return 'F16';
    case 'float32':
      return 'F32';
    case 'bfloat16':
      return 'BF16';
    default:
      return source === 'F16' ? 'F16' : 'BF16';
  }
}

/** Rows that are expanded at a time: float32 numbers of a big matrix need not exist all at once. */
const ROWS_AT_A_TIME = 256;

function expand(name: string, record: QuantizedLinear, dtype: CastTarget): Uint8Array {
  const { outFeatures, inFeatures } = record;
  const width = dtype === 'F32' ? 4 : 2;
  const bytes = new Uint8Array(outFeatures * inFeatures * width);
  for (let first = 0; first < outFeatures; first += ROWS_AT_A_TIME) {
    const rows = Math.min(ROWS_AT_A_TIME, outFeatures - first);
    const values = dequantizeLinear(record, { first, rows });
    const cast = castElements(bytesOf(values), 'F32', dtype);
    checkFinite(name, cast, { dtype, firstElement: first * inFeatures });
    bytes.set(cast, first * inFeatures * width);
  }
  return bytes;
}

/** Float16 ends at 65504: a value beyond it must not become an infinity unseen. */
function checkFinite(
  name: string,
  bytes: Uint8Array,
  { dtype, firstElement }: { dtype: CastTarget; firstElement: number },
): void {
  const exponent = { F32: 0x7f80, BF16: 0x7f80, F16: 0x7c00 }[dtype];
  const halves = viewBytes(bytes, Uint16Array);
  const [begin, step] = dtype === 'F32' ? [1, 2] : [0, 1];
  for (let i = begin; i < halves.length; i += step) {
    if ((halves[i] & exponent) === exponent)
      throw new FormatError(`element ${firstElement + Math.floor(i / step)} is beyond what ${dtype} holds`, {
        file: 'dequantized weights',
        tensor: name,
        advice: 'set "dtype" in config.json to "bfloat16" or "float32", and convert again',
      });
  }
}

/** config.json without any word of quantization; the text is kept where there is none, for its spelling of numbers. */
function plainConfigText(text: string, config: ModelToWrite['configJson']): string {
  const keys = ['quantization', 'quantization_config'];
  if (!keys.some((key) => Object.hasOwn(config, key))) return text;
  return jsonText(Object.fromEntries(Object.entries(config).filter(([key]) => !keys.includes(key))));
}
