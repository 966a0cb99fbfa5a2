import { AbortError, Bug, HalfbyteError, UserError } from '../core/errors.js';

export const EXIT_OK = 0;
export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;
/** 128 + SIGINT. */
export const EXIT_INTERRUPTED = 130;

export function exitCodeOf(error: unknown): number {
  if (error instanceof AbortError) return EXIT_INTERRUPTED;
  if (error instanceof UserError) return EXIT_USAGE;
  return EXIT_FAILURE;
}

/** What a person sees of an error: one line of message, one of advice; a stack only where the fault is ours. */
export function errorText(error: unknown, withStack: boolean): string {
  if (!(error instanceof Error)) return `halfbyte: ${String(error)}\n`;
  const ours = error instanceof Bug || !(error instanceof HalfbyteError);
  const advice = error instanceof HalfbyteError ? error.advice : undefined;
  const lines = [`halfbyte: ${error.message}`];
  if (advice !== undefined) lines.push(`  → ${advice}`);
  else if (ours)
    lines.push('  → this looks like a mistake in halfbyte: please report it with the lines below');
  if (withStack || ours) lines.push(error.stack ?? '', ...causeLines(error));
  return `${lines.join('\n')}\n`;
}

function causeLines(error: Error): string[] {
  return error.cause instanceof Error ? [`caused by ${error.cause.stack ?? error.cause.message}`] : [];
}
