// quant/codebook-quantize: 4-bit codes and absmax of blocks of g elements, bit for bit as float32 with denormals gives
// them: y = f32(w·f32(1/max(absmax, 1e-38))), in a short last block y = f32(w/absmax); the code counts the bounds below y.
// Dims: count elements from element `first` of w on; g = block_size a power of two, 32 … 4096.
// Bindings: 1 w f32, or f16 or bf16 two to a word; 2 codes u8 [⌈count/2⌉], two a byte, the first in the high nibble;
// 3 absmax f32 [⌈count/g⌉] as bits. TEAM lanes share a block.
// Numbers are integers (common/exact), because devices may flush denormals and divide inexactly. The one product in
// floating point is of normal numbers with a normal result, which WGSL rounds correctly.
//#flag FP4: the codebook is FP4, else NF4
//#include common/index.wgsl
//#include common/dtype.wgsl
//#include common/element.wgsl
//#include common/exact.wgsl
struct Params {
  count: u32,
  first: u32,
  block_size: u32,
  blocks: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read_write> codes: array<u32>;
@group(0) @binding(3) var<storage, read_write> absmax: array<u32>;
override TEAM: u32 = 4u; // power of two, at most 64
const LEAST_ABSMAX = 0x006ce3eeu; // bits of 1e-38

// Midpoints of neighbouring table values, ascending.
//#if FP4
const BOUNDS = array<f32, 15>(-0x1.aaaaacp-1, -0x1.2aaaacp-1, -0x1.aaaaacp-2, -0x1.2aaaacp-2, -0x1.aaaaacp-3, -0x1.6p-4,
  -0x1.555556p-9, 0.0, 0x1.555556p-9, 0x1.6p-4, 0x1.aaaaacp-3, 0x1.2aaaacp-2, 0x1.aaaaacp-2, 0x1.2aaaacp-1, 0x1.aaaaacp-1);
//#else
const BOUNDS = array<f32, 15>(-0x1.b239bp-1, -0x1.38a4ep-1, -0x1.d709p-2, -0x1.5bd4ecp-2, -0x1.e079d8p-3, -0x1.1a7178p-3,
  -0x1.74f0e2p-5, 0x1.45f5fep-5, 0x1.ec90c4p-4, 0x1.a0cfcp-3, 0x1.2b05a8p-2, 0x1.8ea7f2p-2, 0x1.00da08p-1, 0x1.491b5ep-1,
  0x1.b913b4p-1);
//#endif

var<workgroup> tops: array<u32, 64>;

// float32 bits of element `index` of the run.
fn bits_at(index: u32) -> u32 {
  let at = params.first + index;
  let word = w[element_word(at)];
  //#if BF16
  return half_of(word, at) << 16u;
  //#else
  //#if F16
  return bitcast<u32>(f16_to_f32(half_of(word, at))); // never a float32 denormal
  //#else
  return word;
  //#endif
  //#endif
}

// Whether x·r, tiny beside every other bound, still rounds to more than 0 in float32: is it over 2^−150?
fn over_zero(x: Number, r: Number) -> bool {
  let e = x.e + r.e;
  if (e >= -149 || x.m == 0u) { return x.m != 0u; }
  return (e == -150 && above(product(x.m, r.m), vec2(0x4000u, 0u))) || (e == -151 && above(product(x.m, r.m), vec2(0x8000u, 0u)));
}

// Bounds below y = f32(±x·r).
fn count_below(x: Number, negative: bool, r: Number) -> u32 {
  let e = x.e + r.e;
  if (e < -12 || x.m == 0u) {
    //#if FP4
    return select(7u, 8u, !negative && over_zero(x, r));
    //#else
    return 7u;
    //#endif
  }
  let scaled = bitcast<f32>((u32(e + 127) << 23u) | (x.m & 0x7fffffu));
  let y = select(1.0, -1.0, negative) * scaled * (f32(r.m) * 0x1p-23);
  var count = 0u;
  for (var i = 0u; i < 15u; i++) { count += select(0u, 1u, y > BOUNDS[i]); }
  return count;
}

// Bounds below y = f32(±x/a): y passes a bound where x/a passes the middle between it and its neighbour float, by products.
fn count_below_quotient(x: Number, negative: bool, a: Number) -> u32 {
  var count = 0u;
  for (var i = 0u; i < 15u; i++) {
    let bits = bitcast<u32>(BOUNDS[i]);
    let b = number_of(bits & 0x7fffffffu);
    let below_zero = (bits >> 31u) == 1u;
    if (b.m == 0u) {
      let d = x.e - a.e;
      count += select(0u, 1u, !negative && x.m != 0u && (d > -150 || (d == -150 && x.m > a.m)));
      continue;
    }
    // x·2^shift against middle·a, both as integers.
    let middle = product(select(2u * b.m + 1u, 2u * b.m - 1u, below_zero), a.m);
    let shift = 24 + x.e - b.e - a.e;
    var left = vec2<u32>();
    if (shift >= 32) { left = vec2(x.m << u32(shift - 32), 0u); }
    else if (shift > 0) { left = vec2(x.m >> u32(32 - shift), x.m << u32(shift)); }
    let tie = all(left == middle);
    let odd = (b.m & 1u) == 1u;
    if (below_zero) { count += select(0u, 1u, !negative || !(above(left, middle) || (tie && !odd))); }
    else { count += select(0u, 1u, !negative && (above(left, middle) || (tie && odd))); }
  }
  return count;
}

fn code_of(count: u32) -> u32 {
  //#if FP4
  // Codes by ascending value: 11 10 13 12 15 14 9 0, 8 1 6 7 4 5 2 3.
  return (select(0x32547618u, 0x09efcdabu, count < 8u) >> ((count & 7u) * 4u)) & 15u;
  //#else
  return count;
  //#endif
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let block = flat_group(group, groups) * (64u / TEAM) + lane / TEAM;
  let member = lane % TEAM;
  let live = block < params.blocks;
  let start = select(0u, block * params.block_size, live);
  let size = select(0u, min(params.block_size, params.count - start), live);
  var top = 0u;
  for (var i = member; i < size; i += TEAM) { top = max(top, bits_at(start + i) & 0x7fffffffu); }
  tops[lane] = top;
  for (var half = TEAM / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (member < half) { tops[lane] = max(tops[lane], tops[lane + half]); }
  }
  workgroupBarrier();
  top = tops[lane - member];
  let short = size < params.block_size;
  if (live && member == 0u) { absmax[block] = select(top, max(top, LEAST_ABSMAX), short); }
  let divisor = number_of(max(top, LEAST_ABSMAX));
  let factor = reciprocal(divisor);
  for (var eight = member * 8u; eight < size; eight += TEAM * 8u) {
    var word = 0u;
    for (var i = 0u; i < 8u; i++) {
      // What is missing at the end counts as 0.
      let bits = select(0u, bits_at(min(start + eight + i, params.count - 1u)), eight + i < size);
      let x = number_of(bits & 0x7fffffffu);
      let negative = (bits >> 31u) == 1u;
      var count = 0u;
      if (short) { count = count_below_quotient(x, negative, divisor); }
      else { count = count_below(x, negative, factor); }
      word |= code_of(count) << ((i ^ 1u) * 4u);
    }
    codes[(start + eight) / 8u] = word;
  }
}
