/**
 * The JSON beside each 4-bit weight of a bitsandbytes checkpoint: tensor `quant_state.bitsandbytes__nf4` or `…__fp4`.
 * Source: bitsandbytes/functional.py, QuantState.as_dict and from_dict; bitsandbytes/utils.py, pack_dict_to_tensor.
 */
import type { CodebookName } from '../../core/quantized-linear.js';
import { FormatError } from '../../core/errors.js';
import { decodeUtf8, describeJson, isJsonObject, parseJson } from '../../io/json.js';
import { listOffenders } from '../../io/list-offenders.js';
import type { StoredTensor } from '../stored-tensor.js';
import { checkDType } from '../stored-tensor.js';
import { pythonFloatText } from './python-number.js';

export const BLOCK_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;
/** The one block size of double quantization. */
export const NESTED_BLOCK_SIZE = 256;
/** The texts have about 200 bytes. */
export const MAX_STATE_BYTES = 65536;

export type WeightDType = 'float32' | 'float16' | 'bfloat16';
const WEIGHT_DTYPES: readonly unknown[] = ['float32', 'float16', 'bfloat16'];

export interface QuantState {
  readonly codebook: CodebookName;
  readonly blockSize: number;
  /** Of the weight that was quantized, and of what it dequantizes to. */
  readonly dtype: WeightDType;
  readonly shape: readonly [outFeatures: number, inFeatures: number];
  /** Mean of absmax; undefined without double quantization. */
  readonly nestedOffset: number | undefined;
}

/** The text as json.dumps writes it, to the byte. */
export function quantStateText({ codebook, blockSize, dtype, shape, nestedOffset }: QuantState): string {
  const nested =
    nestedOffset === undefined
      ? ''
      : `, "nested_blocksize": ${NESTED_BLOCK_SIZE}, "nested_dtype": "float32", "nested_offset": ${pythonFloatText(nestedOffset)}`;
  return `{"quant_type": "${codebook}", "blocksize": ${blockSize}, "dtype": "${dtype}", "shape": [${shape.join(', ')}]${nested}}`;
}

/** Reads the tensor called `…quant_state.bitsandbytes__<codebook>`. FormatError listing everything that does not fit. */
export function readQuantState(tensor: StoredTensor, codebook: CodebookName): QuantState {
  checkDType(tensor, ['U8']);
  const { file, name, begin } = tensor.info;
  const where = { file, tensor: name, offset: begin };
  const state = parseJson(
    decodeUtf8(tensor.bytes, `${file}, tensor "${name}"`, begin),
    `${file}, tensor "${name}"`,
  );
  if (!isJsonObject(state))
    throw new FormatError(`a JSON object expected, ${describeJson(state)} found`, where);
  const problems: string[] = [];
  const expect = (key: string, holds: (value: unknown) => boolean, wanted: string): void => {
    if (!holds(state[key])) problems.push(`${key}: ${wanted} expected, ${describeJson(state[key])} found`);
  };
  const nested = state.nested_offset !== undefined || state.nested_blocksize !== undefined;
  expect('quant_type', (value) => value === codebook, `"${codebook}", as in the tensor's name,`);
  expect('blocksize', (value) => BLOCK_SIZES.some((size) => size === value), BLOCK_SIZES.join(', '));
  expect('dtype', (value) => WEIGHT_DTYPES.includes(value), WEIGHT_DTYPES.join(', '));
  expect('shape', isMatrixShape, 'two positive sizes');
  if (nested) {
    expect('nested_blocksize', (value) => value === NESTED_BLOCK_SIZE, String(NESTED_BLOCK_SIZE));
    expect('nested_dtype', (value) => value === 'float32', '"float32"');
    expect(
      'nested_offset',
      (value) => typeof value === 'number' && Number.isFinite(value),
      'a finite number',
    );
  }
  if (problems.length > 0)
    throw new FormatError(`a quantization state that halfbyte cannot read:${listOffenders(problems)}`, {
      ...where,
      advice: 'the file is damaged or of an unknown version of bitsandbytes: fetch it again',
    });
  return {
    codebook,
    blockSize: state.blocksize as number,
    dtype: state.dtype as WeightDType,
    shape: state.shape as [number, number],
    nestedOffset: nested ? Math.fround(state.nested_offset as number) : undefined,
  };
}

/** Sizes whose product stays a safe count of bytes in float32. */
function isMatrixShape(value: unknown): boolean {
  return (
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((size) => Number.isSafeInteger(size) && (size as number) > 0) &&
    Number.isSafeInteger((value[0] as number) * (value[1] as number) * 4)
  );
}
