// linalg/gemm-tile128: c ← alpha·a·b + beta·c through workgroup memory, tiles of 128 × 128, 8 × 8 a thread, K in steps
// of 16. For large GPUs and large matrices.
// Dims: as in common/gemm.
// Bindings: 1 a f32; 2 b f32, f16, bf16 or codes; 3 c f32; 4 bias [N]; 5 scales, 6 zeros, 7 group_of with B_CODES;
// 5 absmax, 6 table with B_CODEBOOK.
// Accumulation: f32 in registers over all of K, then once into c. Workgroup memory: 16 KiB.
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

// [step][four rows of a], [step][four columns of b]
var<workgroup> a_tile: array<vec4<f32>, 512>;
var<workgroup> b_tile: array<vec4<f32>, 512>;

// Slot of four neighbours `four` at step k; neighbouring steps are rotated against bank conflicts of the writes.
fn slot(k: u32, four: u32) -> u32 {
  return k * 32u + (four ^ ((k >> 2u) * 2u));
}

// 128 threads read the blocks of a, 128 those of b: 32 fours of rows (or columns) × 4 fours of steps.
fn read_block(row: u32, col: u32, k: u32, thread: u32) -> mat4x4<f32> {
  let four = (thread % 128u) / 4u;
  let step = k + (thread % 4u) * 4u;
  if (thread < 128u) { return a_block(row + 4u * four, step); }
  return b_block(col + 4u * four, step);
}

fn keep_block(block: mat4x4<f32>, thread: u32) {
  let four = (thread % 128u) / 4u;
  let step = (thread % 4u) * 4u;
  if (thread < 128u) {
    a_tile[slot(step, four)] = block[0];
    a_tile[slot(step + 1u, four)] = block[1];
    a_tile[slot(step + 2u, four)] = block[2];
    a_tile[slot(step + 3u, four)] = block[3];
  } else {
    b_tile[slot(step, four)] = block[0];
    b_tile[slot(step + 1u, four)] = block[1];
    b_tile[slot(step + 2u, four)] = block[2];
    b_tile[slot(step + 3u, four)] = block[3];
  }
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) num_groups: vec3<u32>,
  @builtin(local_invocation_index) thread: u32,
) {
  let tile = flat_group(group, num_groups);
  let row = (tile / params.tiles_n) * 128u;
  let col = (tile % params.tiles_n) * 128u;
  if (!tile_wanted(row, col, 128u)) { return; }
  let down = thread / 16u;
  let across = thread % 16u;
  // Rows 4·down … and 64 + 4·down …, columns likewise (l left, r right); separate names stay in registers.
  var l0 = vec4<f32>();
  var r0 = vec4<f32>();
  var l1 = vec4<f32>();
  var r1 = vec4<f32>();
  var l2 = vec4<f32>();
  var r2 = vec4<f32>();
  var l3 = vec4<f32>();
  var r3 = vec4<f32>();
  var l4 = vec4<f32>();
  var r4 = vec4<f32>();
  var l5 = vec4<f32>();
  var r5 = vec4<f32>();
  var l6 = vec4<f32>();
  var r6 = vec4<f32>();
  var l7 = vec4<f32>();
  var r7 = vec4<f32>();
  var block = read_block(row, col, 0u, thread);
  for (var k = 0u; k < params.k; k += 16u) {
    keep_block(block, thread);
    workgroupBarrier();
    // The next block is on its way while this one is multiplied.
    if (k + 16u < params.k) { block = read_block(row, col, k + 16u, thread); }
    for (var step = 0u; step < 16u; step++) {
      let x = a_tile[slot(step, down)];
      let z = a_tile[slot(step, down + 16u)];
      let y = b_tile[slot(step, across)];
      let w = b_tile[slot(step, across + 16u)];
      l0 += x.x * y;
      r0 += x.x * w;
      l1 += x.y * y;
      r1 += x.y * w;
      l2 += x.z * y;
      r2 += x.z * w;
      l3 += x.w * y;
      r3 += x.w * w;
      l4 += z.x * y;
      r4 += z.x * w;
      l5 += z.y * y;
      r5 += z.y * w;
      l6 += z.z * y;
      r6 += z.z * w;
      l7 += z.w * y;
      r7 += z.w * w;
    }
    workgroupBarrier();
  }
  let top = row + 4u * down;
  let left = col + 4u * across;
  store_block(top, left, mat4x4<f32>(l0, l1, l2, l3));
  store_block(top, left + 64u, mat4x4<f32>(r0, r1, r2, r3));
  store_block(top + 64u, left, mat4x4<f32>(l4, l5, l6, l7));
  store_block(top + 64u, left + 64u, mat4x4<f32>(r4, r5, r6, r7));
}
