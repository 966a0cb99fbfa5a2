import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Turns shaders/**.wgsl into src/webgpu/generated/shaders.ts, checking each one; see shaders/README.md for the rules. */

const MAX_SHADER_LINES = 150;
const MAX_STORAGE_BINDINGS = 8;
const SCALAR_TYPES = ['u32', 'i32', 'f32'];
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

interface ShaderRecord {
  readonly name: string;
  readonly source: string;
  readonly flags: readonly string[];
  readonly params: readonly (readonly [string, string])[];
  readonly bindings: readonly number[];
}

/** What is wrong with one file; all of them are listed before the build fails. */
type Complain = (problem: string) => void;

/** Reads every shader, writes the generated module, returns the names. Throws one Error that lists all offenders. */
export function buildShaders(root: string = ROOT): string[] {
  const shadersDir = join(root, 'shaders');
  const problems: string[] = [];
  const records = listShaders(shadersDir).map((name) =>
    readShader(shadersDir, name, (problem) => problems.push(`shaders/${name}.wgsl: ${problem}`)),
  );
  if (problems.length > 0)
    throw new Error(`${problems.length} problem(s) in shaders:\n  ${problems.join('\n  ')}`);
  const target = join(root, 'src/webgpu/generated/shaders.ts');
  mkdirSync(dirname(target), { recursive: true });
  writeIfChanged(target, renderModule(records));
  return records.map((record) => record.name);
}

function listShaders(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: 'utf8' })
    .map((path) => path.split(sep).join('/'))
    .filter((path) => path.endsWith('.wgsl') && !path.startsWith('common/'))
    .map((path) => path.slice(0, -'.wgsl'.length))
    .sort();
}

function readShader(dir: string, name: string, complain: Complain): ShaderRecord {
  const own = readLines(join(dir, `${name}.wgsl`));
  checkHeader(name, own, complain);
  if (own.length > MAX_SHADER_LINES) complain(`${own.length} lines, allowed are ${MAX_SHADER_LINES}`);
  const lines = expandIncludes(dir, name, own, complain);
  const source = lines.join('\n') + '\n';
  const flags = declaredFlags(lines);
  checkConditions(lines, flags, complain);
  return {
    name,
    source,
    flags,
    params: parseParams(source, complain),
    bindings: parseBindings(source, complain),
  };
}

function readLines(path: string): string[] {
  return readFileSync(path, 'utf8').trimEnd().split(/\r?\n/);
}

/** The comment block on top says what the kernel is for, its dims and its bindings. */
function checkHeader(name: string, lines: readonly string[], complain: Complain): void {
  const end = lines.findIndex((line) => !line.startsWith('//'));
  const header = lines.slice(0, end < 0 ? lines.length : end).join('\n');
  if (!header.startsWith(`// ${name}: `))
    complain(`the first line must be "// ${name}: " and what it is for`);
  if (!/\bdims?\b/i.test(header)) complain('the header block names no dims');
  if (!/\bbindings?\b/i.test(header)) complain('the header block describes no bindings');
}

/**
 * Replaces `//#include common/x.wgsl` by the file. `//#file path:line` marks where the following line comes from, so
 * that compile errors can name file and line.
 */
function expandIncludes(dir: string, name: string, own: readonly string[], complain: Complain): string[] {
  const out = [`//#file ${name}.wgsl:1`];
  own.forEach((line, index) => {
    const include = /^\/\/#include\s+(\S+)\s*$/.exec(line);
    if (include === null) {
      out.push(line);
      return;
    }
    const path = include[1];
    if (!/^common\/[a-z0-9-]+\.wgsl$/.test(path)) {
      complain(`line ${index + 1}: includes come from common/, not "${path}"`);
      return;
    }
    const text = readLines(join(dir, path));
    if (text.some((inner) => inner.startsWith('//#include'))) complain(`${path} includes another file`);
    out.push(`//#file ${path}:1`, ...text, `//#file ${name}.wgsl:${index + 2}`);
  });
  return out;
}

