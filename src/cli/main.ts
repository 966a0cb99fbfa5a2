#!/usr/bin/env node
import { CommanderError } from 'commander';
import { readEnvironment } from '../platform/node/options.js';
import { EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, errorText, exitCodeOf } from './print-error.js';
import { buildProgram } from './program.js';
import { openSession, writeAll } from './session.js';
import type { VerbRunner } from './verb.js';

/**
 * The binary. Ctrl-C asks the running verb to stop and clean up; a second one ends the process at once. The process is
 * always ended by hand at the end, because the WebGPU binding keeps it alive otherwise.
 */
async function main(): Promise<number> {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(EXIT_INTERRUPTED);
    controller.abort(new Error('interrupted by a signal'));
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  // A reader that went away (`halfbyte … | head`) is no failure of ours; the write that found out rejects anyway.
  process.stdout.on('error', () => undefined);

  const run: VerbRunner = async (options, body) => {
    const session = openSession(options, controller.signal);
    try {
      await body(session);
    } finally {
      await session.close();
    }
  };
  try {
    await buildProgram(run).parseAsync(process.argv);
    return EXIT_OK;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_OK : EXIT_USAGE;
    await writeAll(process.stderr, errorText(error, readEnvironment().debug));
    return controller.signal.aborted ? EXIT_INTERRUPTED : exitCodeOf(error);
  }
}

process.exit(await main());
