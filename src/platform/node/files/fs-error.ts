import { HalfbyteError, UserError } from '../../../core/errors.js';

/** The code of a system error ("ENOENT"), or undefined for any other throwable. */
export function fsErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** What a file-system failure means for the person: `action` is "write", "read" …, `path` where. */
export function fsError(error: unknown, action: string, path: string): Error {
  if (error instanceof HalfbyteError) return error;
  const code = fsErrorCode(error);
  const cause = error;
  switch (code) {
    case 'ENOENT':
      return new UserError(`${path}: no such file or folder`, { cause, advice: 'check the path' });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new UserError(`${path}: no permission to ${action} (${code})`, {
        cause,
        advice: 'choose another place, or change the permissions of this one',
      });
    case 'ENOTDIR':
    case 'EISDIR':
      return new UserError(
        `${path}: cannot ${action}: a folder stands where a file is expected, or the reverse`,
        {
          cause,
          advice: 'check the path',
        },
      );
    case 'ENAMETOOLONG':
      return new UserError(`${path}: the name is too long for this file system`, { cause });
    case undefined:
    default:
      return new HalfbyteError(
        `${path}: cannot ${action}: ${error instanceof Error ? error.message : String(error)}`,
        {
          cause,
        },
      );
  }
}
