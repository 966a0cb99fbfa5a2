import { gridText } from '../../core/describe-grid.js';
import type { DType } from '../../core/dtype.js';
import { Bug, UserError } from '../../core/errors.js';
import type { CodebookLinear, Grid, QuantizedLinear } from '../../core/quantized-linear.js';
import { bitsandbytesConfig, withFloatThreshold } from '../../formats/bitsandbytes/bitsandbytes-config.js';
import type { LayerFacts } from '../../formats/bitsandbytes/bitsandbytes-layer.js';
import {
  encodeLayer,
  encodeState,
  layerProblems,
  layerTensors,
  stateName,
} from '../../formats/bitsandbytes/bitsandbytes-layer.js';
import type { WeightDType } from '../../formats/bitsandbytes/quant-state.js';
import type { PlannedTensor } from '../../formats/safetensors/shard-plan.js';
import { patchedConfigText } from '../config-text.js';
import { createLateFolderFormat } from '../late-shard.js';
import type { LateTensor } from '../late-shard.js';
import { transformersLoading } from '../model-card.js';
import type { ModelToWrite, OutputFormat, PlannedLinear } from '../output-format.js';
import { plannedLinears } from '../output-format.js';

/** A state of double quantization and its entries in header and index. */
const STATE_BYTES = 600;

/** Serialized 4-bit weights of bitsandbytes: NF4 and FP4, with or without nested statistics. */
export function bitsandbytesFormat(): OutputFormat {
  return createLateFolderFormat({
    name: 'bitsandbytes',
    metadata: { format: 'pt' },
    card: {
      tags: ['bitsandbytes'],
      libraryName: 'transformers',
      loading: transformersLoading(
        'transformers loads bitsandbytes folders with `pip install bitsandbytes accelerate`; vLLM reads them too.',
      ),
    },
    problems: (grid) =>
      grid.kind === 'codebook'
        ? layerProblems(grid)
        : [
            `bitsandbytes holds nf4 and fp4, not ${gridText(grid)}: gptq, awq, compressed-tensors and mlx hold affine grids`,
          ],
    check,
    tensors,
    encode,
    late,
    lateBytes: ({ grid }) => (codebookGrid(grid).nested ? STATE_BYTES : 0),
    configFiles: (model) => new Map([['config.json', configText(model)]]),
    notes,
  });
}

/** What one settings object for the whole model cannot say. */
function check(model: ModelToWrite): void {
  const grids = new Set(
    plannedLinears(model).map(({ grid }) => `${codebookGrid(grid).codebook} ${codebookGrid(grid).nested}`),
  );
  if (grids.size > 1)
    throw new UserError(
      'some linears are nf4 and some fp4, or only some have double quantization; bitsandbytes has one setting for all',
      {
        advice: 'quantize all of them the same way',
      },
    );
}

function factsOf({ outFeatures, inFeatures, grid }: PlannedLinear): LayerFacts {
  const { codebook, blockSize, nested } = codebookGrid(grid);
  return { outFeatures, inFeatures, codebook, blockSize, nested };
}

function codebookGrid(grid: Grid): Extract<Grid, { kind: 'codebook' }> {
  if (grid.kind !== 'codebook') throw new Bug(`internal: ${grid.kind} planned for a bitsandbytes folder`);
  return grid;
}

function codebookRecord(record: QuantizedLinear): CodebookLinear {
  if (record.kind !== 'codebook')
    throw new Bug(`internal: a ${record.kind} record cannot be written as bitsandbytes`);
  return record;
}

/** In the order they are written; the state is late where its text holds a number that is not known yet. */
function tensors(linear: PlannedLinear): PlannedTensor[] {
  const facts = factsOf(linear);
  const known = layerTensors(linear.name, facts);
  if (facts.nested) return known;
  const { byteLength } = encodeState(facts, weightDType(linear.sourceDType));
  return [
    ...known,
    { name: `${linear.name}.${stateName(facts.codebook)}`, dtype: 'U8', shape: [byteLength] },
  ];
}

function encode(linear: PlannedLinear, record: QuantizedLinear): Map<string, Uint8Array> {
  const codes = codebookRecord(record);
  const encoded = encodeLayer(linear.name, codes);
  const state = stateOf(linear, codes);
  if (codes.nested === undefined) encoded.set(state.name, state.bytes);
  return encoded;
}

function late(linear: PlannedLinear, record: QuantizedLinear): LateTensor[] {
  const codes = codebookRecord(record);
  return codes.nested === undefined ? [] : [stateOf(linear, codes)];
}

function stateOf({ name, sourceDType }: PlannedLinear, record: CodebookLinear): LateTensor {
  const bytes = encodeState(record, weightDType(sourceDType), record.nested?.offset);
  return { name: `${name}.${stateName(record.codebook)}`, dtype: 'U8', shape: [bytes.byteLength], bytes };
}

/** What a weight of this dtype was quantized as, and what readers dequantize it to. */
function weightDType(dtype: DType): WeightDType {
  switch (dtype) {
    case 'F16':
      return 'float16';
    case 'BF16':
    case 'F8_E4M3':
    case 'F8_E5M2':
      return 'bfloat16';
    default:
      return 'float32';
  }
}

function configText(model: ModelToWrite): string {
  const linears = plannedLinears(model);
  const [first] = linears;
  const { codebook, nested } = codebookGrid(first.grid);
  const heads = linears.some(({ name }) => name === 'lm_head') ? [] : ['lm_head'];
  const config = bitsandbytesConfig({
    codebook,
    doubleQuant: nested,
    computeDType: weightDType(first.sourceDType),
    skippedModules: [...heads, ...model.skipped],
  });
  return withFloatThreshold(patchedConfigText(model.configText, model.configJson, config));
}

function notes(model: ModelToWrite): string[] {
  const crossing = plannedLinears(model).filter(
    ({ grid, inFeatures }) => inFeatures % codebookGrid(grid).blockSize !== 0,
  );
  if (crossing.length === 0) return [];
  return [
    `blocks of ${crossing.length} linears cross row ends (${crossing[0].name} has ${crossing[0].inFeatures} columns): bitsandbytes 0.50 computes wrongly with such weights or fails on CPUs with AVX-512 or NEON, not on GPUs; a block size that divides the columns avoids it`,
  ];
}
