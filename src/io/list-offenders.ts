/** More lines than this help nobody; the rest is counted. */
const MAX_LISTED = 20;

/** All offenders, one per line and indented, the list cut after twenty with a count of the rest. */
export function listOffenders(offenders: readonly string[]): string {
  const lines = offenders.slice(0, MAX_LISTED).map((offender) => `\n  - ${offender}`);
  const rest = offenders.length - MAX_LISTED;
  return lines.join('') + (rest > 0 ? `\n  … and ${rest} more` : '');
}
