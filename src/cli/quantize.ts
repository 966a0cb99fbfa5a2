import { basename } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { UserError } from '../core/errors.js';
import type { Bits } from '../engine/quant.js';
import { openEngine } from '../platform/node/open-engine.js';
import { nodeHost } from '../platform/node/host.js';
import { openBundledCalibration } from '../platform/node/data-files.js';
import { openFileSource } from '../platform/node/files/file-source.js';
import { createOutputFolder } from '../platform/node/files/output-folder.js';
import { checkOutput, resolveNodeModel } from '../platform/node/model-files.js';
import type { CalibrationText } from '../pipeline/quantize-model.js';
import { quantizeModel } from '../pipeline/quantize-model.js';
import type { QuantizeSettings } from '../pipeline/quantize-settings.js';
import { DEFAULT_SETTINGS as DEFAULTS } from '../pipeline/quantize-settings.js';
import type { EngineOptions } from './common-options.js';
import { addEngineOptions, addOutputOptions } from './common-options.js';
import { parseBytes, parseInteger, parseOneOf, parseShare } from './parse-values.js';
import { quantizeText } from './quantize-text.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';

interface QuantizeFlags extends CommonOptions, EngineOptions {
  readonly out: string;
  readonly method: 'gptq' | 'rtn';
  readonly bits: Bits;
  readonly groupSize: number;
  readonly asym?: boolean;
  readonly actOrder?: boolean;
  readonly groupAwareOrder?: boolean;
  readonly staticGroups?: boolean;
  readonly damp: number;
  readonly range: 'minmax' | 'mse';
  readonly refine: number;
  readonly calib?: string;
  readonly samples: number;
  readonly seqLen: number;
  readonly seed: number;
  readonly shuffle?: boolean;
  readonly skipUnsupported?: boolean;
  readonly lmHead?: boolean;
  readonly overwrite?: boolean;
  readonly maxShardSize?: number;
}

const BITS: readonly Bits[] = [2, 3, 4, 8];

export function addQuantize(program: Command, run: VerbRunner): void {
  const command = program
    .command('quantize')
    .description('Quantize a checkpoint and write a complete GPTQ folder.')
    .argument(
      '<model>',
      'a folder, a .safetensors file beside its config.json, or a Hub id owner/name[@revision]',
    )
    .requiredOption('--out <folder>', 'where the quantized folder appears');
  addGridOptions(command);
  addCalibrationOptions(command);
  command
    .addOption(new Option('--format <name>', 'format of the output').choices(['gptq']).default('gptq'))
    .option(
      '--skip-unsupported',
      'leave linears in 16-bit that the group size or the packing does not divide',
    )
    .option('--lm-head', 'quantize the language-model head as well (refused when tied to the embeddings)')
    .option('--overwrite', 'replace a model folder that stands at --out')
    .option('--max-shard-size <size>', 'largest weight file (default: 5GB)', parseBytes);
  addOutputOptions(addEngineOptions(command));
  command
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: QuantizeFlags) =>
      run(flags, (session) => quantize(model, flags, session)),
    );
}

const EXAMPLES = `
Linears are quantized in true-sequential order: each sees inputs computed through the parts already quantized.

Examples:
  $ halfbyte quantize TinyLlama/TinyLlama-1.1B-Chat-v1.0 --out tinyllama-4bit
  $ halfbyte quantize ./my-model --out ./my-model-4bit --calib my-text.jsonl --samples 256 --refine 2
  $ halfbyte quantize ./my-model --out ./my-model-rtn --method rtn --bits 8 --group-size -1
  $ halfbyte quantize ./my-model --out ./my-model-3bit --bits 3 --asym --act-order --device cpu --json > report.json
`;

