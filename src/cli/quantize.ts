import { basename } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { UserError } from '../core/errors.js';
import type { Bits } from '../core/quantized-linear.js';
import { FORMAT_NAMES } from '../export/output-format.js';
import type { FormatName } from '../export/output-format.js';
import { openEngine } from '../platform/node/open-engine.js';
import { nodeHost } from '../platform/node/host.js';
import { openBundledCalibration } from '../platform/node/data-files.js';
import { openFileSource } from '../platform/node/files/file-source.js';
import { createOutputFolder } from '../platform/node/files/output-folder.js';
import { checkOutput, resolveNodeModel } from '../platform/node/model-files.js';
import type { VerifyReport } from '../pipeline/verify-model.js';
import type { CalibrationText } from '../pipeline/quantize-model.js';
import { quantizeModel } from '../pipeline/quantize-model.js';
import type { Method, QuantizeSettings } from '../pipeline/quantize-settings.js';
import {
  DEFAULT_SETTINGS as DEFAULTS,
  METHODS,
  isCalibrated,
  isCodebook,
} from '../pipeline/quantize-settings.js';
import type { EngineOptions } from './common-options.js';
import { addEngineOptions, addOutputOptions } from './common-options.js';
import { parseBytes, parseInteger, parseList, parseOneOf, parseShare } from './parse-values.js';
import { quantizeText } from './quantize-text.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';
import { requireVerified, runVerification } from './verify.js';

interface QuantizeFlags extends CommonOptions, EngineOptions {
  readonly out: string;
  readonly method: Method;
  readonly format?: readonly FormatName[];
  readonly bits?: Bits;
  readonly groupSize?: number;
  readonly perTensor?: boolean;
  readonly sym?: boolean;
  readonly asym?: boolean;
  readonly blockSize?: number;
  readonly doubleQuant: boolean;
  readonly actOrder?: boolean;
  readonly groupAwareOrder?: boolean;
  readonly staticGroups?: boolean;
  readonly damp: number;
  readonly range?: 'minmax' | 'mse';
  readonly refine: number;
  readonly calib?: string;
  readonly samples: number;
  readonly seqLen: number;
  readonly seed: number;
  readonly shuffle?: boolean;
  readonly skipUnsupported?: boolean;
  readonly lmHead?: boolean;
  readonly overwrite?: boolean;
  readonly verify: boolean;
  readonly maxShardSize?: number;
}

const BITS: readonly Bits[] = [2, 3, 4, 5, 6, 8];
const BLOCK_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;

