/**
 * Names of files inside a model folder come from strangers (an index, a repository listing) and are joined onto a
 * folder. Returns why `name` must not be, or undefined when it is a plain relative path with "/" as separator.
 * POSIX and Windows rules are applied on every platform, so a folder made here is safe to use there.
 */
export function relativeNameProblem(name: string): string | undefined {
  if (name === '') return 'the name is empty';
  if (name.includes('\0')) return 'it contains a NUL character';
  if (name.includes('\\')) return 'it contains a backslash';
  if (name.startsWith('/')) return 'it is an absolute path';
  if (/(^|\/)[a-zA-Z]:/.test(name)) return 'it names a drive';
  const parts = name.split('/');
  if (parts.includes('..')) return 'it leaves the folder through ".."';
  if (parts.includes('.') || parts.includes('')) return 'it has an empty or "." path part';
  return undefined;
}
