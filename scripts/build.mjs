// Builds dist/: shaders become one TypeScript module, TypeScript becomes JavaScript. Runs on `npm ci` (prepare), so that
// `npx halfbyte` works from a clone. Plain JavaScript because nothing is compiled yet when it starts.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

function run(...args) {
  const result = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

// `npm pack` and `npm ci --omit=dev` run without the compiler: then a dist/ must be there already.
if (!existsSync(`${root}/node_modules/typescript`)) {
  if (existsSync(`${root}/dist/cli/main.js`)) process.exit(0);
  process.stderr.write(
    'halfbyte: dist/ is missing and TypeScript is not installed; run `npm ci` without --omit=dev\n',
  );
  process.exit(1);
}

rmSync(`${root}/dist`, { recursive: true, force: true });
run('--import', 'tsx', 'scripts/build-shaders.ts');
run('node_modules/typescript/bin/tsc', '-p', 'scripts/tsconfig.build.json');
chmodSync(`${root}/dist/cli/main.js`, 0o755);

// The calibration text used when --calib is not given travels with the package.
mkdirSync(`${root}/dist/data`, { recursive: true });
cpSync(`${root}/test/fixtures/bundled/calibration.txt`, `${root}/dist/data/calibration.txt`);
