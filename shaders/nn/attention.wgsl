// nn/attention: causal grouped-query attention of whole windows with an online softmax; scores live one
// 32 × 32 tile at a time. Softmax in base 2: log2(e) is folded into the scale, because exp2 is far more accurate than exp.
// Dims: B windows of T tokens, H query heads and H/heads_per_kv key heads of E elements, E ≤ 256.
// Bindings: 1 q f32 view [B·T, H·E]; 2 k and 3 v f32 views [B·T, kvHeads·E]; 4 out f32 view [B·T, H·E].
// One workgroup: 32 queries of one head, 8 × 8 lanes, each 4 queries × 4 keys of the scores and 4 queries × 4
// columns of each 32-wide chunk of the output. Workgroup memory 14.5 KiB. Accumulation: f32 registers.
//#include common/index.wgsl
struct Params {
  seq_len: u32,
  heads: u32,
  heads_per_kv: u32,
  head_dim: u32,
  window: u32, // T or more where there is no sliding window
  workgroups: u32, // B · H · ceil(T / 32)
  scale_log2e: f32,
  q_offset: u32, q_stride: u32,
  k_offset: u32, k_stride: u32,
  v_offset: u32, v_stride: u32,
  out_offset: u32, out_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
const MAX_CHUNKS = 8u; // of 32 elements of a head
const LOWEST = -3.4e38;
const PITCH = 9u; // vec4s from one line of a tile to the next; odd, so lines start in different banks

var<workgroup> q_tile: array<vec4<f32>, 288>; // [32 elements, 8 groups of 4 queries]
var<workgroup> kv_tile: array<vec4<f32>, 288>; // [32 elements, 8 groups of 4 keys], then [32 keys, 8 groups of 4]
var<workgroup> p_tile: array<vec4<f32>, 288>; // [32 keys, 8 groups of 4 queries]
var<workgroup> partial: array<vec4<f32>, 64>; // [8 groups of 4 queries, 8 lanes]

// Element e of four consecutive rows from `row` on. `at`: the head's first element. Addresses past the window or the head
// repeat the last one: such scores are masked or never stored.
fn q_rows(at: u32, row: u32, e: u32) -> vec4<f32> {
  let rows = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(params.seq_len - 1u));
  let i = at + rows * params.q_stride + min(e, params.head_dim - 1u);
  return vec4(q[i.x], q[i.y], q[i.z], q[i.w]);
}
fn k_rows(at: u32, row: u32, e: u32) -> vec4<f32> {
  let rows = min(vec4(row) + vec4(0u, 1u, 2u, 3u), vec4(params.seq_len - 1u));
  let i = at + rows * params.k_stride + min(e, params.head_dim - 1u);
  return vec4(k[i.x], k[i.y], k[i.z], k[i.w]);
}
// Four consecutive elements of one row.
fn v_columns(at: u32, row: u32, e: u32) -> vec4<f32> {
  let columns = min(vec4(e) + vec4(0u, 1u, 2u, 3u), vec4(params.head_dim - 1u));
  let i = at + min(row, params.seq_len - 1u) * params.v_stride + columns;
  return vec4(v[i.x], v[i.y], v[i.z], v[i.w]);
}

