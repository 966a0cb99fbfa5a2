// The door for a fresh clone: `npm run quickstart` and `npm test` come here. Installs dependencies when they are missing or
// older than the lock file, builds, then hands over. Plain JavaScript and Node built-ins only: nothing is installed yet.
import { spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

const [major, minor] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(
    `halfbyte needs Node >= 20.19; this is ${process.versions.node}. See https://nodejs.org\n`,
  );
  process.exit(1);
}

function run(command, args, env = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
    shell: process.platform === 'win32',
  });
  if (result.error) throw result.error;
  if (result.status !== 0) process.exit(result.status ?? 1);
}

function installed() {
  const marker = `${root}/node_modules/.package-lock.json`;
  return existsSync(marker) && statSync(marker).mtimeMs >= statSync(`${root}/package-lock.json`).mtimeMs;
}

const [verb, ...rest] = process.argv.slice(2);
if (!installed()) {
  // onnxruntime-node would otherwise try to download CUDA libraries that halfbyte never uses.
  run('npm', ['ci', '--no-audit', '--no-fund'], { ONNXRUNTIME_NODE_INSTALL: 'skip' });
} else {
  run(process.execPath, ['scripts/build.mjs']);
}

const tools = {
  quickstart: ['--import', 'tsx', 'scripts/quickstart.ts'],
  test: ['node_modules/vitest/vitest.mjs', 'run'],
  bench: ['--import', 'tsx', 'scripts/bench/bench.ts'],
  accuracy: ['--import', 'tsx', 'scripts/accuracy.ts'],
};
if (!(verb in tools)) {
  process.stderr.write(`setup: unknown verb "${verb}"; one of ${Object.keys(tools).join(', ')}\n`);
  process.exit(2);
}
run(process.execPath, [...tools[verb], ...rest]);
