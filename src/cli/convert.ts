import type { Command } from 'commander';
import { Option } from 'commander';
import { FORMAT_NAMES } from '../export/output-format.js';
import type { FormatName } from '../export/output-format.js';
import type { ConvertReport } from '../pipeline/convert-model.js';
import { convertModel } from '../pipeline/convert-model.js';
import type { VerifyReport } from '../pipeline/verify-model.js';
import { createOutputFolder } from '../platform/node/files/output-folder.js';
import { nodeHost } from '../platform/node/host.js';
import { checkOutput, resolveNodeModel } from '../platform/node/model-files.js';
import { openEngine } from '../platform/node/open-engine.js';
import { formatBytes } from '../report/text-table.js';
import type { EngineOptions } from './common-options.js';
import { addEngineOptions, addOutputOptions } from './common-options.js';
import { parseBytes } from './parse-values.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';
import { requireVerified, runVerification, verifyText } from './verify.js';

interface ConvertFlags extends CommonOptions, EngineOptions {
  readonly to: FormatName;
  readonly out: string;
  readonly requantize?: boolean;
  readonly overwrite?: boolean;
  readonly maxShardSize?: number;
  readonly verify: boolean;
}

const EXAMPLES = `
Codes are packed anew, not computed anew: a grid that the target cannot hold exactly is refused with the formats that can.

Examples:
  $ halfbyte convert ./my-model-gptq --to mlx --out ./my-model-mlx
  $ halfbyte convert ./my-model.gguf --to hf --out ./my-model-16bit
  $ halfbyte convert ./my-model-nf4 --to gguf-q4_0 --out ./my-model-gguf --requantize
`;

export function addConvert(program: Command, run: VerbRunner): void {
  const command = program
    .command('convert')
    .description('Write the codes of a quantized model in another format.')
    .argument('<model>', 'a folder, a .safetensors or .gguf file, or a Hub id owner/name[@revision]')
    .addOption(new Option('--to <name>', 'format of the output').choices(FORMAT_NAMES).makeOptionMandatory())
    .requiredOption('--out <folder>', 'where the converted folder appears')
    .option(
      '--requantize',
      'round codes anew where the target cannot hold them; the extra divergence is printed',
    )
    .option('--overwrite', 'replace a model folder that stands at --out')
    .option('--max-shard-size <size>', 'largest weight file (default: 5GB)', parseBytes)
    .option('--no-verify', 'do not check the result');
  addOutputOptions(addEngineOptions(command))
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: ConvertFlags) => run(flags, (session) => convert(model, flags, session)));
}

async function convert(model: string, flags: ConvertFlags, session: Session): Promise<void> {
  const { signal, onProgress, onNotice } = session;
  const overwrite = flags.overwrite === true;
  await checkOutput({ out: flags.out, model, overwrite });
  const files = await resolveNodeModel(model, session);
  const engine = await openEngine({ ...flags, onNotice });
  session.useEngine(engine);
  const report = await convertModel({
    model: files,
    to: flags.to,
    requantize: flags.requantize === true,
    engine,
    openOutput: (expectedBytes) => createOutputFolder(flags.out, { overwrite, expectedBytes }),
    host: nodeHost(),
    signal,
    onProgress,
    onNotice,
    ...(flags.maxShardSize === undefined ? {} : { maxShardBytes: flags.maxShardSize }),
  });
  const written = await resolveNodeModel(report.out, session);
  const verified = flags.verify
    ? await runVerification({ model: written, reference: files, engine, session })
    : undefined;
  await session.print({
    json: verified === undefined ? report : { ...report, verify: verified },
    text: convertText(report, verified),
  });
  if (verified !== undefined) requireVerified(verified);
}

export function convertText(report: ConvertReport, verified: VerifyReport | undefined): string {
  const { from, to, bytes, bitsPerWeight, kept, requantized, expanded, out } = report;
  const kld = verified?.evaluation?.reference?.kld.mean;
  return [
    ...(verified === undefined ? [] : [verifyText(verified), '']),
    `${from} → ${to}: ${kept} modules taken over code by code`,
    ...(requantized.length === 0
      ? []
      : [
          `${requantized.length} modules rounded anew${kld === undefined ? '' : `, which adds a KLD of ${kld.toExponential(2)}`}`,
        ]),
    ...(expanded.length === 0 ? [] : [`${expanded.length} modules written as plain numbers`]),
    `${formatBytes(bytes)}, ${bitsPerWeight.toFixed(3)} bits per weight, written to ${out}`,
  ].join('\n');
}
