import type { Command } from 'commander';
import { HalfbyteError } from '../core/errors.js';
import type { DoctorReport, EngineDiagnosis } from '../platform/node/doctor.js';
import { diagnose } from '../platform/node/doctor.js';
import { formatBytes } from '../report/text-table.js';
import { addOutputOptions } from './common-options.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';

export function addDoctor(program: Command, run: VerbRunner): void {
  const command = program
    .command('doctor')
    .description(
      'Tell which engines and adapters are here, what is missing, and whether they compute correctly.',
    );
  addOutputOptions(command)
    .addHelpText('after', '\nExamples:\n  $ halfbyte doctor\n  $ halfbyte doctor --json\n')
    .action((flags: CommonOptions) => run(flags, doctor));
}

async function doctor(session: Session): Promise<void> {
  const report = await diagnose();
  await session.print({ json: report, text: doctorText(report) });
  if (!report.ok)
    throw new HalfbyteError('an engine failed its self-check', {
      advice: 'do not use it: update the GPU driver, or use --device cpu',
    });
}

/** The report as people read it. */
export function doctorText(report: DoctorReport): string {
  return [
    `halfbyte ${report.version}, Node ${report.node}, ${report.platform}, ${report.threads} threads`,
    `--device auto takes: ${report.auto}`,
    '',
    ...report.engines.flatMap(engineLines),
    ...report.missing.flatMap(({ what, consequence, install }) => [
      `missing: ${what} (${consequence})`,
      ...install.map((line) => `    ${line}`),
    ]),
  ].join('\n');
}

/** Limits worth a line; the JSON has all. */
const SHOWN_LIMITS = ['maxStorageBufferBindingSize', 'maxBufferSize', 'maxComputeWorkgroupStorageSize'];

function engineLines({ device, info, selfCheck, error, ok }: EngineDiagnosis): string[] {
  if (info === null) return [`${device}: cannot be opened: ${error ?? 'unknown reason'}`, ''];
  const failed = selfCheck.filter((check) => !check.ok);
  const limits = SHOWN_LIMITS.filter((name) => name in info.limits).map(
    (name) => `${name} ${formatBytes(info.limits[name])}`,
  );
  return [
    `${info.engine} engine on ${info.adapter}${info.software ? ' (software adapter: only when named)' : ''}`,
    ...(info.matrixLibrary === undefined ? [] : [`  matrix products: ${info.matrixLibrary}`]),
    `  precision ${info.precision}; features: ${info.features.length === 0 ? 'none' : info.features.join(', ')}`,
    ...(limits.length === 0 ? [] : [`  limits: ${limits.join(', ')}`]),
    ok
      ? `  self-check: ${selfCheck.length} of ${selfCheck.length} passed`
      : `  self-check FAILED${error === null ? '' : `: ${error}`}`,
    ...failed.map((check) => `    ${check.name}: ${check.detail}`),
    '',
  ];
}
