import { createHash, randomBytes } from 'node:crypto';
import { hostname } from 'node:os';

/**
 * Names of unfinished things: which process on which machine made them. What a dead process left can then be recognised
 * and removed, and what a living one (or another machine on a shared disk) is still writing is left alone.
 */
export type PartialKind = 'partial' | 'replaced';

/** ".NAME.partial-<host>-<pid>-<random>", hidden and beside NAME. */
export function partialName(name: string, kind: PartialKind): string {
  return `.${name}.${kind}-${ownerTag()}-${randomBytes(4).toString('hex')}`;
}

/** "<host>-<pid>" of this process; the host as six hex digits of a hash. */
export function ownerTag(): string {
  return `${hostTag()}-${process.pid}`;
}

/** True when `entry` is an unfinished `kind` of `name` whose process on this machine is gone. */
export function isStale(entry: string, name: string, kind: PartialKind): boolean {
  const prefix = `.${name}.${kind}-`;
  if (!entry.startsWith(prefix)) return false;
  const match = /^([0-9a-f]{6})-(\d+)-[0-9a-f]{8}$/.exec(entry.slice(prefix.length));
  return match !== null && isDeadOwner(match[1], Number(match[2]));
}

/** True when the tag is of this machine and its process no longer exists. */
export function isDeadOwner(host: string, pid: number): boolean {
  return host === hostTag() && pid !== process.pid && !processExists(pid);
}

function hostTag(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 6);
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it exists and belongs to somebody else. Anything but "no such process" counts as alive.
    return !(error instanceof Error && 'code' in error && error.code === 'ESRCH');
  }
}
