import { basename } from 'node:path';
import type { Command } from 'commander';
import type { Evaluation } from '../eval/index.js';
import { evaluateModel } from '../pipeline/evaluate-model.js';
import { resolveNodeModel } from '../platform/node/model-files.js';
import { openFileSource } from '../platform/node/files/file-source.js';
import { openEngine } from '../platform/node/open-engine.js';
import { formatFigure, textTable } from '../report/text-table.js';
import type { EngineOptions } from './common-options.js';
import { addEngineOptions, addOutputOptions } from './common-options.js';
import { parseInteger } from './parse-values.js';
import type { CommonOptions, Session } from './session.js';
import type { VerbRunner } from './verb.js';

interface EvaluateFlags extends CommonOptions, EngineOptions {
  readonly text: string;
  readonly reference?: string;
  readonly seqLen: number;
  readonly maxWindows?: number;
}

const EXAMPLES = `
Windows follow one another without overlap, no special tokens are added, the first token of each is not scored.

Examples:
  $ halfbyte evaluate ./my-model-4bit --text wiki.txt
  $ halfbyte evaluate ./my-model-4bit --reference ./my-model --text wiki.txt --max-windows 20 --json
`;

export function addEvaluate(program: Command, run: VerbRunner): void {
  const command = program
    .command('evaluate')
    .description('Perplexity of a 16-bit or GPTQ model on a text, and its divergence from a reference.')
    .argument(
      '<model>',
      'a folder, a .safetensors file beside its config.json, or a Hub id owner/name[@revision]',
    )
    .requiredOption('--text <file>', 'evaluation text: .txt, or .jsonl with a text field')
    .option('--reference <model>', 'the model to compare with, usually the original')
    .option(
      '--seq-len <n>',
      'tokens per window; capped at the maximum of the model',
      parseInteger({ min: 2 }),
      2048,
    )
    .option('--max-windows <n>', 'only the first windows of the text', parseInteger({ min: 1 }));
  addOutputOptions(addEngineOptions(command))
    .addHelpText('after', EXAMPLES)
    .action((model: string, flags: EvaluateFlags) =>
      run(flags, (session) => evaluate(model, flags, session)),
    );
}

async function evaluate(model: string, flags: EvaluateFlags, session: Session): Promise<void> {
  const { signal, onProgress, onNotice } = session;
  const text = await openFileSource(flags.text);
  const files = await resolveNodeModel(model, session);
  const reference =
    flags.reference === undefined ? undefined : await resolveNodeModel(flags.reference, session);
  const engine = await openEngine({ ...flags, onNotice });
  session.useEngine(engine);
  const result = await evaluateModel({
    model: files,
    ...(reference === undefined ? {} : { reference }),
    engine,
    text,
    textName: basename(flags.text),
    seqLen: flags.seqLen,
    ...(flags.maxWindows === undefined ? {} : { maxWindows: flags.maxWindows }),
    signal,
    onProgress,
    onNotice,
  });
  await session.print({ json: result, text: evaluationText(result) });
}

/** The result as people read it, the protocol included: without it two figures cannot be compared. */
export function evaluationText({ perplexity, tokens, protocol, reference }: Evaluation): string {
  const rows: [string, string][] = [['perplexity', formatFigure(perplexity, 6)]];
  if (reference !== undefined) {
    const { kld } = reference;
    rows.push(
      ['perplexity of the reference', formatFigure(reference.perplexity, 6)],
      [
        'ln ratio of perplexities',
        `${formatFigure(reference.lnPplRatio)} ± ${formatFigure(reference.lnPplRatioStdErr)}`,
      ],
      ['KLD mean', formatFigure(kld.mean)],
      ['KLD median', formatFigure(kld.median)],
      ['KLD 99th percentile', formatFigure(kld.p99)],
      ['KLD max', formatFigure(kld.max)],
      ['RMS change of p(true token)', formatFigure(reference.rmsDeltaP)],
      ['same most likely token', `${(reference.sameTop * 100).toFixed(2)} %`],
    );
  }
  const { windows, seqLen, stride, dtype, text, sha256 } = protocol;
  return [
    textTable(['figure', 'value'], rows),
    '',
    `protocol: ${text} (sha256 ${sha256}), ${windows} windows of ${seqLen} tokens, stride ${stride}, ${tokens} tokens scored, no special tokens, ${dtype}`,
  ].join('\n');
}
