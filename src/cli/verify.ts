import type { Command } from 'commander';
import { FormatError } from '../core/errors.js';
import type { Engine } from '../engine/engine.js';
import type { ResolvedModel } from '../hub/index.js';
import type { VerifyReport } from '../pipeline/verify-model.js';
import { verifyModel } from '../pipeline/verify-model.js';
import { openBundledCalibration } from '../platform/node/data-files.js';
import { nodeHost } from '../platform/node/host.js';
import { resolveNodeModel } from '../platform/node/model-files.js';
import { openEngine } from '../platform/node/open-engine.js';
import { textTable } from '../report/text-table.js';
import type { EngineOptions } from './common-options.js';
import { addEngineOptions, addOutputOptions } from './common-options.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';

interface VerifyFlags extends CommonOptions, EngineOptions {
  readonly reference?: string;
}

const EXAMPLES = `
Checked are: weights for every layer, index, tied heads, tokenizer, chat template, every value finite and in range, the
hashes of halfbyte.json, and a short forward pass. Exit code 1 when anything is wrong.

Examples:
  $ halfbyte verify ./my-model-4bit
  $ halfbyte verify ./my-model-4bit --reference ./my-model --json
`;

export function addVerify(program: Command, run: VerbRunner): void {
  const command = program
    .command('verify')
    .description('Check that a model folder is complete and undamaged, and how far it is from its original.')
    .argument('<model>', 'a folder, a .safetensors or .gguf file, or a Hub id owner/name[@revision]')
    .option('--reference <model>', 'the model it was made from, for a short divergence');
  addOutputOptions(addEngineOptions(command))
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: VerifyFlags) => run(flags, (session) => verify(model, flags, session)));
}

async function verify(model: string, flags: VerifyFlags, session: Session): Promise<void> {
  const files = await resolveNodeModel(model, session);
  const reference =
    flags.reference === undefined ? undefined : await resolveNodeModel(flags.reference, session);
  const engine = await openEngine({ ...flags, onNotice: session.onNotice });
  session.useEngine(engine);
  const report = await runVerification({ model: files, reference, engine, session });
  await session.print({ json: report, text: verifyText(report) });
  requireVerified(report);
}

/** The checks with the bundled text as what the forward pass reads. */
export async function runVerification(options: {
  readonly model: ResolvedModel;
  readonly reference: ResolvedModel | undefined;
  readonly engine: Engine;
  readonly session: Session;
}): Promise<VerifyReport> {
  const { model, reference, engine, session } = options;
  const { createHasher } = nodeHost();
  return verifyModel({
    model,
    engine,
    text: await openBundledCalibration(),
    signal: session.signal,
    onProgress: session.onProgress,
    ...(reference === undefined ? {} : { reference }),
    ...(createHasher === undefined ? {} : { createHasher }),
  });
}

/** FormatError naming every check that failed. */
export function requireVerified(report: VerifyReport): void {
  if (report.ok) return;
  const failed = report.checks.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`);
  throw new FormatError(`${failed.length} of ${report.checks.length} checks failed: ${failed.join('; ')}`, {
    file: report.model,
    advice: 'make the folder again, or fetch it again',
  });
}

export function verifyText({ checks }: VerifyReport): string {
  return textTable(
    ['check', 'result', 'found'],
    checks.map(({ name, ok, detail }) => [name, ok ? 'ok' : 'FAILED', detail]),
  );
}
