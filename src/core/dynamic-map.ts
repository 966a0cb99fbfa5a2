const DECADES = 7;

/**
 * The signed 8-bit dynamic map of bitsandbytes (functional.py, create_dynamic_map): 2^e numbers spread evenly in each
 * decade 10^(e−6), their negatives, 0 and 1, ascending. Rounded to float32 in the same places, so equal bit for bit.
 */
export const DYNAMIC_MAP: Float32Array = Float32Array.from(
  [0, 1, ...Array.from({ length: DECADES }, (_, decade) => decadeValues(decade)).flat()].sort(
    (a, b) => a - b,
  ),
);

function decadeValues(decade: number): number[] {
  const count = 2 ** decade;
  const edges = evenlySpaced(count + 1);
  const factor = Math.fround(10 ** (decade - DECADES + 1));
  return Array.from({ length: count }, (_, i) => {
    const middle = Math.fround(Math.fround(edges[i] + edges[i + 1]) / 2);
    return Math.fround(factor * middle);
  }).flatMap((value) => [value, -value]);
}

/** float32 numbers from 0.1 to 1, the second half counted from the end, each rounded once (torch.linspace multiplies and adds fused). */
function evenlySpaced(count: number): number[] {
  const start = Math.fround(0.1);
  const step = Math.fround(Math.fround(1 - start) / (count - 1));
  return Array.from({ length: count }, (_, i) =>
    Math.fround(i < Math.floor(count / 2) ? start + step * i : 1 - step * (count - i - 1)),
  );
}
