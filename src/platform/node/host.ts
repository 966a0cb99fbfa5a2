import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';

/** Facts about this process and machine. */

/** Resident bytes of the process now. */
export function currentRssBytes(): number {
  return process.memoryUsage.rss();
}

/** Most resident bytes the process ever had; getrusage counts in units of 1024 bytes on every platform of Node. */
export function peakRssBytes(): number {
  return process.resourceUsage().maxRSS * 1024;
}

/** Threads worth starting: cores this process may use, containers' limits counted. */
export function defaultThreads(): number {
  return Math.max(1, availableParallelism());
}

/** SHA-256 in native code, five to ten times the plain one. */
export function createNativeSha256(): { update(bytes: Uint8Array): void; digest(): string } {
  const hash = createHash('sha256');
  return {
    update: (bytes) => {
      hash.update(bytes);
    },
    digest: () => hash.digest('hex'),
  };
}

/** Version of the package, from the package.json beside src/ or dist/. */
export function packageVersion(): string {
  const file = new URL('../../../package.json', import.meta.url);
  const parsed = JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string };
  return parsed.version;
}

/** What `quantizeModel` asks of its platform, for Node. */
export function nodeHost(): {
  readonly version: string;
  readonly createHasher: typeof createNativeSha256;
  readonly peakRssBytes: typeof peakRssBytes;
} {
  return { version: packageVersion(), createHasher: createNativeSha256, peakRssBytes };
}
