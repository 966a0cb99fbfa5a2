// linalg/gemm-direct: c ← alpha·a·b + beta·c straight from storage, one 4×4 block of c an invocation. Best where
// workgroup memory is plain memory (software adapters) and for matrices that fill no tile.
// Dims: as in common/gemm; tiles of 32 × 32 (8 × 8 invocations).
// Bindings: 1 a f32; 2 b f32, f16, bf16 or codes; 3 c f32; 4 bias [N]; 5 scales, 6 zeros, 7 group_of with B_CODES;
// 5 absmax, 6 table with B_CODEBOOK.
// Accumulation: f32 in registers over all of K, then once into c.
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/triangle.wgsl
//#include common/gemm.wgsl
//#if B_REAL
//#include common/gemm-b-real.wgsl
//#endif
//#if B_HALF
//#include common/gemm-b-half.wgsl
//#endif
//#if B_CODES
//#include common/gemm-b-codes.wgsl
//#endif
//#if B_CODEBOOK
//#include common/gemm-b-codebook.wgsl
//#endif

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) num_groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = flat_group(group, num_groups);
  let row = (tile / params.tiles_n) * 32u + (lane / 8u) * 4u;
  let col = (tile % params.tiles_n) * 32u + (lane % 8u) * 4u;
  if (!tile_wanted(row, col, 4u)) { return; }
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  for (var k = 0u; k < params.k; k += 4u) {
    let am = a_block(row, k);
    let bm = b_block(col, k);
    c0 += am[0].x * bm[0];
    c1 += am[0].y * bm[0];
    c2 += am[0].z * bm[0];
    c3 += am[0].w * bm[0];
    c0 += am[1].x * bm[1];
    c1 += am[1].y * bm[1];
    c2 += am[1].z * bm[1];
    c3 += am[1].w * bm[1];
    c0 += am[2].x * bm[2];
    c1 += am[2].y * bm[2];
    c2 += am[2].z * bm[2];
    c3 += am[2].w * bm[2];
    c0 += am[3].x * bm[3];
    c1 += am[3].y * bm[3];
    c2 += am[3].z * bm[3];
    c3 += am[3].w * bm[3];
  }
  store_block(row, col, mat4x4<f32>(c0, c1, c2, c3));
}
