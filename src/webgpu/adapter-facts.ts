/** An adapter in words, such as "llvmpipe (LLVM 15.0.6, 256 bits)". */
export function adapterName(info: GPUAdapterInfo): string {
  const words =
    info.description || [info.vendor, info.architecture, info.device].filter((w) => w !== '').join(' ');
  const named = words || 'unnamed adapter';
  return /swiftshader|llvmpipe/i.test(named) || !isSoftwareAdapter(info)
    ? named
    : `${info.device} ${named}`.trim();
}

/** True for adapters that compute on the CPU: Mesa's llvmpipe (lavapipe), SwiftShader, Microsoft's WARP. */
export function isSoftwareAdapter(info: GPUAdapterInfo): boolean {
  const words = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  return info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|basic render|\bwarp\b/i.test(words);
}
