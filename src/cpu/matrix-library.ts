/** c ← op(a)·op(b), every operand float32, row-major, without gaps, starting at element 0 of its array. */
export interface LibraryProduct {
  /** [M, K], or [K, M] with transA. */
  readonly a: Float32Array;
  /** [K, N], or [N, K] with transB. */
  readonly b: Float32Array;
  /** [M, N]; overwritten. */
  readonly c: Float32Array;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transA: boolean;
  readonly transB: boolean;
}

/**
 * A fast float32 matrix product made elsewhere (a native library). The same call must give the same bits every time.
 * The arrays belong to the library until the promise resolves.
 */
export interface MatrixLibrary {
  /** Name and version for reports, such as "onnxruntime 1.30.0". */
  readonly name: string;
  /** Products of fewer multiply-adds than this go through plain loops instead. */
  readonly minMultiplyAdds: number;
  multiply(product: LibraryProduct): Promise<void>;
  dispose(): Promise<void>;
}
