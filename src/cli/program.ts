import { Command } from 'commander';
import { packageVersion } from '../platform/node/host.js';
import { addConvert } from './convert.js';
import { addDoctor } from './doctor.js';
import { addEvaluate } from './evaluate.js';
import { addInspect } from './inspect.js';
import { addQuantize } from './quantize.js';
import { addVerify } from './verify.js';
import type { VerbRunner } from './verb.js';

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

Examples:
  $ halfbyte doctor
  $ halfbyte quantize ./my-model --out ./my-model-4bit
  $ halfbyte quantize ./my-model --out ./my-model-gguf --format gguf-q4_k
  $ halfbyte convert ./my-model-4bit --to mlx --out ./my-model-mlx
  $ halfbyte verify ./my-model-4bit --reference ./my-model
  $ halfbyte evaluate ./my-model-4bit --reference ./my-model --text wiki.txt
  $ halfbyte inspect ./my-model-4bit
`;

/** The command line: every verb with its options. Wrong usage throws CommanderError after its message is printed. */
export function buildProgram(run: VerbRunner): Command {
  const program = new Command('halfbyte')
    .description(
      'Quantize Hugging Face checkpoints to 4 bits for every local runtime, on any WebGPU device or on the CPU.',
    )
    .version(packageVersion(), '--version', 'print the version')
    .helpCommand(true)
    .configureOutput({
      outputError: (text, write) => {
        write(text.replace(/^error: /, 'halfbyte: '));
      },
    })
    .showHelpAfterError('  → halfbyte help lists all verbs and options')
    .exitOverride()
    .addHelpText('after', EXIT_CODES);
  addQuantize(program, run);
  addConvert(program, run);
  addVerify(program, run);
  addEvaluate(program, run);
  addInspect(program, run);
  addDoctor(program, run);
  return program;
}
