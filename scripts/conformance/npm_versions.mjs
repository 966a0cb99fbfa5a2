// Imports every package of npm/package.json and prints {name: version}, or {name: null} with the reason on stderr.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const { dependencies } = JSON.parse(readFileSync(new URL('npm/package.json', import.meta.url), 'utf8'));
const versions = {};
for (const name of Object.keys(dependencies)) {
  try {
    await import(name);
    const manifest = join(process.env.HALFBYTE_NPM_PEERS, 'node_modules', name, 'package.json');
    versions[name] = JSON.parse(readFileSync(manifest, 'utf8')).version;
  } catch (error) {
    process.stderr.write(`${name}: ${error.message}\n`);
    versions[name] = null;
  }
}
process.stdout.write(`${JSON.stringify({ versions })}\n`);
process.exit(0);