export function addQuantize(program: Command, run: VerbRunner): void {
  const command = program
    .command('quantize')
    .description('Quantize a checkpoint and write complete folders or files for the programs that run it.')
    .argument(
      '<model>',
      'a folder, a .safetensors file beside its config.json, or a Hub id owner/name[@revision]',
    )
    .requiredOption('--out <folder>', 'where the quantized folder appears');
  addGridOptions(command);
  addCalibrationOptions(command);
  command
    .addOption(
      new Option(
        '--format <names>',
        `what is written, one or several by commas (codes are computed once; several write OUT/NAME/ each): ${FORMAT_NAMES.filter((name) => name !== 'gguf-f16').join(' ')} (default: bitsandbytes for nf4 and fp4, awq for awq, mlx for hqq, else gptq, or gptq_v2 where asymmetric)`,
      ).argParser(parseList(FORMAT_NAMES)),
    )
    .option(
      '--skip-unsupported',
      'leave linears in 16-bit that the group size or the packing does not divide',
    )
    .option('--lm-head', 'quantize the language-model head as well (refused when tied to the embeddings)')
    .option('--overwrite', 'replace a model folder that stands at --out')
    .option('--max-shard-size <size>', 'largest weight file (default: 5GB)', parseBytes)
    .option('--no-verify', 'do not check the result against the original');
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
  $ halfbyte quantize ./my-model --out ./my-model-nf4 --method nf4
  $ halfbyte quantize ./my-model --out ./my-model-all --group-size 32 --format gptq,gguf-q4_0,onnx-q4,mlx
  $ halfbyte quantize ./my-model --out ./my-model-gguf --format gguf-q4_k
  $ halfbyte quantize ./my-model --out ./my-model-3bit --bits 3 --asym --act-order --device cpu --json > report.json
`;

function addGridOptions(command: Command): void {
  command
    .addOption(
      new Option(
        '--method <name>',
        'gptq and awq are calibrated; rtn (round to nearest), hqq, nf4 and fp4 see only the weights',
      )
        .choices(METHODS)
        .default(DEFAULTS.method),
    )
    .addOption(
      new Option(
        '--bits <n>',
        'bits per code: 2, 3, 4, 5, 6 or 8, as far as the format holds them (default: 4)',
      ).argParser(parseOneOf(BITS)),
    )
    .option(
      '--group-size <n>',
      'columns that share a scale: 16 to 1024, or -1 for one scale per output channel (default: 128, or what the format uses)',
      parseInteger({ min: -1 }),
    )
    .addOption(
      new Option('--per-tensor', 'one scale for every whole matrix').conflicts(['groupSize', 'range']),
    )
    .addOption(new Option('--sym', 'symmetric grid (default, but for awq and hqq)').conflicts('asym'))
    .option('--asym', 'asymmetric grid with zero points')
    .addOption(
      new Option('--block-size <n>', 'elements that share a scale with nf4 and fp4 (default: 64)').argParser(
        parseOneOf(BLOCK_SIZES),
      ),
    )
    .option('--no-double-quant', 'keep the scales of nf4 and fp4 in float32')
    .addOption(new Option('--act-order', 'columns by decreasing activation').conflicts('groupAwareOrder'))
    .addOption(new Option('--group-aware-order', 'groups by decreasing activation; keeps groups contiguous'))
    .option('--static-groups', 'all scales from the original weights before the column loop')
    .option(
      '--damp <share>',
      'damping as a share of the mean diagonal of the Hessian',
      parseShare,
      DEFAULTS.damp,
    )
    .addOption(
      new Option(
        '--range <rule>',
        'how a group finds its range (default: mse for gptq on gguf blocks, else minmax)',
      ).choices(['minmax', 'mse']),
    )
    .option(
      '--refine <sweeps>',
      'refinement sweeps after GPTQ',
      parseInteger({ min: 0, max: 100 }),
      DEFAULTS.refine,
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
  const calibration = isCalibrated(settings.method) ? await openCalibration(flags.calib) : undefined;
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
  const verified: VerifyReport[] = [];
  if (flags.verify)
    for (const { out } of report.outputs)
      verified.push(
        await runVerification({
          model: await resolveNodeModel(out, session),
          reference: files,
          engine,
          session,
        }),
      );
  await session.print({
    json: flags.verify ? { ...report, verify: verified } : report,
    text: quantizeText(report, verified),
  });
  verified.forEach(requireVerified);
}

async function openCalibration(file: string | undefined): Promise<CalibrationText> {
  if (file === undefined)
    return { source: await openBundledCalibration(), label: 'bundled calibration.txt', isDefault: true };
  return { source: await openFileSource(file), label: basename(file) };
}

function settingsOf(flags: QuantizeFlags): QuantizeSettings {
  refuseMisplaced(flags);
  return {
    method: flags.method,
    formats: flags.format ?? [],
    bits: flags.bits,
    groupSize: flags.groupSize,
    ...(flags.perTensor === true ? { perTensor: true } : {}),
    symmetric: flags.sym === true ? true : flags.asym === true ? false : undefined,
    blockSize: flags.blockSize ?? DEFAULTS.blockSize,
    doubleQuant: flags.doubleQuant,
    order: orderOf(flags),
    staticGroups: flags.staticGroups === true,
    damp: flags.damp,
    range: flags.range,
    refine: flags.refine,
    samples: flags.samples,
    seqLen: flags.seqLen,
    seed: flags.seed,
    shuffle: flags.shuffle === true,
    skipUnsupported: flags.skipUnsupported === true,
    lmHead: flags.lmHead === true,
    ...(flags.maxShardSize === undefined ? {} : { maxShardBytes: flags.maxShardSize }),
  };
}

function orderOf(flags: QuantizeFlags): QuantizeSettings['order'] {
  return flags.actOrder === true ? 'act' : flags.groupAwareOrder === true ? 'group-aware' : 'natural';
}

/** Flags that the method would silently ignore. */
function refuseMisplaced(flags: QuantizeFlags): void {
  const { method } = flags;
  const misplaced = (rules: readonly (readonly [string, boolean])[]): string[] =>
    rules.filter(([, used]) => used).map(([name]) => name);
  const refuse = (names: readonly string[], why: string, instead: string): void => {
    if (names.length > 0)
      throw new UserError(`${names.join(', ')} has no meaning with --method ${method}, which ${why}`, {
        advice: `leave it out, or use ${instead}`,
      });
  };
  if (method !== 'gptq')
    refuse(
      misplaced([
        ['--act-order or --group-aware-order', orderOf(flags) !== 'natural'],
        ['--static-groups', flags.staticGroups === true],
        ['--refine', flags.refine > 0],
      ]),
      'has no column loop',
      '--method gptq',
    );
  if (!isCalibrated(method))
    refuse(
      misplaced([
        ['--calib', flags.calib !== undefined],
        ['--shuffle', flags.shuffle === true],
      ]),
      'uses no calibration',
      '--method gptq',
    );
  if (method === 'hqq' || method === 'awq')
    refuse(misplaced([['--range', flags.range !== undefined]]), 'finds its own ranges', '--method rtn');
  if (isCodebook(method))
    refuse(
      misplaced([
        ['--bits', flags.bits !== undefined && flags.bits !== 4],
        ['--group-size or --per-tensor', flags.groupSize !== undefined || flags.perTensor === true],
        ['--sym or --asym', flags.sym === true || flags.asym === true],
        ['--range', flags.range !== undefined],
      ]),
      'has a codebook of 4 bits and blocks',
      '--block-size',
    );
  else
    refuse(
      misplaced([
        ['--block-size', flags.blockSize !== undefined],
        ['--no-double-quant', !flags.doubleQuant],
      ]),
      'has groups, not blocks',
      '--method nf4',
    );
}
