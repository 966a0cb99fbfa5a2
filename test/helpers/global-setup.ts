import { spawnSync } from 'node:child_process';
import { buildShaders } from '../../scripts/build-shaders.js';

/** Tests read the same generated shader module as the package; a missing adapter is told after the last test. */
export default function setup(): () => void {
  buildShaders();
  const probe = ['--import', 'tsx', new URL('adapter-notice.ts', import.meta.url).pathname];
  const { stdout } = spawnSync(process.execPath, probe, { encoding: 'utf8' });
  return () => {
    process.stdout.write(stdout);
  };
}
