import { Bug } from '../core/errors.js';

/** A storage or uniform binding as the resolved WGSL text declares it. */
export interface TextBinding {
  readonly binding: number;
  readonly type: 'uniform' | 'read-only-storage' | 'storage';
}

/**
 * Keeps the lines of the `//#if` branches that `on` chooses. Removed lines become empty, so line numbers stay.
 * A flag that the shader does not declare is a Bug.
 */
export function resolveFlags(
  shader: string,
  source: string,
  declared: readonly string[],
  on: readonly string[],
): string {
  const unknown = on.filter((flag) => !declared.includes(flag));
  if (unknown.length > 0)
    throw new Bug(
      `internal: ${shader} declares no flag ${unknown.join(', ')}; it has ${declared.join(', ') || 'none'}`,
    );
  // One entry per open //#if: whether its current branch is taken.
  const taken: boolean[] = [];
  const lines = source.split('\n').map((line) => {
    const directive = /^\s*\/\/#(if|else|endif)(?:\s+(!?)(\w+))?/.exec(line);
    if (directive === null) return taken.every(Boolean) ? line : '';
    if (directive[1] === 'if') taken.push(on.includes(directive[3]) !== (directive[2] === '!'));
    else {
      const branch = taken.pop();
      if (directive[1] === 'else') taken.push(branch !== true);
    }
    return '';
  });
  return lines.join('\n');
}

/** Bindings in the text, ascending: the layout is built from them, so access modes cannot disagree with the WGSL. */
export function textBindings(text: string): TextBinding[] {
  const found = [...text.matchAll(/@binding\((\d+)\)\s*var<([^>]*)>/g)].map(
    ([, binding, space]): TextBinding => ({
      binding: Number(binding),
      type: space === 'uniform' ? 'uniform' : space.includes('read_write') ? 'storage' : 'read-only-storage',
    }),
  );
  return found.sort((a, b) => a.binding - b.binding);
}

/** File and line that line `lineNumber` (1-based) of an expanded text was written in. */
export function locateLine(
  text: string,
  lineNumber: number,
): { readonly file: string; readonly line: number } {
  const lines = text.split('\n');
  for (let i = Math.min(lineNumber, lines.length) - 1; i >= 0; i--) {
    const marker = /^\/\/#file (\S+):(\d+)$/.exec(lines[i]);
    if (marker !== null)
      return { file: `shaders/${marker[1]}`, line: Number(marker[2]) + lineNumber - i - 2 };
  }
  return { file: 'shader', line: lineNumber };
}
