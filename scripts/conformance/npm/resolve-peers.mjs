// The module hook behind peer-modules.mjs; runs in a thread of its own.
let folders;

export function initialize(data) {
  folders = data;
}

export function resolve(specifier, context, next) {
  const isPackage = !/^(\.|\/|#|[a-z]+:)/.test(specifier);
  return isPackage && context.parentURL?.startsWith(folders.scripts)
    ? next(specifier, { ...context, parentURL: folders.peers })
    : next(specifier, context);
}