function declaredFlags(lines: readonly string[]): string[] {
  const found = lines.flatMap((line) => /^\/\/#flag\s+([A-Z][A-Z0-9_]*):\s+\S/.exec(line)?.[1] ?? []);
  return [...new Set(found)];
}

/** Every `//#…` line is known, every flag declared, every `//#if` closed, at most three deep, with the files they include. */
function checkConditions(lines: readonly string[], flags: readonly string[], complain: Complain): void {
  let depth = 0;
  for (const line of lines) {
    if (!line.trimStart().startsWith('//#')) continue;
    const [word, ...rest] = line.trim().slice(3).split(/\s+/);
    if (word === 'if') {
      depth++;
      if (depth > 3) complain(`"${line.trim()}" is nested deeper than three`);
      const flag = rest.join(' ').replace(/^!/, '');
      if (!flags.includes(flag)) complain(`"${line.trim()}" uses a flag without a "//#flag ${flag}: …" line`);
    } else if (word === 'else' || word === 'endif') {
      if (depth === 0) complain(`//#${word} without //#if`);
      if (word === 'endif') depth--;
    } else if (word === 'flag') {
      if (!/^[A-Z][A-Z0-9_]*:$/.test(rest[0] ?? '') || rest.length < 2)
        complain(`"${line.trim()}" should read "//#flag NAME: meaning"`);
    } else if (word !== 'file') complain(`unknown directive "${line.trim()}"`);
  }
  if (depth !== 0) complain('//#if without //#endif');
}

/** Fields of `struct Params`, scalars of four bytes only, so that packing needs no alignment rules. */
function parseParams(source: string, complain: Complain): [string, string][] {
  const body = /struct\s+Params\s*\{([^}]*)\}/.exec(source)?.[1];
  if (body === undefined) {
    complain('no "struct Params { … }"');
    return [];
  }
  const fields = body
    .replace(/\/\/.*$/gm, '')
    .split(',')
    .map((field) => field.trim())
    .filter((field) => field !== '');
  return fields.flatMap((field): [string, string][] => {
    const match = /^(\w+)\s*:\s*(\w+)$/.exec(field);
    if (match !== null && SCALAR_TYPES.includes(match[2])) return [[match[1], match[2]]];
    complain(`Params field "${field}" is not "name: ${SCALAR_TYPES.join(' | ')}"`);
    return [];
  });
}

/** Binding numbers used in any text variant: 0 is the Params uniform, the rest storage, without gaps. */
function parseBindings(source: string, complain: Complain): number[] {
  const pattern = /@group\((\d+)\)\s*@binding\((\d+)\)\s*var<([^>]*)>/g;
  const found = new Map<number, string>();
  for (const [, group, binding, space] of source.matchAll(pattern)) {
    if (group !== '0') complain(`binding ${binding} is in group ${group}; only group 0 is used`);
    if (!/^(uniform|storage,\s*(read|read_write))$/.test(space))
      complain(
        `binding ${binding} has the address space <${space}>; write <storage, read> or <storage, read_write>`,
      );
    found.set(Number(binding), space);
  }
  const bindings = [...found.keys()].sort((a, b) => a - b);
  if (found.get(0) !== 'uniform') complain('@binding(0) must be var<uniform> params: Params');
  if (bindings.some((binding, index) => binding !== index))
    complain(`bindings ${bindings.join(', ')} leave gaps; expected 0 … ${bindings.length - 1}`);
  if (bindings.length - 1 > MAX_STORAGE_BINDINGS)
    complain(`${bindings.length - 1} storage bindings, every device allows ${MAX_STORAGE_BINDINGS}`);
  return bindings;
}

function renderModule(records: readonly ShaderRecord[]): string {
  const entries = records.map((record) => {
    const params = record.params.map(([name, type]) => `['${name}', '${type}']`).join(', ');
    return [
      `  '${record.name}': {`,
      `    source: ${JSON.stringify(record.source)},`,
      `    flags: ${JSON.stringify(record.flags)},`,
      `    params: [${params}],`,
      `    bindings: ${JSON.stringify(record.bindings)},`,
      '  },',
    ].join('\n');
  });
  return `// Generated by scripts/build-shaders.ts from shaders/; do not edit.\nexport const SHADERS = {\n${entries.join('\n')}\n} as const;\n`;
}

/** Leaves an unchanged file alone, so that watchers and parallel test runs see no write. */
function writeIfChanged(path: string, text: string): void {
  let old: string | undefined;
  try {
    old = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (old !== text) writeFileSync(path, text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = buildShaders();
  process.stdout.write(
    `${names.length} shaders -> ${relative(process.cwd(), join(ROOT, 'src/webgpu/generated/shaders.ts'))}\n`,
  );
}