fn visible(t: vec4<u32>, s: u32) -> vec4<bool> {
  return (vec4(s) <= t) & (t - vec4(s) < vec4(params.window));
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = flat_group(group, groups);
  if (index >= params.workgroups) { return; }
  let tiles = (params.seq_len + 31u) / 32u;
  let first_query = index % tiles * 32u;
  let head = index / tiles % params.heads;
  let row0 = index / tiles / params.heads * params.seq_len;
  let kv_column = head / params.heads_per_kv * params.head_dim;
  let q_base = params.q_offset + row0 * params.q_stride + head * params.head_dim;
  let k_base = params.k_offset + row0 * params.k_stride + kv_column;
  let v_base = params.v_offset + row0 * params.v_stride + kv_column;
  let chunks = (params.head_dim + 31u) / 32u;
  let x = lane % 8u;
  let y = lane / 8u;
  let t = vec4(first_query + y * 4u) + vec4(0u, 1u, 2u, 3u);

  var sums: array<vec4<f32>, MAX_CHUNKS * 4u>; // [chunk, query] of 4 columns, not yet divided by the total
  var top = vec4(LOWEST);
  var total = vec4<f32>(); // of this lane's keys only, until the end
  let last = min(first_query + 32u, params.seq_len);
  let begin = max(first_query + 1u, params.window) - params.window;
  for (var first_key = begin / 32u * 32u; first_key < last; first_key += 32u) {
    var s = mat4x4<f32>(); // [key, query]; left to the declaration, the zero is missing on lavapipe
    for (var e0 = 0u; e0 < params.head_dim; e0 += 32u) {
      workgroupBarrier();
      for (var i = lane; i < 256u; i += 64u) {
        q_tile[i % 32u * PITCH + i / 32u] = q_rows(q_base, first_query + i / 32u * 4u, e0 + i % 32u);
        kv_tile[i % 32u * PITCH + i / 32u] = k_rows(k_base, first_key + i / 32u * 4u, e0 + i % 32u);
      }
      workgroupBarrier();
      for (var e = 0u; e < min(32u, params.head_dim - e0); e++) {
        let a = q_tile[e * PITCH + y];
        let b = kv_tile[e * PITCH + x];
        s += mat4x4(a * b.x, a * b.y, a * b.z, a * b.w);
      }
    }
    let key = first_key + x * 4u;
    for (var i = 0u; i < 4u; i++) {
      s[i] = select(vec4(LOWEST), s[i] * params.scale_log2e, visible(t, key + i));
    }
    partial[lane] = max(max(s[0], s[1]), max(s[2], s[3]));
    workgroupBarrier();
    let old_top = top;
    for (var i = 0u; i < 8u; i++) { top = max(top, partial[y * 8u + i]); }
    let shrink = exp2(old_top - top);
    total *= shrink;
    for (var i = 0u; i < 4u; i++) {
      // A query that has seen no key yet has top = LOWEST, where the power alone would be 1.
      let p = select(vec4<f32>(), exp2(s[i] - top), visible(t, key + i));
      total += p;
      p_tile[(x * 4u + i) * PITCH + y] = p;
    }
    for (var c = 0u; c < chunks; c++) {
      workgroupBarrier();
      for (var i = lane; i < 256u; i += 64u) {
        kv_tile[i / 8u * PITCH + i % 8u] = v_columns(v_base, first_key + i / 8u, c * 32u + i % 8u * 4u);
      }
      workgroupBarrier();
      var part = mat4x4(sums[c * 4u], sums[c * 4u + 1u], sums[c * 4u + 2u], sums[c * 4u + 3u]);
      for (var i = 0u; i < 4u; i++) { part[i] *= shrink[i]; }
      for (var j = 0u; j < min(32u, last - first_key); j++) {
        let a = p_tile[j * PITCH + y];
        let b = kv_tile[j * PITCH + x];
        part += mat4x4(b * a.x, b * a.y, b * a.z, b * a.w);
      }
      for (var i = 0u; i < 4u; i++) { sums[c * 4u + i] = part[i]; }
    }
  }
  partial[lane] = total;
  workgroupBarrier();
  total = vec4<f32>();
  for (var i = 0u; i < 8u; i++) { total += partial[y * 8u + i]; }
  for (var i = 0u; i < chunks * 16u; i++) { // chunk, query, column
    let column = i / 16u * 32u + x * 4u + i % 4u;
    let query = i / 4u % 4u;
    if (t[query] < params.seq_len && column < params.head_dim) {
      let to = params.out_offset + (row0 + t[query]) * params.out_stride + head * params.head_dim + column;
      out[to] = sums[i / 4u][i % 4u] / total[query];
    }
  }
}
