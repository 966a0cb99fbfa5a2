/** What a result may differ by. Every bound given must hold. */
export interface Bound {
  /** Σ(actual − expected)² / Σ expected². */
  readonly nmse?: number;
  /** Largest distance in units of the last place of a float32, element by element. */
  readonly ulp?: number;
  /** Largest |actual − expected| / scale[i]; for sums scale is Σ|terms|. */
  readonly scaled?: { readonly scale: ArrayLike<number>; readonly most: number };
  /** Bit-equal values. */
  readonly exact?: boolean;
}

/**
 * Why `actual` is not `expected`, or '' when it is. Order: length, finite where expected is, infinities and NaN in the
 * same places, then the bounds. Every test is written as "not within", so that NaN fails it.
 */
export function mismatch(actual: ArrayLike<number>, expected: ArrayLike<number>, bound: Bound): string {
  if (actual.length !== expected.length) return `${actual.length} elements, expected ${expected.length}`;
  if (Object.keys(bound).length === 0) return 'no bound given';
  let errors = 0;
  let power = 0;
  let worstUlp = 0;
  let worstScaled = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i], expected[i]];
    if (!Number.isFinite(e)) {
      if (!Object.is(a, e)) return `element ${i} is ${a}, expected ${e}`;
      continue;
    }
    if (!Number.isFinite(a)) return `element ${i} is ${a}, expected ${e}`;
    if (bound.exact === true && a !== e) return `element ${i} is ${a}, expected exactly ${e}`;
    errors += (a - e) ** 2;
    power += e ** 2;
    worstUlp = Math.max(worstUlp, ulpDistance(a, e));
    if (bound.scaled !== undefined && a !== e)
      worstScaled = Math.max(worstScaled, Math.abs(a - e) / bound.scaled.scale[i]);
  }
  const nmse = errors === 0 ? 0 : errors / power;
  if (bound.nmse !== undefined && !(nmse <= bound.nmse)) return `NMSE ${nmse}, allowed ${bound.nmse}`;
  if (bound.ulp !== undefined && !(worstUlp <= bound.ulp)) return `${worstUlp} ULP, allowed ${bound.ulp}`;
  if (bound.scaled !== undefined && !(worstScaled <= bound.scaled.most))
    return `scaled error ${worstScaled}, allowed ${bound.scaled.most}`;
  return '';
}

/** Float32 steps between two finite numbers; NaN when one of them is no number. */
export function ulpDistance(a: number, b: number): number {
  return Math.abs(a - b) / ulpOf(Math.max(Math.abs(a), Math.abs(b)));
}

function ulpOf(magnitude: number): number {
  const exponent = Math.max(Math.floor(Math.log2(magnitude)), -126);
  return 2 ** (exponent - 23);
}