function addGridOptions(command: Command): void {
  command
    .addOption(
      new Option('--method <name>', 'gptq, or rtn: round to nearest, no calibration')
        .choices(['gptq', 'rtn'])
        .default(DEFAULTS.spec.method),
    )
    .addOption(
      new Option('--bits <n>', 'bits per code: 2, 3, 4 or 8')
        .argParser(parseOneOf(BITS))
        .default(DEFAULTS.spec.bits),
    )
    .option(
      '--group-size <n>',
      'columns that share a scale: 16 to 1024, or -1 for one scale per output channel',
      parseInteger({ min: -1 }),
      DEFAULTS.spec.groupSize,
    )
    .option('--asym', 'asymmetric grid (written as gptq_v2)')
    .addOption(new Option('--act-order', 'columns by decreasing activation').conflicts('groupAwareOrder'))
    .addOption(new Option('--group-aware-order', 'groups by decreasing activation; keeps groups contiguous'))
    .option('--static-groups', 'all scales from the original weights before the column loop')
    .option(
      '--damp <share>',
      'damping as a share of the mean diagonal of the Hessian',
      parseShare,
      DEFAULTS.spec.damp,
    )
    .addOption(
      new Option('--range <rule>', 'how a group finds its range')
        .choices(['minmax', 'mse'])
        .default(DEFAULTS.spec.range),
    )
    .option(
      '--refine <sweeps>',
      'refinement sweeps after GPTQ',
      parseInteger({ min: 0, max: 100 }),
      DEFAULTS.spec.refine,
    );
}

function addCalibrationOptions(command: Command): void {
  command
    .option(
      '--calib <file>',
      'calibration text: .txt, or .jsonl with a text field (default: a small bundled English text)',
    )
    .option('--samples <n>', 'calibration windows', parseInteger({ min: 1 }), DEFAULTS.samples)
    .option(
      '--seq-len <n>',
      'tokens per window; capped at the maximum of the model',
      parseInteger({ min: 2 }),
      DEFAULTS.seqLen,
    )
    .option('--seed <n>', 'seed of --shuffle', parseInteger({ min: 0, max: 2 ** 32 - 1 }), DEFAULTS.seed)
    .option('--shuffle', 'pick windows from the whole text instead of its beginning');
}

async function quantize(model: string, flags: QuantizeFlags, session: Session): Promise<void> {
  const settings = settingsOf(flags);
  const { signal, onProgress, onNotice } = session;
  const overwrite = flags.overwrite === true;
  await checkOutput({ out: flags.out, model, overwrite });
  const calibration = settings.spec.method === 'rtn' ? undefined : await openCalibration(flags.calib);
  const files = await resolveNodeModel(model, session);
  const engine = await openEngine({ ...flags, onNotice });
  session.useEngine(engine);
  const report = await quantizeModel({
    model: files,
    engine,
    openOutput: (expectedBytes) => createOutputFolder(flags.out, { overwrite, expectedBytes }),
    settings,
    ...(calibration === undefined ? {} : { calibration }),
    host: nodeHost(),
    signal,
    onProgress,
    onNotice,
  });
  await session.print({ json: report, text: quantizeText(report) });
}

async function openCalibration(file: string | undefined): Promise<CalibrationText> {
  if (file === undefined)
    return { source: await openBundledCalibration(), label: 'bundled calibration.txt', isDefault: true };
  return { source: await openFileSource(file), label: basename(file) };
}

function settingsOf(flags: QuantizeFlags): QuantizeSettings {
  const order = flags.actOrder === true ? 'act' : flags.groupAwareOrder === true ? 'group-aware' : 'natural';
  const gptqOnly = [
    ['--act-order or --group-aware-order', order !== 'natural'],
    ['--refine', flags.refine > 0],
    ['--calib', flags.calib !== undefined],
    ['--shuffle', flags.shuffle === true],
  ] as const;
  const misplaced = gptqOnly.filter(([, used]) => used).map(([name]) => name);
  if (flags.method === 'rtn' && misplaced.length > 0)
    throw new UserError(
      `${misplaced.join(', ')} has no meaning with --method rtn, which uses no calibration`,
      {
        advice: 'leave it out, or use --method gptq',
      },
    );
  return {
    spec: {
      method: flags.method,
      bits: flags.bits,
      groupSize: flags.groupSize,
      rule: flags.asym === true ? 'asymmetric' : 'symmetric',
      order,
      staticGroups: flags.staticGroups === true,
      damp: flags.damp,
      range: flags.range,
      refine: flags.refine,
    },
    samples: flags.samples,
    seqLen: flags.seqLen,
    seed: flags.seed,
    shuffle: flags.shuffle === true,
    skipUnsupported: flags.skipUnsupported === true,
    lmHead: flags.lmHead === true,
    ...(flags.maxShardSize === undefined ? {} : { maxShardBytes: flags.maxShardSize }),
  };
}
