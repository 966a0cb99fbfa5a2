// common/gemm-b-real: 4×4 blocks of an f32 operand b [K, N], or [N, K] with TRANS_B; included after common/gemm.
//#flag TRANS_B: b is stored [N, K]
//#flag B_VEC4: offset and stride of b are multiples of 4
//#flag B_IN_C: b is a view of the tensor of c
//#if !B_IN_C
//#if B_VEC4
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
//#else
@group(0) @binding(2) var<storage, read> b: array<f32>;
//#endif
//#endif

// Four neighbours from element `index` on, of which the first `count` count.
fn b_four(index: u32, count: u32) -> vec4<f32> {
  //#if B_VEC4
  return b[index / 4u];
  //#else
  let last = index + min(count, 4u) - 1u;
  return vec4(b_at(index), b_at(min(index + 1u, last)), b_at(min(index + 2u, last)), b_at(min(index + 3u, last)));
  //#endif
}

//#if !B_VEC4
fn b_at(index: u32) -> f32 {
  //#if B_IN_C
  return c[index];
  //#else
  return b[index];
  //#endif
}
//#endif

//#if TRANS_B
// Steps k … k + 3 of one column of b.
fn b_col(col: u32, k: u32) -> vec4<f32> {
  let four = b_four(params.b_offset + min(col, params.n - 1u) * params.b_stride + k, params.k - k);
  if (k + 4u > params.k) { return within_k(four, k); }
  return four;
}

fn b_block(col: u32, k: u32) -> mat4x4<f32> {
  if (k >= params.k) { return mat4x4<f32>(); }
  return transpose(mat4x4<f32>(b_col(col, k), b_col(col + 1u, k), b_col(col + 2u, k), b_col(col + 3u, k)));
}
//#else
// Columns col … col + 3 of b at step k.
fn b_step(col: u32, k: u32) -> vec4<f32> {
  if (k >= params.k) { return vec4<f32>(); }
  let first = min(col, params.n - 1u);
  return b_four(params.b_offset + k * params.b_stride + first, params.n - first);
}

fn b_block(col: u32, k: u32) -> mat4x4<f32> {
  return mat4x4<f32>(b_step(col, k), b_step(col, k + 1u), b_step(col, k + 2u), b_step(col, k + 3u));
}
//#endif
