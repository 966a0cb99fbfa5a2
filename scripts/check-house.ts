/**
 * Checks the rules of the house that a compiler does not see: who may import whom, where Node built-ins and third-party
 * packages may enter, and the size budgets. Prints every offender and exits 1. The table is explained in src/README.md.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, extname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Rooms a room may import values from (itself is always allowed). Type-only imports are freer: see TYPE_ONLY. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  io: ['core'],
  formats: ['core', 'io'],
  hub: ['core', 'io'],
  text: ['core', 'io'],
  engine: ['core'],
  cpu: ['core', 'engine'],
  webgpu: ['core', 'engine'],
  quant: ['core', 'engine'],
  model: ['core', 'engine'],
  calib: ['core', 'engine', 'quant', 'model'],
  eval: ['core', 'engine', 'model', 'text'],
  // model: the tables of RoPE, which some formats store.
  export: ['core', 'io', 'formats', 'model'],
  report: ['core'],
  pipeline: [
    'core',
    'io',
    'formats',
    'hub',
    'text',
    'engine',
    'quant',
    'model',
    'calib',
    'eval',
    'export',
    'report',
  ],
  platform: ['core', 'io', 'formats', 'hub', 'engine', 'cpu', 'webgpu'],
  cli: ['core', 'io', 'engine', 'report', 'export', 'pipeline', 'platform'],
};

/** Extra rooms a room may import types from: records flow downstream without code following them. */
const TYPE_ONLY: Readonly<Record<string, readonly string[]>> = {
  export: ['quant', 'model', 'report'],
  report: ['quant', 'engine'],
  calib: ['text'],
  eval: ['quant'],
  cli: ['quant', 'hub', 'eval', 'model'],
  platform: ['pipeline'],
};

/** The one room through which each package enters. */
const PACKAGE_ROOMS: Readonly<Record<string, readonly string[]>> = {
  webgpu: ['platform'],
  'onnxruntime-node': ['platform'],
  '@huggingface/hub': ['hub', 'platform'],
  '@huggingface/tokenizers': ['text'],
  '@huggingface/jinja': ['text'],
  commander: ['cli'],
};

const NODE_ROOMS = new Set(['platform', 'cli']);
const MAX_FILE_LINES = 400;
const MAX_SHADER_LINES = 150;

interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
}

function listFiles(folder: string, extensions: readonly string[]): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && extensions.includes(extname(entry.name)))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((file) => !file.includes('/generated/') && !file.startsWith('test/fixtures/'));
}

function importsOf(source: string): Import[] {
  const found: Import[] = [];
  const statement =
    /^\s*(import|export)\s+(type\s+)?[^'"]*?from\s+['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)|^\s*import\s+['"]([^'"]+)['"]/gm;
  for (const match of source.matchAll(statement))
    found.push({ specifier: match[3] ?? match[4] ?? match[5] ?? '', typeOnly: match[2] !== undefined });
  return found;
}

/** Room of a file below src/: its first folder; files directly in src/ are the public face and may import all rooms. */
function roomOf(file: string): string {
  const parts = file.split('/');
  return parts.length > 2 ? parts[1] : 'index';
}

function checkImport(file: string, { specifier, typeOnly }: Import): string | undefined {
  const room = roomOf(file);
  if (specifier.startsWith('node:'))
    return NODE_ROOMS.has(room) && !file.startsWith('src/platform/web/')
      ? undefined
      : `${file}: ${specifier} outside platform/node and cli`;
  if (!specifier.startsWith('.')) {
    const name = specifier.startsWith('@')
      ? specifier.split('/').slice(0, 2).join('/')
      : specifier.split('/')[0];
    const rooms = PACKAGE_ROOMS[name];
    if (rooms === undefined)
      return `${file}: package ${name} has no room; add it to scripts/check-house.ts with a reason`;
    return rooms.includes(room)
      ? undefined
      : `${file}: package ${name} enters only through ${rooms.join(', ')}`;
  }
  const target = normalize(join(dirname(file), specifier));
  if (!target.startsWith('src/')) return `${file}: imports ${target}, outside src/`;
  const targetRoom = roomOf(target);
  if (room === 'index' || room === targetRoom) return undefined;
  const allowed = [...(MAY_IMPORT[room] ?? []), ...(typeOnly ? (TYPE_ONLY[room] ?? []) : [])];
  return allowed.includes(targetRoom)
    ? undefined
    : `${file}: ${room} may not import ${targetRoom} (${specifier})`;
}

