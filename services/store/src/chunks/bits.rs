//! Numbers of varying width in a stream of bits, as Prometheus' chunks have them.

use crate::codec::bits::BitWriter;

/// Widths of small numbers; each has one more leading one than the width before.
const WIDTHS: [u8; 7] = [3, 6, 9, 12, 18, 25, 56];

/// The `count` lowest bits.
fn low(value: u64, count: u8) -> u64 {
    if count == 64 { value } else { value & ((1 << count) - 1) }
}

/// Whether a signed number fits: one more above zero than below.
pub(super) fn fits(value: i64, count: u8) -> bool {
    let half = 1i64 << (count - 1);
    -(half - 1) <= value && value <= half
}

/// The `count` lowest bits of a number.
pub(super) fn put(value: u64, count: u8, out: &mut BitWriter) {
    out.put(low(value, count), count);
}

/// A signed number.
pub(super) fn put_signed(value: i64, out: &mut BitWriter) {
    let class = WIDTHS.iter().position(|&width| fits(value, width));
    put_in_class(value.cast_unsigned(), value == 0, class, out);
}

/// An unsigned number.
pub(super) fn put_unsigned(value: u64, out: &mut BitWriter) {
    let class = WIDTHS.iter().position(|&width| value >> width == 0);
    put_in_class(value, value == 0, class, out);
}

fn put_in_class(value: u64, is_zero: bool, class: Option<usize>, out: &mut BitWriter) {
    match class {
        _ if is_zero => put(0, 1, out),
        // So many ones and a zero.
        Some(class) => {
            let ones = class as u8 + 1;
            put((1 << (ones + 1)) - 2, ones + 1, out);
            put(value, WIDTHS[class], out);
        }
        None => {
            put(0xff, 8, out);
            put(value, 64, out);
        }
    }
}

/// The XOR coding of a run of floats.
#[derive(Clone, Debug)]
pub(super) struct Xor {
    before: u64,
    /// The window used last: its zeros before and behind.
    window: Option<(u8, u8)>,
}

impl Xor {
    /// After this float, which stands by itself.
    pub(super) fn after(value: f64) -> Xor {
        Xor { before: value.to_bits(), window: None }
    }

    /// The next float.
    pub(super) fn put(&mut self, value: f64, out: &mut BitWriter) {
        let bits = value.to_bits();
        let delta = bits ^ std::mem::replace(&mut self.before, bits);
        if delta == 0 {
            return out.put(0, 1);
        }
        // Five bits hold the number of zeros before.
        let (leading, trailing) = (delta.leading_zeros().min(31) as u8, delta.trailing_zeros() as u8);
        if let Some((first, last)) = self.window
            && leading >= first
            && trailing >= last
        {
            out.put(0b10, 2);
            return put(delta >> last, 64 - first - last, out);
        }
        self.window = Some((leading, trailing));
        let width = 64 - leading - trailing;
        out.put(0b11, 2);
        out.put(leading.into(), 5);
        // 64 is written as 0, which no width is.
        put(width.into(), 6, out);
        put(delta >> trailing, width, out);
    }
}
