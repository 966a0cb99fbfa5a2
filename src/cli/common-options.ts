import type { Command } from 'commander';
import { parseBytes, parseInteger } from './parse-values.js';

/** Options of the verbs that compute. */
export interface EngineOptions {
  readonly device: string;
  readonly gpuMemory?: number;
  readonly threads?: number;
}

export function addEngineOptions(command: Command): Command {
  return command
    .option(
      '--device <name>',
      'auto (a real GPU, else cpu), cpu, cpu-f64 (the float64 oracle), or part of an adapter name; software adapters only by name',
      'auto',
    )
    .option('--gpu-memory <size>', 'budget for tensors on the engine, such as 6GB', parseBytes)
    .option('--threads <n>', 'threads of the cpu engine (default: all cores)', parseInteger({ min: 1 }));
}

export function addOutputOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on stdout')
    .option('--quiet', 'no progress and no notices on stderr')
    .option('--no-progress', 'no progress line on stderr');
}