function findCycle(graph: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (node: string): string[] | undefined => {
    if (done.has(node)) return undefined;
    const seenAt = path.indexOf(node);
    if (seenAt >= 0) return [...path.slice(seenAt), node];
    path.push(node);
    for (const next of graph.get(node) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(node);
    return undefined;
  };
  for (const node of graph.keys()) {
    const cycle = visit(node);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

function checkImports(): string[] {
  const problems: string[] = [];
  const graph = new Map<string, string[]>();
  for (const file of listFiles('src', ['.ts'])) {
    const imports = importsOf(readFileSync(join(ROOT, file), 'utf8'));
    for (const entry of imports) {
      const problem = checkImport(file, entry);
      if (problem !== undefined) problems.push(problem);
    }
    const values = imports.filter((entry) => entry.specifier.startsWith('.') && !entry.typeOnly);
    graph.set(
      file,
      values.map((entry) => normalize(join(dirname(file), entry.specifier)).replace(/\.js$/, '.ts')),
    );
  }
  const cycle = findCycle(graph);
  if (cycle !== undefined) problems.push(`import cycle: ${cycle.join(' -> ')}`);
  return problems;
}

function checkSizes(): string[] {
  const budgets: readonly (readonly [string, readonly string[], number])[] = [
    ['src', ['.ts'], MAX_FILE_LINES],
    ['test', ['.ts'], MAX_FILE_LINES],
    ['scripts', ['.ts', '.mjs', '.py', '.sh'], MAX_FILE_LINES],
    ['shaders', ['.wgsl'], MAX_SHADER_LINES],
  ];
  return budgets.flatMap(([folder, extensions, limit]) =>
    listFiles(folder, extensions).flatMap((file) => {
      const lines = readFileSync(join(ROOT, file), 'utf8').split('\n').length - 1;
      return lines > limit ? [`${file}: ${lines} lines, budget ${limit}`] : [];
    }),
  );
}

/**
 * One name, four files: a kernel's dispatcher names its shader, the cpu engine has a file of the operation's name, and an
 * engine test speaks of it. Variants of one operation (gemm-tile64) share the files of the operation (gemm); shaders of
 * tensor/ move bytes for create, write and copy, and are proven by the tests of those.
 */
function checkKernelFiles(): string[] {
  const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
  const dispatchers = listFiles('src/webgpu', ['.ts']).map(read).join('\n');
  const cpuFiles = listFiles('src/cpu', ['.ts']);
  return listFiles('shaders', ['.wgsl'])
    .map((file) => file.slice('shaders/'.length, -'.wgsl'.length))
    .filter((name) => !name.startsWith('common/'))
    .flatMap((name) => {
      const [room, kernel] = name.split('/');
      const missing: string[] = [];
      if (!dispatchers.includes(`'${name}'`)) missing.push('no dispatcher below src/webgpu names it');
      if (room === 'tensor') return missing.map((what) => `shaders/${name}.wgsl: ${what}`);
      const words = kernel.split('-');
      const names = words.map((_, count) => words.slice(0, words.length - count).join('-'));
      if (!names.some((prefix) => cpuFiles.includes(`src/cpu/${room}/${prefix}.ts`)))
        missing.push(`src/cpu/${room}/${kernel}.ts is missing`);
      const proofs = listFiles(`test/engine/${room}`, ['.ts']).map(read).join('\n').toLowerCase();
      if (
        !names.some(
          (prefix) =>
            proofs.includes(`${prefix.replaceAll('-', '')}(`) || proofs.includes(`'${room}/${prefix}'`),
        )
      )
        missing.push(`no test in test/engine/${room}/ runs it`);
      return missing.map((what) => `shaders/${name}.wgsl: ${what}`);
    });
}

const problems = [...checkImports(), ...checkSizes(), ...checkKernelFiles()];
for (const problem of problems) process.stdout.write(`${problem}\n`);
process.stdout.write(
  problems.length === 0 ? 'house rules: all kept\n' : `house rules: ${problems.length} broken\n`,
);
process.exit(problems.length === 0 ? 0 : 1);
