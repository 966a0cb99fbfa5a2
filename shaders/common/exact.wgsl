// common/exact: float32 numbers as integers, so that results are the same bits everywhere: m·2^(e−23) with m in
// [2^23, 2^24), denormals included; m = 0 is zero.
struct Number { m: u32, e: i32 }

// Of the bits of a float32 without its sign.
fn number_of(magnitude: u32) -> Number {
  if (magnitude >= 0x800000u) { return Number((magnitude & 0x7fffffu) | 0x800000u, i32(magnitude >> 23u) - 127); }
  let shift = countLeadingZeros(magnitude) - 8u; // a denormal
  return Number(magnitude << (shift & 31u), -126 - i32(shift));
}

// f32(1/a) by long division; m may become 2^24.
fn reciprocal(a: Number) -> Number {
  if (a.m == 0x800000u) { return Number(0x800000u, -a.e); }
  var rest = 0x800000u;
  var quotient = 0u;
  for (var i = 0u; i < 24u; i++) {
    rest <<= 1u;
    let one = rest >= a.m;
    quotient = quotient * 2u + select(0u, 1u, one);
    rest -= select(0u, a.m, one);
  }
  let e = -a.e - 1;
  if (e >= -126) { return Number(quotient + select(0u, 1u, 2u * rest > a.m), e); }
  let dropped = u32(-126 - e); // a denormal result has fewer bits
  let half = 1u << (dropped - 1u);
  let low = quotient & (2u * half - 1u);
  let kept = quotient >> dropped;
  let up = low > half || (low == half && (rest > 0u || (kept & 1u) == 1u));
  return Number((kept + select(0u, 1u, up)) << dropped, e);
}

// a·b in 64 bits, high word first.
fn product(a: u32, b: u32) -> vec2<u32> {
  let middle = (a >> 16u) * (b & 0xffffu) + (((a & 0xffffu) * (b & 0xffffu)) >> 16u);
  let cross = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2((a >> 16u) * (b >> 16u) + (middle >> 16u) + (cross >> 16u), a * b);
}

fn above(a: vec2<u32>, b: vec2<u32>) -> bool { return a.x > b.x || (a.x == b.x && a.y > b.y); }
