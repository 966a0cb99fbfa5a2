import type { Command } from 'commander';
import type { InspectReport } from '../pipeline/inspect-model.js';
import { inspectModel } from '../pipeline/inspect-model.js';
import { resolveNodeModel } from '../platform/node/model-files.js';
import { formatBytes, textTable } from '../report/text-table.js';
import { addOutputOptions } from './common-options.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';

interface InspectFlags extends CommonOptions {
  readonly tensors?: boolean;
}

const EXAMPLES = `
Examples:
  $ halfbyte inspect ./my-model-4bit
  $ halfbyte inspect Qwen/Qwen3-0.6B --no-tensors
  $ halfbyte inspect ./my-model --json
`;

export function addInspect(program: Command, run: VerbRunner): void {
  const command = program
    .command('inspect')
    .description(
      'Architecture, tensors, dtypes, sizes, quantization and bits per weight; reads headers only.',
    )
    .argument('<path>', 'a folder, a .safetensors file, or a Hub id owner/name[@revision]')
    .option('--no-tensors', 'leave the list of tensors out of the text');
  addOutputOptions(command)
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: InspectFlags) => run(flags, (session) => inspect(model, flags, session)));
}

async function inspect(model: string, flags: InspectFlags, session: Session): Promise<void> {
  const report = await inspectModel(await resolveNodeModel(model, session), session.signal);
  await session.print({ json: report, text: inspectText(report, flags.tensors !== false) });
}

/** The report as people read it. */
export function inspectText(report: InspectReport, withTensors: boolean): string {
  const { config, quantization } = report;
  const dtypes = Object.entries(report.dtypes).map(
    ([dtype, { tensors, bytes }]) => `${dtype} ${tensors} (${formatBytes(bytes)})`,
  );
  const revision = report.revision === null ? '' : ` at ${report.revision}`;
  return [
    ...(withTensors ? [tensorTable(report), ''] : []),
    `${report.model}${revision}: ${report.architecture ?? 'unknown architecture'}`,
    ...(config === null
      ? [`halfbyte cannot run it: ${report.unsupported ?? 'unknown reason'}`]
      : [
          `${config.layers} layers, hidden ${config.hiddenSize}, intermediate ${config.intermediateSize}, ${config.heads} heads (${config.keyValueHeads} key/value), vocabulary ${config.vocabSize}, ${config.maxPositions} positions, ${config.tiedEmbeddings ? 'tied' : 'separate'} head`,
        ]),
    `${report.parameters} weights in ${report.files} file${report.files === 1 ? '' : 's'}, ${formatBytes(report.bytes)}, ${report.bitsPerWeight.toFixed(3)} bits per weight`,
    `dtypes: ${dtypes.join(', ')}`,
    quantizationLine(quantization),
  ].join('\n');
}

function tensorTable({ tensors }: InspectReport): string {
  const rows = tensors.map(({ name, dtype, shape, bytes, file }) => [
    name,
    dtype,
    `[${shape.join(', ')}]`,
    formatBytes(bytes),
    file,
  ]);
  return textTable(['tensor', 'dtype', 'shape', 'size', 'file'], rows);
}

function quantizationLine(quantization: InspectReport['quantization']): string {
  if (quantization === null) return 'quantization: none';
  const { method, bits, groupSize, symmetric, format, linears, bitsPerWeight } = quantization;
  if (bits === null) return `quantization: ${method}`;
  return `quantization: ${method} (${format ?? 'unknown format'}), ${bits}-bit, group size ${groupSize ?? '?'}, ${symmetric === false ? 'asymmetric' : 'symmetric'}, ${linears} linears at ${bitsPerWeight === null ? '?' : bitsPerWeight.toFixed(3)} bits per weight`;
}
