// linalg/gemm-tile64: c ← alpha·a·b + beta·c through workgroup memory, tiles of 64 × 64, 4 × 4 a thread, K in steps of
// 32. For GPUs whose cores a 128-wide tile would not fill.
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
  return k * 16u + (four ^ ((k >> 2u) & 7u));
}

// 128 threads read the blocks of a, 128 those of b: 16 fours of rows (or columns) × 8 fours of steps.
fn read_block(row: u32, col: u32, k: u32, thread: u32) -> mat4x4<f32> {
  let four = (thread % 128u) / 8u;
  let step = k + (thread % 8u) * 4u;
  if (thread < 128u) { return a_block(row + 4u * four, step); }
  return b_block(col + 4u * four, step);
}

fn keep_block(block: mat4x4<f32>, thread: u32) {
  let four = (thread % 128u) / 8u;
  let step = (thread % 8u) * 4u;
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
  let row = (tile / params.tiles_n) * 64u;
  let col = (tile % params.tiles_n) * 64u;
  if (!tile_wanted(row, col, 64u)) { return; }
  let down = thread / 16u;
  let across = thread % 16u;
  var c0 = vec4<f32>();
  var c1 = vec4<f32>();
  var c2 = vec4<f32>();
  var c3 = vec4<f32>();
  var block = read_block(row, col, 0u, thread);
  for (var k = 0u; k < params.k; k += 32u) {
    keep_block(block, thread);
    workgroupBarrier();
    // The next block is on its way while this one is multiplied.
    if (k + 32u < params.k) { block = read_block(row, col, k + 32u, thread); }
    for (var step = 0u; step < 32u; step++) {
      let x = a_tile[slot(step, down)];
      let y = b_tile[slot(step, across)];
      c0 += x.x * y;
      c1 += x.y * y;
      c2 += x.z * y;
      c3 += x.w * y;
    }
    workgroupBarrier();
  }
  store_block(row + 4u * down, col + 4u * across, mat4x4<f32>(c0, c1, c2, c3));
}
